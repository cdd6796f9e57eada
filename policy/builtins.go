package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// pure lists the builtins a policy may call: functions of their arguments
// alone, that terminate in proportion to them. It is a list of what may be, not
// of what may not, because OPA's own marks miss some: crypto.x509 verification
// reads the clock, JSON schema matching follows $ref to the network, and new
// builtins come with every release.
//
// Left out on purpose: whatever reaches the network, the clock, randomness or
// the process (http.send, net.lookup_ip_addr, opa.runtime, rand, uuid.rfc4122),
// whatever handles tokens and keys (io.jwt, crypto, but for a plain digest: a
// policy never sees a token), whatever prints (print, trace: an input is
// personal data), and whatever a small input makes large (net.cidr_expand,
// numbers.range, bits.lsh, yaml, graphql, templates).
var pure = []string{
	// operators and what the compiler itself writes
	"eq", "assign", "equal", "neq", "lt", "lte", "gt", "gte",
	"plus", "minus", "mul", "div", "rem", "and", "or",
	"internal.member_2", "internal.member_3", "internal.template_string",
	// numbers
	"abs", "ceil", "floor", "round",
	// collections
	"count", "max", "min", "product", "sort", "sum", "union", "intersection",
	"array.concat", "array.flatten", "array.reverse", "array.slice",
	"object.filter", "object.get", "object.keys", "object.remove",
	"object.subset", "object.union", "object.union_n",
	"json.filter", "json.patch", "json.remove", "walk",
	"graph.reachable", "graph.reachable_paths",
	// types
	"is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set",
	"is_string", "to_number", "type_name",
	// strings
	"concat", "contains", "endswith", "format_int", "indexof", "indexof_n",
	"lower", "replace", "split", "sprintf", "startswith",
	"strings.any_prefix_match", "strings.any_suffix_match", "strings.count",
	"strings.replace_n", "strings.reverse", "strings.split_n", "substring",
	"trim", "trim_left", "trim_prefix", "trim_right", "trim_space",
	"trim_suffix", "upper",
	"glob.match", "glob.quote_meta",
	"regex.find_all_string_submatch_n", "regex.find_n", "regex.globs_match",
	"regex.is_valid", "regex.match", "regex.replace", "regex.split",
	"regex.template_match",
	// forms
	"base64.decode", "base64.encode", "base64.is_valid",
	"base64url.decode", "base64url.encode", "base64url.encode_no_pad",
	"crypto.sha256", "hex.decode", "hex.encode",
	"json.is_valid", "json.marshal", "json.unmarshal",
	"semver.compare", "semver.is_valid",
	"units.parse", "units.parse_bytes", "uri.is_valid", "uri.parse",
	"urlquery.decode", "urlquery.decode_object", "urlquery.encode",
	"urlquery.encode_object", "uuid.parse",
	// addresses: arithmetic on input.request.client_ip, never a look-up
	"net.cidr_contains", "net.cidr_contains_matches", "net.cidr_intersects",
	"net.cidr_is_valid",
	// times given as numbers
	"time.add_date", "time.clock", "time.date", "time.diff", "time.format",
	"time.parse_duration_ns", "time.parse_ns", "time.parse_rfc3339_ns",
	"time.weekday",
}

// clock is the one builtin that is allowed without being a function of its
// arguments. A policy that mentions it is not answered from memory.
const clock = "time.now_ns"

// capabilities is OPA's language with the allowed builtins and no network, not
// even for the $ref of a schema.
func capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return !allowed(b.Name) })
	c.AllowNet = []string{}
	return c
}

func allowed(builtin string) bool { return builtin == clock || slices.Contains(pure, builtin) }

// refused finds, in a module as written, the builtins that are not allowed:
// called, replaced (with http.send as …) or put in another's place
// (with f as http.send). The compiler would refuse them too, as unknown; this
// says why, and keeps the place.
func refused(module *ast.Module, problems *Problems) {
	known := map[string]bool{}
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		known[b.Name] = true
	}
	check := func(term *ast.Term) {
		switch term.Value.(type) {
		case ast.Ref, ast.Var:
		default:
			return
		}
		if name := term.Value.String(); known[name] && !allowed(name) {
			problems.at(term.Location, name+" is not allowed in a policy: a decision is a function of its input and the roles; "+
				"hand in what it needs as a claim or a tag of the route")
		}
	}
	ast.NewGenericVisitor(func(node any) bool {
		switch node := node.(type) {
		case *ast.Term:
			if _, ok := node.Value.(ast.Ref); ok { // a bare variable may share a builtin's name
				check(node)
			}
		case *ast.With:
			check(node.Target)
			check(node.Value)
		}
		return false
	}).Walk(module)
}
