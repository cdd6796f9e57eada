package policy_test

import (
	"testing"

	"github.com/vaultspan/vaultspan/policy"
)

func TestTheTableDecides(t *testing.T) {
	carol := policy.IdentityInput{Issuer: "corp", Subject: "carol", Kind: "human", Groups: []string{"payments"}}
	robot := policy.IdentityInput{Issuer: "corp", Subject: "carol", Kind: "workload", Groups: []string{"payments"}}
	mallory := policy.IdentityInput{Issuer: "elsewhere", Subject: "mallory", Kind: "human"}
	both := policy.IdentityInput{Issuer: "corp", Subject: "dave", Kind: "human", Groups: []string{"payments", "dev"}}
	action := policy.IdentityInput{Issuer: "github", Subject: "repo:acme/api", Kind: "workload",
		Claims: map[string][]string{"repository": {"acme/api"}, "ref": {"refs/heads/main"}}}
	branch := policy.IdentityInput{Issuer: "github", Subject: "repo:acme/api", Kind: "workload",
		Claims: map[string][]string{"repository": {"acme/api"}, "ref": {"refs/heads/topic"}}}
	claimant := policy.IdentityInput{Issuer: "elsewhere", Subject: "x", Roles: []string{"dev"}, Groups: []string{"dev"}}
	splicer := func(value string) policy.IdentityInput {
		return policy.IdentityInput{Issuer: "github", Subject: "x", Claims: map[string][]string{"repository": {value}, "ref": {"refs/heads/main"}}}
	}
	shadow := policy.IdentityInput{Issuer: "elsewhere", Subject: "x", Claims: map[string][]string{
		"request": {"GET"}, "route": {"app"}, "data": {"rbac"}, "groups": {"dev"}, "issuer": {"corp"}}}

	const dev, pay, deploy = "prod/team-dev/KEY", "prod/team-pay/KEY", "prod/deploy/KEY"
	allow := func(r policy.RouteInput, roles ...string) policy.RouteInput { r.Allow = roles; return r }

	for _, test := range []struct {
		id, name   string
		identity   policy.IdentityInput
		route      policy.RouteInput
		method     string
		role       string // "" is a denial
		secret     string
		reasonWord string
	}{
		{name: "a role reaches the secret", identity: alice(), route: route(dev), method: "GET", role: "dev", secret: dev},
		{name: "any is any method", identity: alice(), route: route(dev), method: "PROPFIND", role: "dev", secret: dev},
		{name: "a method in the list", identity: carol, route: route(pay), method: "POST", role: "pay", secret: pay},
		{name: "a method not in the list", identity: carol, route: route(pay), method: "GET", reasonWord: "not-granted"},
		{name: "methods are compared exactly", identity: carol, route: route(pay), method: "post", reasonWord: "not-granted"},
		{name: "the word for any is no method", identity: carol, route: route(pay), method: "*", reasonWord: "not-granted"},
		{name: "fields of a member are and", identity: robot, route: route(pay), method: "POST", reasonWord: "not-granted"},
		{name: "all claims match", identity: action, route: route(deploy), method: "PUT", role: "deployer", secret: deploy},
		{name: "one claim differs", identity: branch, route: route(deploy), method: "PUT", reasonWord: "no-role"},
		{name: "another issuer", identity: mallory, route: route(dev), method: "GET", reasonWord: "no-role"},
		{name: "another issuer's groups and roles", identity: claimant, route: route(dev), method: "GET", reasonWord: "no-role"},
		{name: "the first candidate within reach", identity: alice(), route: route(pay, dev), method: "POST", role: "dev", secret: dev},
		{name: "order of the route, not of names", identity: both, route: route(pay, dev), method: "POST", role: "pay", secret: pay},
		{name: "allow alone", identity: mallory, route: allow(route(), "wiki-reader"), method: "GET", reasonWord: "no-role"},
		{name: "allow alone, member", identity: alice(), route: allow(route(), "pay", "wiki-reader"), method: "GET", role: "wiki-reader"},
		{name: "allow alone, another role", identity: alice(), route: allow(route(), "pay"), method: "GET", reasonWord: "role-not-allowed"},
		{name: "both, one role does both", identity: both, route: allow(route(pay, dev), "dev"), method: "POST", role: "dev", secret: dev},
		{name: "both, by two roles", identity: both, route: allow(route(pay), "dev"), method: "POST", reasonWord: "not-granted"},
		{name: "neither", identity: alice(), route: route(), method: "GET", reasonWord: "route-closed"},
		{name: "nobody", route: route(dev), method: "GET", reasonWord: "no-role"},
		{id: "I12", name: "claims shadow nothing", identity: shadow, route: route(dev), method: "GET", reasonWord: "no-role"},
		{id: "I27", name: "a collection that is gone", identity: alice(), route: route("prod/team-old/KEY"), method: "GET", reasonWord: "not-granted"},
		{id: "I27", name: "an empty collection", identity: alice(), route: route("prod//KEY"), method: "GET", reasonWord: "not-granted"},
		{id: "I27", name: "a wildcard collection", identity: alice(), route: route("prod/*/KEY"), method: "GET", reasonWord: "not-granted"},
		{id: "I27", name: "a fourth part", identity: alice(), route: route("prod/team-dev/x/KEY"), method: "GET", reasonWord: "not-granted"},
		{id: "I27", name: "too few parts", identity: alice(), route: route("prod/team-dev", ""), method: "GET", reasonWord: "not-granted"},
		{id: "I30", name: "a claim with dots", identity: splicer("acme/x/../api"), route: route(deploy), method: "GET", reasonWord: "no-role"},
		{id: "I30", name: "a claim with a slash", identity: splicer("acme/api/"), route: route(deploy), method: "GET", reasonWord: "no-role"},
		{id: "I23", name: "a group that folds", identity: policy.IdentityInput{Issuer: "corp", Groups: []string{"DEV", "ᴅev"}}, route: route(dev), method: "GET", reasonWord: "not-granted"},
	} {
		t.Run(test.id+" "+test.name, func(t *testing.T) {
			d := decide(t, engine(t, policy.Rules{Roles: company()}), policy.Input{Identity: test.identity, Route: test.route, Request: request(test.method)})
			if d.Allow != (test.role != "") || d.Role != test.role || d.Secret != test.secret {
				t.Fatalf("got %+v, want role %q and secret %q", d, test.role, test.secret)
			}
			if word := firstWord(d.Reason); !d.Allow && word != test.reasonWord {
				t.Errorf("reason %q, want the word %q first", d.Reason, test.reasonWord)
			}
		})
	}
}
