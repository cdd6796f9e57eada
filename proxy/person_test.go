package proxy_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/authn/devidp"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
)

// A route with a template lends each caller what is its own: by the subject, by
// a claim, and by nothing that a caller sends along. Who has none is told so and
// is alone with it.
func TestEachCallerWearsItsOwn(t *testing.T) {
	b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		idp, err := devidp.Start(ctx, devidp.Config{
			People: []devidp.Person{
				{Subject: "auth0|42", Email: "dana@example.com", Claims: map[string]any{"employee": "e1"}},
				{Subject: "auth0%7C42", Email: "evil@example.com", Claims: map[string]any{"employee": []string{"e1", "e2"}}},
				{Subject: "U1_KEY", Email: "key@example.com", Claims: map[string]any{"employee": "../U1_KEY"}},
				{Subject: "none", Email: "none@example.com"},
			},
			Clients: []devidp.Client{{ID: "cli", RedirectURIs: []string{"http://127.0.0.1/callback"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		b.idp = idp
		own := b.organization.AddProject("people")
		b.projects = append(b.projects, own)
		b.roles["person"] = policy.Role{Members: []policy.Member{{Issuer: "idp", Anyone: true}}, Collections: map[string]policy.Methods{"prod/people": {policy.Any}}}
		for name, value := range map[string]string{
			"jira-auth0%7C42": canary1, "jira-auth0%257C42": "CANARY-the-other-42", "wiki-e1": canary2,
		} {
			b.organization.AddSecret(name, value, "", own)
		}
		jira, wiki := routes[0], routes[0]
		jira.Name, jira.Match, jira.Secret = "jira", []string{"jira.gw.test/"}, "prod/people/jira-{subject}"
		wiki.Name, wiki.Match, wiki.Secret = "wiki", []string{"wiki.gw.test/"}, "prod/people/wiki-{claims.employee}"
		return append(routes, jira, wiki)
	})
	for _, c := range []struct {
		who, host, wears string
		status           int
		code             string
	}{
		{"auth0|42", "jira", canary1, 200, ""},
		{"auth0%7C42", "jira", "CANARY-the-other-42", 200, ""},
		{"auth0|42", "wiki", canary2, 200, ""},
		{"auth0%7C42", "wiki", "", 403, "denied"}, // two values
		{"U1_KEY", "jira", "", 502, "no-credential"},
		{"U1_KEY", "wiki", "", 502, "no-credential"},
		{"none", "jira", "", 502, "no-credential"},
		{"none", "wiki", "", 403, "denied"}, // no claim
		{"auth0|42", "jira", canary1, 200, ""},
	} {
		before := len(b.u1.requests())
		res, body := b.do(t, "GET", "https://"+c.host+".gw.test/x?subject=auth0%7C42", b.token(t, c.who), func(r *http.Request) {
			r.Header.Set("X-Forwarded-User", "auth0|42")
			r.Header.Set("Subject", "auth0|42")
		})
		if c.status != 200 {
			refused(t, res, body, c.status, c.code)
			var problem struct{ Detail string }
			if err := json.Unmarshal([]byte(body), &problem); err != nil || !strings.Contains(problem.Detail, "the caller's own") || len(b.u1.requests()) != before {
				t.Errorf("%s at %s: %s", c.who, c.host, body)
			}
			continue
		}
		if got := b.u1.last(t).Header.Get("Authorization"); res.StatusCode != 200 || got != "Bearer "+c.wears {
			t.Errorf("%s at %s: %d %s, wearing %q", c.who, c.host, res.StatusCode, body, got)
		}
	}

	// What is recorded names the secret; what is traced and logged does not.
	recorded := map[string]string{}
	for _, e := range b.records(t) {
		if e.Kind == "intent" {
			recorded[e.Secret] = e.Subject
		}
	}
	if recorded["prod/people/jira-auth0%7C42"] != "auth0|42" || recorded["prod/people/jira-auth0%257C42"] != "auth0%7C42" || recorded["prod/people/wiki-e1"] != "auth0|42" || len(recorded) != 3 {
		t.Errorf("recorded %v", recorded)
	}
	var spans strings.Builder
	for _, s := range b.spans.GetSpans() {
		for _, a := range s.Attributes {
			if a.Key != "user.id" {
				spans.WriteString(a.Value.String() + "\n")
			}
		}
	}
	for _, text := range []string{spans.String(), b.logs.String()} {
		if strings.Contains(text, "auth0%7C42") || strings.Contains(text, "CANARY") {
			t.Errorf("a caller's own secret shows in %s", text)
		}
	}
	if !strings.Contains(spans.String(), "jira-{subject}") {
		t.Error("spans do not say which secret was lent")
	}
}
