package authn_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
)

// TestCheck: every problem of an issuer is reported, each at its place.
func TestCheck(t *testing.T) {
	good := authn.IssuerConfig{Name: "corp", URL: "https://login.example.com/tenant", Audience: "vaultspan"}
	for _, c := range []struct {
		name   string
		change func(*authn.IssuerConfig)
		want   []string
	}{
		{"nothing", func(*authn.IssuerConfig) {}, nil},
		{"everything", func(c *authn.IssuerConfig) {
			*c = authn.IssuerConfig{
				Name: "corp", URL: "http://127.0.0.1:5556/dex", Audience: "a", Tokens: []string{"access", "id"},
				Clients: []string{"web"}, Algorithms: []string{"ES384"}, AccessTokenTypes: []string{"at+jwt", "none"},
				MaxLifetime: time.Hour, ClockSkew: 5 * time.Minute, MaxKeyAge: time.Hour, Kind: authn.Workload,
				KindRules: []authn.KindRule{{Claim: "a.b", Value: "x", Kind: authn.Agent}},
				Claims:    authn.ClaimPaths{Groups: "/a~1b/c", Roles: "x.y", Email: "upn", Expose: []string{"repository"}},
			}
		}, nil},
		{"zero", func(c *authn.IssuerConfig) { *c = authn.IssuerConfig{} }, []string{"audience", "name", "url"}},
		{"plain http", func(c *authn.IssuerConfig) { c.URL = "http://login.example.com" }, []string{"url"}},
		{"localhost by another name", func(c *authn.IssuerConfig) { c.URL = "http://localhost.example.com" }, []string{"url"}},
		{"no scheme", func(c *authn.IssuerConfig) { c.URL = "login.example.com" }, []string{"url"}},
		{"a query", func(c *authn.IssuerConfig) { c.URL = "https://login.example.com?x" }, []string{"url"}},
		{"a template (H14)", func(c *authn.IssuerConfig) { c.URL = "https://login.example.com/{tenantid}/v2.0" }, []string{"url"}},
		{"wrong words", func(c *authn.IssuerConfig) {
			c.Tokens, c.Algorithms = []string{"access", "refresh", "access"}, []string{"none", "HS256", "RS256"}
			c.AccessTokenTypes = []string{"JWT", "application/logout+jwt", ""}
		}, []string{"access_token_types[1]", "access_token_types[2]", "algorithms[0]", "algorithms[1]", "tokens[1]", "tokens[2]"}},
		{"empty lists", func(c *authn.IssuerConfig) {
			c.Tokens, c.Clients, c.Algorithms, c.AccessTokenTypes = []string{}, []string{}, []string{}, []string{}
		}, []string{"access_token_types", "algorithms", "clients", "tokens"}},
		{"times", func(c *authn.IssuerConfig) {
			c.MaxLifetime, c.ClockSkew, c.MaxKeyAge = -1, 5*time.Minute+1, time.Second
		}, []string{"clock_skew", "max_key_age", "max_lifetime"}},
		{"kinds", func(c *authn.IssuerConfig) {
			c.Kind, c.KindRules = "robot", []authn.KindRule{{}}
		}, []string{"kind", "kind_rules[0].claim", "kind_rules[0].kind", "kind_rules[0].value"}},
		{"claim paths", func(c *authn.IssuerConfig) {
			c.Claims = authn.ClaimPaths{Groups: "a..b", Roles: "/a~2", Email: "/", Expose: []string{"ok", "Sub", "."}}
		}, []string{"claims.email", "claims.expose[1]", "claims.expose[2]", "claims.groups", "claims.roles"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := good
			c.change(&config)
			var got []string
			config.Check(func(path, problem string) {
				got = append(got, path)
				if problem == "" || strings.HasSuffix(problem, ".") {
					t.Errorf("%s: %q is no problem", path, problem)
				}
			})
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if _, err := authn.New(t.Context(), authn.Config{Issuers: []authn.IssuerConfig{config}, Transport: network{}}); (err == nil) != (c.want == nil) {
				t.Errorf("New: %v", err)
			}
		})
	}
}

// TestCheckAll: names and urls are one issuer's each, or one's tokens could be
// another's.
func TestCheckAll(t *testing.T) {
	a := authn.IssuerConfig{Name: "a", URL: "https://a.test", Audience: "x"}
	b := authn.IssuerConfig{Name: "b", URL: "https://b.test", Audience: "x"}
	sameName, sameURL := b, a
	sameName.Name, sameURL.Name = "a", "b"
	for _, c := range []struct {
		issuers []authn.IssuerConfig
		want    string
	}{
		{nil, ""},
		{[]authn.IssuerConfig{a, b}, ""},
		{[]authn.IssuerConfig{a, sameName}, "[1].name"},
		{[]authn.IssuerConfig{a, sameURL}, "[1].url"},
		{[]authn.IssuerConfig{{}, {}}, ""}, // each has its own problems already
	} {
		var got []string
		authn.Check(c.issuers, func(path, _ string) { got = append(got, path) })
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: got %q, want %q", c.issuers, got, c.want)
		}
	}
}
