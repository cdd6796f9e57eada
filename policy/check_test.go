package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/policy"
)

func TestWhatATableMayNotSay(t *testing.T) {
	member := policy.Member{Issuer: "corp", Groups: "dev"}
	role := func(members ...policy.Member) policy.Rules {
		return policy.Rules{Roles: map[string]policy.Role{"r": {Members: members}}}
	}
	reach := func(collection string, methods ...string) policy.Rules {
		return policy.Rules{Roles: map[string]policy.Role{"r": {Members: []policy.Member{member}, Collections: map[string]policy.Methods{collection: methods}}}}
	}
	named := func(name string) policy.Rules {
		return policy.Rules{Roles: map[string]policy.Role{name: {Members: []policy.Member{member}}}}
	}
	for _, test := range []struct {
		id, name string
		rules    policy.Rules
		want     string // "path: a part of the problem"; "" is no problem
	}{
		{name: "nothing"},
		{name: "a company", rules: policy.Rules{Roles: company()}},
		{name: "no members", rules: role(), want: "roles.r.members: an empty list grants nothing"},
		{name: "no issuer", rules: role(policy.Member{Groups: "dev"}), want: "roles.r.members[0].issuer: missing"},
		{name: "an issuer alone", rules: role(member, policy.Member{Issuer: "corp"}), want: "roles.r.members[1]: the issuer alone is everyone"},
		{name: "anyone", rules: role(policy.Member{Issuer: "corp", Anyone: true})},
		{name: "anyone, and not", rules: role(policy.Member{Issuer: "corp", Anyone: true, Groups: "dev"}), want: "roles.r.members[0].anyone: anyone: true stands alone"},
		{name: "a kind", rules: role(policy.Member{Issuer: "corp", Kind: "agent"})},
		{name: "no such kind", rules: role(policy.Member{Issuer: "corp", Kind: "Human"}), want: `roles.r.members[0].kind: "Human" is no kind`},
		{name: "an empty claim", rules: role(policy.Member{Issuer: "corp", Claims: map[string]string{"ref": ""}}), want: "roles.r.members[0].claims.ref: want"},
		{name: "the word anyone", rules: named("anyone"), want: "roles.anyone: anyone is the word"},
		{id: "I23", name: "a Kelvin sign", rules: named("\u212aelvin"), want: "use letters, digits"},
		{name: "a name with a space", rules: named("team lead"), want: "use letters, digits"},
		{id: "I27", name: "empty collections", rules: policy.Rules{Roles: map[string]policy.Role{"r": {Members: []policy.Member{member}, Collections: map[string]policy.Methods{}}}}, want: "roles.r.collections: an empty list grants nothing"},
		{id: "I27", name: "a wildcard", rules: reach("prod/*", "GET"), want: "roles.r.collections.prod/*: collection \"prod/*\": there are no wildcards"},
		{id: "I30", name: "a template", rules: reach("prod/{group}", "GET"), want: "no templates"},
		{name: "one part", rules: reach("prod", "GET"), want: "want vault/collection"},
		{name: "three parts", rules: reach("prod/a/b", "GET"), want: "want vault/collection"},
		{name: "an empty part", rules: reach("prod/", "GET"), want: "want vault/collection"},
		{name: "a space around", rules: reach("prod/a ", "GET"), want: "no surrounding spaces"},
		{name: "any", rules: reach("prod/a", policy.Any)},
		{name: "methods", rules: reach("prod/a", "GET", "PROPFIND", "M-SEARCH")},
		{name: "no methods", rules: reach("prod/a"), want: "roles.r.collections.prod/a: an empty list grants nothing"},
		{name: "any in a list", rules: reach("prod/a", "any"), want: "roles.r.collections.prod/a[0]: any stands alone"},
		{name: "any beside others", rules: reach("prod/a", "GET", policy.Any), want: "[1]: any stands alone"},
		{name: "lower case", rules: reach("prod/a", "get"), want: `"get" is no method`},
		{name: "no token", rules: reach("prod/a", "GET POST"), want: "is no method"},
		{name: "an empty method", rules: reach("prod/a", ""), want: "is no method"},
		{name: "CONNECT", rules: reach("prod/a", "CONNECT"), want: "CONNECT is never forwarded"},
		{name: "TRACE", rules: reach("prod/a", "TRACE"), want: "TRACE is never forwarded"},
		{name: "a method twice", rules: reach("prod/a", "GET", "GET"), want: "GET is listed twice"},
		{name: "an unknown role", rules: policy.Rules{Roles: company(), Routes: []policy.RouteInput{{Name: "wiki", Allow: []string{"dev", "devs"}}}}, want: `routes[0].allow[1]: route "wiki" allows role "devs"`},
		{name: "an open route", rules: policy.Rules{Routes: []policy.RouteInput{{Name: "public", Allow: []string{policy.Any}}}}},
		{name: "anyone beside roles", rules: policy.Rules{Roles: company(), Routes: []policy.RouteInput{{Name: "wiki", Allow: []string{"dev", policy.Any}}}}, want: `role "*"`},
		{name: "a glob that is none", rules: policy.Rules{Config: policy.Config{Deny: []string{"[x"}}}, want: "policy.deny[0]:"},
		{name: "an empty glob", rules: policy.Rules{Config: policy.Config{Deny: []string{""}}}, want: "policy.deny[0]:"},
	} {
		t.Run(test.id+" "+test.name, func(t *testing.T) {
			var got []string
			test.rules.Check(func(path, problem string) { got = append(got, path+": "+problem) })
			switch {
			case test.want == "" && len(got) == 0:
			case test.want != "" && len(got) == 1 && strings.Contains(got[0], test.want):
			default:
				t.Errorf("got %q, want %q", got, test.want)
			}
			if _, err := policy.New(t.Context(), test.rules); (err == nil) != (test.want == "") {
				t.Errorf("New: %v", err)
			}
		})
	}
}

func TestMethodsAreAListOrTheWordAny(t *testing.T) {
	var m policy.Methods
	if err := m.UnmarshalText([]byte("any")); err != nil || !slices.Equal(m, policy.Methods{policy.Any}) {
		t.Errorf("any: got %v, %v", m, err)
	}
	for _, word := range []string{"", "ANY", "GET", "*", "any "} {
		if err := new(policy.Methods).UnmarshalText([]byte(word)); err == nil {
			t.Errorf("%q is taken for any", word)
		}
	}
}

func TestPathsAreTheClaimsThatMembersName(t *testing.T) {
	rules := policy.Rules{Roles: map[string]policy.Role{
		"a": {Members: []policy.Member{{Claims: map[string]string{"ref": "x", "realm_access.roles": "y"}}}},
		"b": {Members: []policy.Member{{Claims: map[string]string{"ref": "z"}}, {Groups: "g"}}},
	}}
	if got := rules.Paths(); !slices.Equal(got, []string{"realm_access.roles", "ref"}) {
		t.Errorf("got %q", got)
	}
}
