package policy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/policy"
)

const granted = "prod/team-dev/KEY"

// asked is alice's request, which the shipped policy grants.
func asked() policy.Input {
	return policy.Input{Identity: alice(), Route: route(granted), Request: request("GET")}
}

// TestWhatAPolicyMayAnswer is the edge where Rego's values become a Decision:
// what is not exactly one is an error, and an error is a refusal.
func TestWhatAPolicyMayAnswer(t *testing.T) {
	for _, test := range []struct {
		id, name, rules string
		want            policy.Decision
		problem         string // of the error; "" wants none
	}{
		{name: "an allow", rules: `decision := {"allow": true, "reason": "ok", "role": "dev", "secret": "prod/team-dev/KEY"}`,
			want: policy.Decision{Allow: true, Reason: "ok", Role: "dev", Secret: granted}},
		{name: "an allow by no role", rules: `decision := {"allow": true, "reason": "ok", "role": "", "secret": "prod/team-dev/KEY"}`,
			want: policy.Decision{Allow: true, Reason: "ok", Secret: granted}},
		{name: "a denial", rules: `decision := {"allow": false, "reason": "no", "role": "dev", "secret": "prod/team-dev/KEY"}`,
			want: policy.Decision{Reason: "no"}},
		{name: "a denial without a reason", rules: `decision := {"allow": false, "reason": "", "role": "", "secret": ""}`,
			want: policy.Decision{Reason: "denied"}},
		{name: "a partial object", rules: "decision.allow := true\n\ndecision.reason := \"ok\"\n\ndecision.role := \"dev\"\n\ndecision.secret := input.route.secrets[0]",
			want: policy.Decision{Allow: true, Reason: "ok", Role: "dev", Secret: granted}},

		{id: "I01", name: "undefined", rules: `decision := {"allow": true, "reason": "", "role": "dev", "secret": "prod/team-dev/KEY"} if input.route.name == "other"`,
			want: policy.Decision{Reason: "policy-undefined"}},
		{id: "I01", name: "undefined by a value", rules: `decision := {"allow": input.request.query.x, "reason": "", "role": "", "secret": ""}`,
			want: policy.Decision{Reason: "policy-undefined"}},
		{id: "I03", name: "two rules disagree", problem: "conflict", rules: `decision := {"allow": true, "reason": "", "role": "dev", "secret": "prod/team-dev/KEY"} if input.request.method == "GET"

decision := {"allow": false, "reason": "", "role": "", "secret": ""} if input.route.name == "app"`},
		{id: "I04", name: "a builtin fails inside not", problem: "time.parse_rfc3339_ns", rules: `decision := {"allow": true, "reason": "", "role": "dev", "secret": "prod/team-dev/KEY"} if not expired

expired if time.parse_rfc3339_ns(input.request.path) < 5`},
		{id: "I04", name: "a builtin fails in a comprehension", problem: "to_number", rules: `decision := {"allow": count([x | x := to_number(input.request.path)]) == 0, "reason": "", "role": "dev", "secret": "prod/team-dev/KEY"}`},

		{name: "a boolean", rules: `decision := true`, problem: "not one object"},
		{name: "a set", rules: `decision contains "allow"`, problem: "not one object"},
		{name: "an unknown key", rules: `decision := {"allow": true, "reason": "", "role": "dev", "secret": "prod/team-dev/KEY", "ttl": 3}`, problem: "unknown key"},
		{name: "a key in other letters", rules: `decision := {"Allow": true, "reason": "", "role": "dev", "secret": "prod/team-dev/KEY"}`, problem: "unknown key"},
		{name: "a key that is no string", rules: `decision := {true: true, "reason": "", "role": "dev", "secret": "prod/team-dev/KEY"}`, problem: "unknown key"},
		{name: "a missing key", rules: `decision := {"allow": true, "reason": "", "role": "dev"}`, problem: "lacks"},
		{name: "allow as a word", rules: `decision := {"allow": "true", "reason": "", "role": "dev", "secret": "prod/team-dev/KEY"}`, problem: "allow has the wrong type"},
		{name: "allow as a number", rules: `decision := {"allow": 1, "reason": "", "role": "dev", "secret": "prod/team-dev/KEY"}`, problem: "allow has the wrong type"},
		{name: "a null secret", rules: `decision := {"allow": true, "reason": "", "role": "dev", "secret": null}`, problem: "secret has the wrong type"},
		{name: "a list of reasons", rules: `decision := {"allow": false, "reason": ["no"], "role": "", "secret": ""}`, problem: "reason has the wrong type"},
		{name: "another route's secret", rules: `decision := {"allow": true, "reason": "", "role": "dev", "secret": "prod/team-pay/KEY"}`, problem: "a secret that the route does not"},
		{name: "no secret where there is one", rules: `decision := {"allow": true, "reason": "", "role": "dev", "secret": ""}`, problem: "without a secret"},
		{name: "a role nobody configured", rules: `decision := {"allow": true, "reason": "", "role": "root", "secret": "prod/team-dev/KEY"}`, problem: "not configured"},
	} {
		t.Run(test.id+" "+test.name, func(t *testing.T) {
			e := engine(t, policy.Rules{Roles: company(), Config: policy.Config{Replace: module(t, "package vaultspan\n\n"+test.rules+"\n")}})
			for range 2 { // evaluated, and remembered
				d, err := e.Decide(t.Context(), asked())
				if test.problem != "" {
					if err == nil || !strings.Contains(err.Error(), test.problem) || d != (policy.Decision{}) {
						t.Fatalf("got %+v, %v; want an error that says %q", d, err, test.problem)
					}
					continue
				}
				test.want.Revision, test.want.Cached = e.Revision(), d.Cached
				if err != nil || d != test.want {
					t.Fatalf("got %+v, %v; want %+v", d, err, test.want)
				}
			}
		})
	}
}

