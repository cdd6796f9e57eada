package policy

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A field is one leaf of the input document.
type field int

const (
	identityIssuer field = iota
	identitySubject
	identityKind
	identityEmail
	identityGroups
	identityRoles
	identityClaims
	identityActors
	routeName
	routeSecrets
	routeAllow
	routeTags
	requestMethod
	requestHost
	requestPath
	requestQuery
	requestClientIP
	fieldCount
)

// fieldNames is where in the document each field is.
var fieldNames = [fieldCount][2]string{
	identityIssuer:  {"identity", "issuer"},
	identitySubject: {"identity", "subject"},
	identityKind:    {"identity", "kind"},
	identityEmail:   {"identity", "email"},
	identityGroups:  {"identity", "groups"},
	identityRoles:   {"identity", "roles"},
	identityClaims:  {"identity", "claims"},
	identityActors:  {"identity", "actors"},
	routeName:       {"route", "name"},
	routeSecrets:    {"route", "secrets"},
	routeAllow:      {"route", "allow"},
	routeTags:       {"route", "tags"},
	requestMethod:   {"request", "method"},
	requestHost:     {"request", "host"},
	requestPath:     {"request", "path"},
	requestQuery:    {"request", "query"},
	requestClientIP: {"request", "client_ip"},
}

// reads is what of the input a policy can depend on. A Rego query is a function
// of the input it refers to and of data, which is fixed for an engine; so two
// inputs that agree on every read get the same answer. It errs to reading more.
type reads struct {
	fields [fieldCount]bool
	claims []string // read by constant name, where claims as a whole is not
	query  []string
	asked  asked // of the identity, where the shipped policy decides; or nil
	clock  bool  // the answer also depends on when: nothing may be remembered
}

// reads is what the modules and the query read.
func (r Rules) reads(query ast.Body, modules []module, compiler *ast.Compiler) reads {
	byAsked := r.Config.Replace == "" // the shipped policy decides
	for _, m := range modules {
		byAsked = byAsked && (!m.deny || keepsToItself(compiler.Modules[m.file]))
	}
	nodes := []any{query}
	for _, m := range modules {
		if compiled := compiler.Modules[m.file]; byAsked && !m.deny {
			nodes = append(nodes, withoutFacts(compiled)...)
		} else {
			nodes = append(nodes, compiled)
		}
	}
	found := readsOf(nodes...)
	if byAsked {
		found.asked = newAsked(r.Roles)
		found.fields[identityIssuer] = false // which asked begins with
	}
	return found
}

// readsOf collects every reference to the input in compiled modules and queries
// (any ast node), whether or not the query can reach it. Compilation has
// resolved imports and aliases by then: what remains is headed by input.
func readsOf(nodes ...any) reads {
	var r reads
	claims, query := map[string]bool{}, map[string]bool{}
	var visitor *ast.GenericVisitor
	visitor = ast.NewGenericVisitor(func(node any) bool {
		switch node := node.(type) {
		case *ast.Head: // which the visitor walks in part
			if node.Key != nil {
				visitor.Walk(node.Key)
			}
			if node.Value != nil {
				visitor.Walk(node.Value)
			}
		case ast.Var: // a ref's head is handled below, and not walked
			if node.Equal(ast.InputRootDocument.Value) {
				r.all()
			}
		case ast.Ref:
			if name := node.String(); name == clock {
				r.clock = true
			}
			if !node.HasPrefix(ast.InputRootRef) {
				return false
			}
			r.add(node, claims, query)
			for _, term := range node[1:] {
				visitor.Walk(term)
			}
			return true
		}
		return false
	})
	for _, node := range nodes {
		visitor.Walk(node)
	}
	if !r.fields[identityClaims] {
		r.claims = slices.Sorted(maps.Keys(claims))
	}
	if !r.fields[requestQuery] {
		r.query = slices.Sorted(maps.Keys(query))
	}
	return r
}

func (r *reads) all() {
	for f := range r.fields {
		r.fields[f] = true
	}
}

// add cuts the reference at its first term that is not a constant name: what is
// above the cut is read whole. An element of a list counts as the list.
func (r *reads) add(ref ast.Ref, claims, query map[string]bool) {
	var names []string
	for _, term := range ref[1:] {
		name, ok := term.Value.(ast.String)
		if !ok {
			break
		}
		names = append(names, string(name))
	}
	found := false
	for f, at := range fieldNames {
		switch {
		case len(names) == 0 || names[0] != at[0]:
		case len(names) == 1:
			r.fields[f], found = true, true
		case names[1] != at[1]:
		case len(names) > 2 && field(f) == identityClaims:
			claims[names[2]], found = true, true
		case len(names) > 2 && field(f) == requestQuery:
			query[names[2]], found = true, true
		default:
			r.fields[f], found = true, true
		}
	}
	if !found { // the whole input, or a name the schema should have refused
		r.all()
	}
}

// appendKey appends what the policy reads of the input, each value behind its
// length, so that two inputs have one key exactly when they agree on every read.
// Nil and empty are one, as they are in the document; absent is not empty.
func (r *reads) appendKey(key []byte, in *Input) []byte {
	if r.asked != nil {
		key = r.asked.appendKey(key, &in.Identity)
	}
	for f, read := range r.fields {
		if read {
			key = in.appendField(key, field(f))
		}
	}
	for _, name := range r.claims {
		key = appendMember(key, in.Identity.Claims, name)
	}
	for _, name := range r.query {
		key = appendMember(key, in.Request.Query, name)
	}
	return key
}

func (in *Input) appendField(key []byte, f field) []byte {
	switch f {
	case identityIssuer:
		return appendText(key, in.Identity.Issuer)
	case identitySubject:
		return appendText(key, in.Identity.Subject)
	case identityKind:
		return appendText(key, in.Identity.Kind)
	case identityEmail:
		return appendText(key, in.Identity.Email)
	case identityGroups:
		return appendList(key, in.Identity.Groups)
	case identityRoles:
		return appendList(key, in.Identity.Roles)
	case identityClaims:
		return appendMap(key, in.Identity.Claims)
	case identityActors:
		return appendList(key, in.Identity.Actors)
	case routeName:
		return appendText(key, in.Route.Name)
	case routeSecrets:
		return appendList(key, in.Route.Secrets)
	case routeAllow:
		return appendList(key, in.Route.Allow)
	case routeTags:
		return appendList(key, in.Route.Tags)
	case requestMethod:
		return appendText(key, in.Request.Method)
	case requestHost:
		return appendText(key, in.Request.Host)
	case requestPath:
		return appendText(key, in.Request.Path)
	case requestQuery:
		return appendMap(key, in.Request.Query)
	case requestClientIP:
		return appendText(key, in.Request.ClientIP)
	}
	panic("policy: a field without a key")
}

func appendText(key []byte, s string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(s))), s...)
}

func appendList(key []byte, list []string) []byte {
	key = binary.AppendUvarint(key, uint64(len(list)))
	for _, s := range list {
		key = appendText(key, s)
	}
	return key
}

func appendMap(key []byte, m map[string][]string) []byte {
	key = binary.AppendUvarint(key, uint64(len(m)))
	var room [16]string
	names := room[:0]
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		key = appendList(appendText(key, name), m[name])
	}
	return key
}

func appendMember(key []byte, m map[string][]string, name string) []byte {
	list, ok := m[name]
	if !ok {
		return append(key, 0)
	}
	return appendList(append(key, 1), list)
}
