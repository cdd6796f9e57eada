package policy_test

import (
	"maps"
	"testing"

	"github.com/vaultspan/vaultspan/policy"
)

// The policy answers a hash of what it read, so a stale answer would show; here
// it is whether an answer is remembered at all that counts.
func TestWhatAPolicyReadsIsWhatItRemembersBy(t *testing.T) {
	base := func() policy.Input {
		return policy.Input{
			Identity: policy.IdentityInput{Issuer: "corp", Subject: "alice", Kind: "human", Groups: []string{"a", "b"},
				Claims: map[string][]string{"p": {"1"}, "q": {"2"}}},
			Route:   policy.RouteInput{Name: "app"},
			Request: policy.RequestInput{Method: "GET", Path: "/", Query: map[string][]string{"p": {"1"}}},
		}
	}
	type change = func(*policy.Input)
	subject := func(in *policy.Input) { in.Identity.Subject = "bob" }
	method := func(in *policy.Input) { in.Request.Method = "POST" }
	path := func(in *policy.Input) { in.Request.Path = "/x" }
	secrets := func(in *policy.Input) { in.Route.Secrets = []string{"v/c/n"} }
	claims := func(p ...string) change {
		return func(in *policy.Input) {
			in.Identity.Claims = maps.Clone(in.Identity.Claims)
			in.Identity.Claims["p"] = p
		}
	}
	noClaim := func(in *policy.Input) { in.Identity.Claims = map[string][]string{"q": {"2"}} }
	otherClaim := func(in *policy.Input) { in.Identity.Claims = map[string][]string{"p": {"1"}, "q": {"3"}} }
	query := func(m map[string][]string) change { return func(in *policy.Input) { in.Request.Query = m } }
	regroup := func(groups ...string) change { return func(in *policy.Input) { in.Identity.Groups = groups } }

	for _, test := range []struct {
		name, reads string
		change      change
		remembered  bool
	}{
		{"a field that is read", `input.request.method`, method, false},
		{"a field that is not", `input.request.method`, subject, true},
		{"a field of the same section", `input.request.method`, path, true},
		{"the candidates, which the engine reads", `"nothing"`, secrets, false},
		{"nothing", `"nothing"`, path, true},
		{"a section", `input.identity`, subject, false},
		{"another section", `input.identity`, path, true},
		{"everything", `input`, path, false},
		{"everything, to a builtin", `count(input)`, path, false},
		{"everything, walked", `[v | walk(input, [_, v])]`, path, false},
		{"everything, by an argument", `f(input)`, path, false},
		{"a section, by an argument", `f(input.identity)`, subject, false},
		{"another than the argument", `f(input.identity)`, path, true},
		{"a variable section", `[x | some k in ["request"]; x := input[k].path]`, path, false},
		{"a variable field", `[x | some k in ["subject"]; x := input.identity[k]]`, subject, false},
		{"beside a variable field", `[x | some k in ["subject"]; x := input.identity[k]]`, path, true},
		{"a bracketed name", `input["identity"]["subject"]`, subject, false},
		{"a claim", `input.identity.claims.p`, claims("9"), false},
		{"a claim's element", `input.identity.claims.p[0]`, claims("1", "9"), false},
		{"another claim", `input.identity.claims.p`, otherClaim, true},
		{"a claim by a variable", `[x | some k in ["q"]; x := input.identity.claims[k]]`, otherClaim, false},
		{"an absent claim", `[x | x := input.identity.claims.p]`, noClaim, false},
		{"a claim, negated", `[1 | not input.identity.claims.p]`, noClaim, false},
		{"a query key", `input.request.query.p`, query(map[string][]string{"p": {"1", "1"}}), false},
		{"a query key, gone", `[x | x := input.request.query.p]`, query(nil), false},
		{"another query key", `input.request.query.p`, query(map[string][]string{"p": {"1"}, "x": {"2"}}), true},
		{"all query keys", `input.request.query`, query(map[string][]string{"p": {"1"}, "x": {"2"}}), false},
		{"a list's order", `input.identity.groups`, regroup("b", "a"), false},
		{"a list's seams", `input.identity.groups`, regroup("ab"), false},
		{"a list's element", `input.identity.groups[0]`, regroup("b"), false},
		{"the value of with", `f("x") with input.request.method as input.request.path`, path, false},
		{"under with", `g with input.request.path as "/y"`, method, false},
		{"in a function nobody calls", `"nothing"`, func(in *policy.Input) { in.Request.Host = "h" }, false},
		{"in a template", `$"{input.request.path}"`, path, false},
		{"in an object's key", `{input.request.path: 1}`, path, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := engine(t, policy.Rules{Config: policy.Config{Replace: module(t, `package vaultspan

decision := {"allow": false, "reason": json.marshal(seen), "role": "", "secret": ""}

seen := x if x := `+test.reads+`

f(x) := json.marshal(x)

g := input.request.method

dead := input.request.host
`)}})
			before, after := base(), base()
			test.change(&after)
			decide(t, e, before)
			if d := decide(t, e, before); !d.Cached {
				t.Fatalf("the same input is not remembered: %+v", d)
			}
			got, want := decide(t, e, after), decide(t, e.Forgetful(), after)
			if got.Cached != test.remembered {
				t.Errorf("remembered: %v, want %v", got.Cached, test.remembered)
			}
			if got.Reason != want.Reason {
				t.Errorf("reason %q, want %q", got.Reason, want.Reason)
			}
		})
	}
}