// TestARememberedSecretIsOfTheRoute: a policy that does not read the candidates
// is still held to them.
func TestARememberedSecretIsOfTheRoute(t *testing.T) {
	e := engine(t, policy.Rules{Roles: company(), Config: policy.Config{Replace: module(t, `package vaultspan

decision := {"allow": true, "reason": "", "role": "dev", "secret": "prod/team-dev/KEY"}
`)}})
	decide(t, e, asked())
	in := asked()
	in.Route = route("prod/team-pay/KEY")
	if d, err := e.Decide(t.Context(), in); err == nil {
		t.Errorf("got %+v on a route without the secret", d)
	}
}

func TestDenialsOnlyTakeAway(t *testing.T) {
	for _, test := range []struct {
		id, name, rules string
		replace         string
		want            policy.Decision
		problem         string
	}{
		{name: "no message", rules: `reasons contains "x" if input.route.name == "other"`, want: policy.Decision{Allow: true, Reason: "granted", Role: "dev", Secret: granted}},
		{name: "a message", rules: `reasons contains "not today"`, want: policy.Decision{Reason: "not today"}},
		{name: "messages are sorted", rules: "reasons contains \"b\"\n\nreasons contains \"a\"", want: policy.Decision{Reason: "a; b"}},
		{name: "an empty message", rules: `reasons contains ""`, want: policy.Decision{Reason: "denied"}},
		{name: "a message over an undefined decision", rules: `reasons contains "no"`, replace: `decision := 1 if input.route.name == "other"`, want: policy.Decision{Reason: "no"}},
		{name: "a message over a replaced policy", rules: `reasons contains "no"`,
			replace: `decision := {"allow": true, "reason": "", "role": "dev", "secret": "prod/team-dev/KEY"}`, want: policy.Decision{Reason: "no"}},
		{name: "a message by the decision", rules: `reasons contains "dev is frozen" if data.vaultspan.decision.role == "dev"`, want: policy.Decision{Reason: "dev is frozen"}},
		{name: "a helper", rules: "reasons contains \"far\" if not near\n\nnear if net.cidr_contains(\"10.0.0.0/8\", input.request.client_ip)", want: policy.Decision{Reason: "far"}},
		{name: "helpers of every kind", want: policy.Decision{Reason: "a GET for 2"}, rules: `import data.vaultspan.deny.limit as most

reasons contains msg if {
	size(input.route.secrets) > most
	near
	some kind in kinds
	msg := sprintf("a %s for %d", [words[kind], levels.high])
}

default near := false

near if input.request.client_ip == "192.0.2.1"

limit := 9 if {
	input.route.name == "wide"
} else := 0

size(list) := count(list)

kinds contains "method"

words[kind] := input.request[kind] if some kind in kinds

levels.high := 2`},
		{name: "a message that is no string", rules: `reasons contains 7`, problem: "not a string"},
		{name: "a message that is an object", rules: `reasons contains {"msg": "no"}`, problem: "not a string"},
		{name: "messages of which one is no string", rules: "reasons contains \"no\"\n\nreasons contains input.identity.groups", problem: "not a string"},
		{id: "I03", name: "a helper in conflict", rules: "reasons contains x if x := word\n\nword := \"a\" if input.request.method == \"GET\"\n\nword := \"b\" if input.route.name == \"app\"", problem: "conflict"},
		{id: "I04", name: "a builtin fails", rules: `reasons contains "late" if time.parse_rfc3339_ns(input.request.path) < 5`, problem: "time.parse_rfc3339_ns"},
		{id: "I31", name: "a denial with an error beside it", rules: `reasons contains 7`, replace: `decision := {"allow": false, "reason": "no", "role": "", "secret": ""}`, problem: "not a string"},
	} {
		t.Run(test.id+" "+test.name, func(t *testing.T) {
			config := policy.Config{Deny: []string{module(t, "package vaultspan.deny\n\n"+test.rules+"\n")}}
			if test.replace != "" {
				config.Replace = module(t, "package vaultspan\n\n"+test.replace+"\n")
			}
			e := engine(t, policy.Rules{Roles: company(), Config: config})
			d, err := e.Decide(t.Context(), asked())
			if test.problem != "" {
				if err == nil || !strings.Contains(err.Error(), test.problem) || d != (policy.Decision{}) {
					t.Fatalf("got %+v, %v; want an error that says %q", d, err, test.problem)
				}
				return
			}
			test.want.Revision = e.Revision()
			if err != nil || d != test.want {
				t.Fatalf("got %+v, %v; want %+v", d, err, test.want)
			}
		})
	}
}

