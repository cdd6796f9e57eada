package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/vaultspan/vaultspan/policy"
)

// What no member of the issuer asks for is not what the shipped policy
// remembers by, and what one asks for is.
func TestTheTableIsWhatTheShippedPolicyRemembersBy(t *testing.T) {
	roles := map[string]policy.Role{"r": {Members: []policy.Member{
		{Issuer: "corp", Groups: "g1", Kind: "human"},
		{Issuer: "corp", Subject: "owner"},
		{Issuer: "corp", Email: "a@example.com", Claims: map[string]string{"p": "1"}},
		{Issuer: "github", Subject: "alice", Groups: "g2"},
	}}}
	base := func() policy.Input {
		return policy.Input{
			Identity: policy.IdentityInput{Issuer: "corp", Subject: "alice", Kind: "human", Email: "b@example.com",
				Groups: []string{"g1", "g9"}, Roles: []string{"x"}, Claims: map[string][]string{"p": {"2"}, "q": {"1"}}},
			Route:   policy.RouteInput{Name: "app", Allow: []string{"r"}},
			Request: policy.RequestInput{Method: "GET", Path: "/", ClientIP: "192.0.2.1"},
		}
	}
	groups := func(g ...string) func(*policy.Input) { return func(in *policy.Input) { in.Identity.Groups = g } }
	claims := func(c map[string][]string) func(*policy.Input) {
		return func(in *policy.Input) { in.Identity.Claims = c }
	}
	const readsSubject = `reasons contains "x" if input.identity.subject == "mallory"`
	for _, test := range []struct {
		name, deny string
		change     func(*policy.Input)
		remembered bool
	}{
		{"another subject", "", func(in *policy.Input) { in.Identity.Subject = "bob" }, true},
		{"a subject that is asked for", "", func(in *policy.Input) { in.Identity.Subject = "owner" }, false},
		{"another email", "", func(in *policy.Input) { in.Identity.Email = "c@example.com" }, true},
		{"an email that is asked for", "", func(in *policy.Input) { in.Identity.Email = "a@example.com" }, false},
		{"a kind that is asked for, gone", "", func(in *policy.Input) { in.Identity.Kind = "agent" }, false},
		{"another issuer, who asks for other things", "", func(in *policy.Input) { in.Identity.Issuer = "github" }, false},
		{"an issuer that nobody is of", "", func(in *policy.Input) { in.Identity.Issuer = "nobody" }, false},
		{"another group", "", groups("g1", "g8", "g7"), true},
		{"the group of another issuer's member", "", groups("g1", "g2"), true},
		{"the group, alone", "", groups("g1"), true},
		{"the group, gone", "", groups("g9"), false},
		{"the group as a role of the token", "", func(in *policy.Input) { in.Identity.Roles = []string{"g1"} }, true},
		{"another claim", "", claims(map[string][]string{"p": {"2"}, "q": {"7"}}), true},
		{"another value of the claim", "", claims(map[string][]string{"p": {"3"}}), true},
		{"the value that is asked for", "", claims(map[string][]string{"p": {"2", "1"}}), false},
		{"an actor", "", func(in *policy.Input) { in.Identity.Actors = []string{"a"} }, true},
		{"a denial that reads the subject", readsSubject, func(in *policy.Input) { in.Identity.Subject = "bob" }, false},
		{"a denial that does not read the email", readsSubject, func(in *policy.Input) { in.Identity.Email = "c@example.com" }, true},
		{"a denial with a helper", "reasons contains \"x\" if far\n\nfar if input.request.client_ip == \"\"", func(in *policy.Input) { in.Identity.Subject = "bob" }, true},
		{"a denial that reads the table", `reasons contains "x" if not data.rbac.grants`, func(in *policy.Input) { in.Identity.Subject = "bob" }, true},
		{"a denial that looks at the facts", `reasons contains "x" if ["subject", "", "mallory"] in data.vaultspan.facts`, func(in *policy.Input) { in.Identity.Subject = "bob" }, false},
		{"a denial that looks at the decision", `reasons contains "x" if data.vaultspan.decision.role == "admin"`, func(in *policy.Input) { in.Identity.Subject = "bob" }, false},
		{"a denial that imports it", "import data.vaultspan\n\nreasons contains \"x\" if vaultspan.decision.role == \"admin\"", func(in *policy.Input) { in.Identity.Subject = "bob" }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			rules := policy.Rules{Roles: roles}
			if test.deny != "" {
				rules.Config.Deny = []string{module(t, "package vaultspan.deny\n\n"+test.deny+"\n")}
			}
			e := engine(t, rules)
			before, after := base(), base()
			test.change(&after)
			decide(t, e, before)
			got, want := decide(t, e, after), decide(t, e.Forgetful(), after)
			if got.Cached != test.remembered {
				t.Errorf("remembered: %v, want %v", got.Cached, test.remembered)
			}
			if got.Allow != want.Allow || got.Reason != want.Reason || got.Role != want.Role {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// Whatever a denial looks at, and however it asks the shipped policy again.
func TestDenialsSeeTheWholeInput(t *testing.T) {
	denials := []string{
		`reasons contains input.identity.subject if input.request.method == "POST"`,
		`reasons contains g if some g in input.identity.groups`,
		`reasons contains sprintf("%v", [input.identity.claims.p]) if true`,
		`reasons contains json.marshal(data.vaultspan.facts) if true`,
		`reasons contains r if some r in data.vaultspan.roles`,
		`reasons contains json.marshal(data.vaultspan.decision) if true`,
		`reasons contains json.marshal(f) if f := data.vaultspan.decision with input.identity.issuer as "github"`,
		`reasons contains json.marshal(f) if f := data.vaultspan.roles with input.identity.groups as input.identity.roles`,
		`reasons contains json.marshal(f) if f := data.vaultspan.roles with data.rbac.members as {"corp": {"subject": {"": {"s3": [{"role": "r0", "needs": []}]}}}}`,
		"reasons contains \"x\" if own == input.identity.email\n\nown := \"e1\"",
	}
	remembered := 0
	for seed := range uint64(4 * len(denials)) {
		r := random{rand.New(rand.NewPCG(seed, 5))}
		text := "package vaultspan.deny\n\n" + denials[seed%uint64(len(denials))] + "\n"
		e := engine(t, policy.Rules{Roles: r.roles(), Config: policy.Config{Deny: []string{module(t, text)}}, Deadline: minute})
		remembered += agree(t, e, r, 80, text)
	}
	if remembered < 500 {
		t.Errorf("only %d answers were remembered", remembered)
	}
}

// Remembering by what the table asks for is sound as long as the shipped policy
// looks facts up in it, and knows who is asking from nothing else.
func TestTheShippedPolicyOnlyLooksFactsUp(t *testing.T) {
	parsed := ast.MustParseModule(policy.Shipped)
	var uses []string
	for _, rule := range parsed.Rules {
		name := string(rule.Head.Name)
		ast.WalkTerms(rule.Body, func(term *ast.Term) bool {
			if ref, ok := term.Value.(ast.Ref); ok && name != "facts" && strings.HasPrefix(ref.String(), "input.identity") {
				uses = append(uses, name+": "+ref.String())
			}
			return false
		})
		ast.WalkVars(rule.Body, func(v ast.Var) bool {
			if v == "facts" {
				uses = append(uses, name+": facts")
			}
			return false
		})
	}
	slices.Sort(uses)
	// "some fact in facts", to look it up, and "need in facts", of a member that was found
	if got, want := fmt.Sprint(uses), "[roles: facts roles: facts roles: input.identity.issuer]"; got != want {
		t.Errorf("rbac.rego has %s, want %s: see asked.go before it may", got, want)
	}
}