func TestAbsentIsNotEmpty(t *testing.T) {
	e := engine(t, policy.Rules{Config: policy.Config{Replace: module(t, `package vaultspan

decision := {"allow": false, "reason": json.marshal([claim, key]), "role": "", "secret": ""}

claim := [x | x := input.identity.claims.p]

key := [x | x := input.request.query.p]
`)}})
	var absent, claim, key policy.Input
	claim.Identity.Claims = map[string][]string{"p": {}}
	key.Request.Query = map[string][]string{"p": nil}
	for in, want := range map[*policy.Input]string{&absent: "[[],[]]", &claim: "[[[]],[]]", &key: "[[],[[]]]"} {
		if d := decide(t, e, *in); d.Reason != want || d.Cached {
			t.Errorf("got %+v, want the reason %s", d, want)
		}
	}
}

func TestNilAndEmptyAreOneInput(t *testing.T) {
	e := engine(t, policy.Rules{Roles: company()})
	decide(t, e, policy.Input{Identity: alice(), Route: route("prod/team-dev/KEY"), Request: request("GET")})
	id := alice()
	id.Roles, id.Claims = []string{}, map[string][]string{}
	if d := decide(t, e, policy.Input{Identity: id, Route: route("prod/team-dev/KEY"), Request: request("GET")}); !d.Cached {
		t.Error("an empty list is not what a nil one is")
	}
}

func TestAPolicyThatReadsTheClockIsNotRemembered(t *testing.T) {
	for name, rules := range map[string]string{
		"called":               "reasons contains \"x\" if time.now_ns() < 0\n",
		"in a function":        "reasons contains \"x\" if late(1)\n\nlate(x) if x > time.now_ns()\n",
		"in a comprehension":   "reasons contains \"x\" if [t | t := time.now_ns()][0] < 0\n",
		"behind another check": "reasons contains \"x\" if {\n\tinput.route.name == \"late\"\n\ttime.now_ns() > 0\n}\n",
		"replaced by with":     "reasons contains \"x\" if time.now_ns() < 5 with time.now_ns as 9\n",
	} {
		t.Run(name, func(t *testing.T) {
			e := engine(t, policy.Rules{Roles: company(), Config: policy.Config{Deny: []string{module(t, "package vaultspan.deny\n\n"+rules)}}})
			in := policy.Input{Identity: alice(), Route: route("prod/team-dev/KEY"), Request: request("GET")}
			decide(t, e, in)
			if d := decide(t, e, in); d.Cached || !d.Allow {
				t.Errorf("got %+v, want an allow that is not from memory", d)
			}
		})
	}
}