func TestAReasonIsShortText(t *testing.T) {
	e := engine(t, policy.Rules{Roles: company(), Config: policy.Config{Deny: []string{module(t, "package vaultspan.deny\n\nreasons contains input.request.path\n")}}})
	in := asked()
	in.Request.Path = "/" + strings.Repeat("é", 5000)
	if d := decide(t, e, in); len(d.Reason) > 512 || !strings.HasSuffix(d.Reason, "é…") {
		t.Errorf("a reason of %d bytes, ending in %q", len(d.Reason), d.Reason[len(d.Reason)-8:])
	}
	in.Request.Path = "/\xff"
	if d := decide(t, e, in); d.Reason != "/\ufffd" {
		t.Errorf("reason %q", d.Reason)
	}
}

func TestReasonsNameNoRoleAndNoSecret(t *testing.T) { // J32
	e := engine(t, policy.Rules{Roles: company()})
	for _, in := range []policy.Input{
		asked(),
		{Identity: alice(), Route: route("prod/team-pay/KEY"), Request: request("POST")},
		{Route: route(granted), Request: request("GET")},
		{Identity: alice(), Route: policy.RouteInput{Name: "app", Allow: []string{"pay"}}, Request: request("GET")},
		{Identity: alice(), Route: policy.RouteInput{Name: "app"}, Request: request("GET")},
	} {
		d := decide(t, e, in)
		for _, word := range []string{"team-", "prod", "KEY", "pay", "dev", "alice"} {
			if strings.Contains(d.Reason, word) {
				t.Errorf("reason %q holds %q", d.Reason, word)
			}
		}
	}
}

func TestALargeInputIsRefused(t *testing.T) {
	e := engine(t, policy.Rules{Roles: company()})
	decide(t, e, asked())
	in := asked()
	in.Request.Path = "/" + strings.Repeat("x", 64<<10) // which rbac.rego does not read
	if d, err := e.Decide(t.Context(), in); err == nil {
		t.Errorf("got %+v", d)
	}
}

func TestASlowPolicyIsRefused(t *testing.T) {
	slow := module(t, `package vaultspan.deny

reasons contains "slow" if count([1 | some a in digits; some b in digits; some c in digits; some d in digits; some e in digits; a + b + c + d + e < 0]) > 0

digits := [x | some x, _ in split(input.request.path, "")]
`)
	e := engine(t, policy.Rules{Roles: company(), Config: policy.Config{Deny: []string{slow}}, Deadline: time.Millisecond})
	in := asked()
	in.Request.Path = "/" + strings.Repeat("x", 500)
	if d, err := e.Decide(t.Context(), in); err == nil {
		t.Errorf("got %+v", d)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if d, err := engine(t, policy.Rules{Roles: company()}).Decide(canceled, asked()); err == nil {
		t.Errorf("got %+v for a request that is gone", d)
	}
}

func TestTheZeroEngineDecidesNothing(t *testing.T) { // I18
	for _, e := range []*policy.Engine{nil, {}} {
		if d, err := e.Decide(t.Context(), asked()); err == nil || d.Allow {
			t.Errorf("got %+v, %v", d, err)
		}
	}
	if grant, ok := (policy.Decision{}).Grant("app"); ok {
		t.Errorf("the zero Decision grants %+v", grant)
	}
	if grant, ok := (policy.Decision{Secret: granted}).Grant("app"); ok {
		t.Errorf("a denial grants %+v", grant)
	}
}

// TestIdentitiesReachThePolicyByteForByte: no folding, no replacing of what is
// not UTF-8, so two subjects never become one.
func TestIdentitiesReachThePolicyByteForByte(t *testing.T) { // I23
	e := engine(t, policy.Rules{Roles: map[string]policy.Role{"r": {
		Members:     []policy.Member{{Issuer: "corp", Subject: "kelvin"}, {Issuer: "corp", Subject: "\ufffd"}},
		Collections: map[string]policy.Methods{"prod/team-dev": {policy.Any}},
	}}})
	in := asked()
	for subject, want := range map[string]bool{"kelvin": true, "\u212aelvin": false, "Kelvin": false, "kelvin ": false, "\ufffd": true, "\xff": false, "\xfe": false} {
		in.Identity.Subject = subject
		if d := decide(t, e, in); d.Allow != want {
			t.Errorf("subject %q: got %+v", subject, d)
		}
	}
}
