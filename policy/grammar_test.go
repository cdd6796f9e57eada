package policy_test

import (
	"fmt"
	"regexp"
	"strings"
)

// A dice chooses from bytes, and when they run out from nothing at all: so a
// fuzzer can steer what is written and drawn.
type dice struct{ bytes []byte }

func (d *dice) roll(n int) int {
	if len(d.bytes) == 0 {
		return 0
	}
	b := d.bytes[0]
	d.bytes = d.bytes[1:]
	return int(b) % n
}

func (d *dice) pick(words ...string) string { return words[d.roll(len(words))] }

// grammar writes policies that read the input in every way the language has.
// What each rule sees ends in the reason, hashed, so that any difference in what
// was read is a difference in the decision.
type grammar struct {
	*dice
	n int
}

func (g *grammar) policy() string {
	var body strings.Builder
	fmt.Fprintf(&body, `
decision := {"allow": false, "reason": crypto.sha256(json.marshal([seen, constant, chain])), "role": "", "secret": ""}

constant := %s

default chain := "none"

chain := text(%s) if {
	%s
} else := "else" if {
	%s
}

text(x) := json.marshal(x)

emails(x) := object.get(x, ["identity", "email"], "no") if is_object(x)

emails(x) := x if is_string(x)

`, g.pick(g.term(), `"constant"`), g.term(), g.condition(), g.condition())
	for range 1 + g.roll(4) {
		g.n++
		body.WriteString(g.rule() + "\n")
	}
	// A rule or import that nothing uses would be read all the same.
	for _, helper := range []struct{ name, text string }{
		{"by_key", "by_key[key] := values if some key, values in " + g.pick("request.query", "me.claims", "input.identity.claims")},
		{"deep", "deep[x] contains y if {\n\tsome x, values in me.claims\n\tsome y in values\n}"},
		{"me", "import input.identity as me"},
		{"request", "import input.request"},
	} {
		used := regexp.MustCompile(`(^|[^.\w"]|vaultspan\[")` + helper.name + `\b`)
		switch text := body.String(); {
		case !used.MatchString(text):
		case strings.HasPrefix(helper.text, "import"):
			body.Reset()
			body.WriteString(helper.text + "\n" + text)
		default:
			body.WriteString(helper.text + "\n")
		}
	}
	return "package vaultspan\n\nimport rego.v2\n" + body.String()
}

// leaf is a reference to the input, or to a rule that has one.
func (g *grammar) leaf() string {
	return g.pick(
		"input.identity.issuer", "input.identity.subject", "me.email", "me.groups", "me.groups[0]", `input["identity"]["roles"]`,
		"me.claims", "me.claims.p", `me.claims["p.q"]`, "me.claims.p[0]", "me.claims[request.method]", "input.identity.actors",
		"input.route.name", "input.route.secrets", "input.route.allow", "input.route.tags[_]", "input.route",
		"request.method", "request.host", "request.path", "request.client_ip", "request.query", "request.query.q",
		`request.query["p"][_]`, "request.query[me.groups[_]]", "input", "me", "request", "input[_].name", `input[["route", "request"][_]]`,
		"chain", "data.rbac.members[me.issuer]", `data.vaultspan["deep"].p`, "by_key.q", "deep.p", "me.kind",
	)
}

// term is something with a value; it may be undefined.
func (g *grammar) term() string {
	leaf := g.pick(
		"input.identity.kind", "me.claims", "me.groups", "request.query", "request.path", "input.route", "input", "request.method")
	return g.pick(
		leaf,
		"["+leaf+"]",
		"[x | some x in me.groups]",
		"{x | some x in input.route.tags}",
		"{k: v | some k, v in request.query}",
		"{request.method: "+leaf+"}",
		"[p | walk(input, [p, v]); is_string(v); v != request.host]",
		"[v | walk("+leaf+", [_, v])]",
		"emails(input)",
		"emails("+leaf+")",
		`object.get(input, ["request", "query", "p"], "absent")`,
		`object.get(me, "email", "")`,
		`count(json.marshal(`+leaf+`))`,
		`$"{me.email} and {request.path}"`,
		`sprintf("%v", [`+leaf+`])`,
		`object.union(me.claims, request.query)`,
		`concat("/", [me.issuer, me.subject])`,
	)
}

func (g *grammar) condition() string {
	leaf := g.pick("me.claims.p", "request.query.p", "me.groups", "me.email", "input.route.allow", "me", "me.claims[request.method]")
	return g.pick(
		`request.method == "GET"`,
		`"g1" in me.groups`,
		`not me.claims.p`,
		`not "g1" in me.claims.p`,
		`not request.query[me.kind]`,
		`every e in me.groups { e != "g2" }`,
		`every ek, ev in request.query { count(ev) > 0; ek != "p" }`,
		`some tag in input.route.tags; tag in me.groups`,
		`some which in ["email", "subject"]; me[which] in ["e1", "s1"]`,
		`request.method == "GET" or me.email == "e1"`,
		`count(`+leaf+`) > 1`,
		leaf,
		`startswith(request.path, "/a")`,
		`net.cidr_contains("10.0.0.0/8", request.client_ip)`,
		`deep[a][b]; b == request.method; a != "q"`,
		`request.method in {m | some m in me.claims.p}`,
		`walk(input, [["request", "host"], "h1"])`,
	)
}

func (g *grammar) rule() string {
	name := fmt.Sprintf("rule%d", g.n)
	leaf, condition := g.leaf(), g.condition()
	with := g.pick(
		`with input.request.method as "ZZ"`,
		`with input.identity as {"claims": {"p": ["g1"]}, "email": request.path}`,
		`with input.request.query as input.identity.claims`,
		`with input as {"request": {"method": "GET", "query": {}, "path": "/", "client_ip": "10.0.0.1"}, "identity": input.identity, "route": input.route}`,
		`with input.identity.claims.p as input.route.tags`,
		`with json.marshal as emails`,
		`with emails as count`,
		`with data.rbac as input.route`,
	)
	return g.pick(
		fmt.Sprintf("seen contains [%q, out] if {\n\tout := %s\n\t%s\n}\n", name, leaf, condition),
		fmt.Sprintf("seen contains %q if {\n\tnot count([x | x := %s]) == 1\n\t%s\n}\n", name, leaf, condition),
		fmt.Sprintf("seen contains [%q, %s] if {\n\t%s\n}\n", name, g.term(), condition),
		fmt.Sprintf("%s := %s if {\n\t%s\n}\n\nseen contains [%q, out] if out := %s %s\n", name, g.term(), condition, name, name, with),
		fmt.Sprintf("%s(argument) := [argument, %s] if {\n\t%s\n}\n\nseen contains [%q, out] if out := %s(%s)\n", name, g.term(), condition, name, name, leaf),
		fmt.Sprintf("seen contains [%q, out] if {\n\tout := text(%s) %s\n}\n", name, leaf, with),
		fmt.Sprintf("seen contains [%q, count(xs)] if {\n\txs := [x | x := %s; %s]\n}\n", name, leaf, condition),
		fmt.Sprintf("seen contains [%q, field] if {\n\tsome key in [\"issuer\", \"claims\", \"groups\"]\n\tfield := input.identity[key]\n\t%s\n}\n", name, condition),
	)
}
