package proxy

import (
	"slices"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/vault"
)

// An upstream that reads a field as RFC 9110 says reads exactly what was said, or
// there is no field.
func FuzzCarried(f *testing.F) {
	for _, s := range []string{"", "dev", "dev\nops", "a,admin\nb", " a\nb ", "größe", "a\r\x00b", "=?utf-8?q?x?=", "cn=a,ou=b", `"a` + "\n" + `b"`} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, list bool) {
		values := strings.Split(text, "\n")
		if !list {
			values = values[:1]
		}
		value, why := carried(values, list)
		if why != "" {
			if value != "" {
				t.Fatalf("%q is left out, for %s, and is %q", values, why, value)
			}
			return
		}
		read := []string{strings.Trim(value, " \t")}
		if list {
			read = strings.Split(value, ",")
			for i := range read {
				read[i] = strings.Trim(read[i], " \t")
			}
		}
		if !slices.Equal(read, values) {
			t.Fatalf("%q was sent as %q and is read as %q", values, value, read)
		}
		for _, c := range []byte(value) {
			if c < ' ' || c > '~' {
				t.Fatalf("%q was sent as %q", values, value)
			}
		}
		if len(value) > maxTold {
			t.Fatalf("%d bytes were sent", len(value))
		}
	})
}

// Every word tells something, and nothing else does.
func TestWhatHeadersTell(t *testing.T) {
	id := authn.Identity{Issuer: "corp", Subject: "alice", Email: "a@b.c", Kind: authn.Agent, Groups: []string{"g", "h"}, Actors: []string{"agent-1", "x"}}
	want := map[string]string{"id": "corp:alice", "issuer": "corp", "subject": "alice", "email": "a@b.c", "kind": "agent", "groups": "g,h", "role": "dev", "actor": "corp:agent-1"}
	for _, word := range append(identityWords, "token") {
		if got, why := carried(says(id, "dev", word)); got != want[word] || why != "" {
			t.Errorf("%s tells %q (%s), want %q", word, got, why, want[word])
		}
		if got, why := carried(says(authn.Identity{}, "", word)); got != "" && word != "id" || why != "" {
			t.Errorf("%s tells %q (%s) of nobody", word, got, why)
		}
	}
}

func TestIdentityHeadersAreChecked(t *testing.T) {
	var key vault.Injection
	key.Header = "X-Api-Key"
	for _, c := range []struct {
		route Route
		want  string // the paths of problems
	}{
		{Route{IdentityHeaders: map[string]string{
			"X-User": "email", "x-forwarded-user": "id", "Remote-User": "subject", "X-WEBAUTH-USER": "subject", "X-Vaultspan-User": "id", "Remote-Groups": "groups", "X-Auth-Request-Email": "email",
		}}, ""},
		{Route{IdentityHeaders: map[string]string{"X-User": "token"}}, "X-User"},
		{Route{IdentityHeaders: map[string]string{"X_User": "email"}}, "X_User"},
		{Route{IdentityHeaders: map[string]string{"X.User": "email"}}, "X.User"},
		{Route{IdentityHeaders: map[string]string{"X User": "email"}}, "X User"},
		{Route{IdentityHeaders: map[string]string{"X-User": "email", "x-user": "subject"}}, "x-user"},
		{Route{IdentityHeaders: map[string]string{"X-Vaultspan-Assertion": "email"}}, "X-Vaultspan-Assertion"},
		{Route{IdentityHeaders: map[string]string{"X-Api-Key": "email"}, Inject: key}, "X-Api-Key"},
		{Route{IdentityHeaders: map[string]string{"X-Goog-Api-Key": "email"}, TokenFrom: []string{"x-goog-api-key"}}, "X-Goog-Api-Key"},
		{Route{IdentityHeaders: map[string]string{"X-User": "email"}, Allow: Allow{Anyone}}, "identity_headers"},
		{Route{Assertion: true, Allow: Allow{Anyone}}, "assertion"},
	} {
		var got []string
		c.route.checkTold(func(path, _ string) { got = append(got, strings.TrimPrefix(path, "identity_headers.")) })
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v: problems at %q, want %q", c.route.IdentityHeaders, got, c.want)
		}
	}
	for _, name := range slices.Concat(managed, wire, meaningful, []string{"X-Forwarded-For", "X-Forwarded-Proto", "Content-Type", "Sec-Fetch-Site", "If-Match", "Cf-Access-Jwt", "Proxy-Status"}) {
		problems := 0
		Route{IdentityHeaders: map[string]string{name: "email"}}.checkTold(func(string, string) { problems++ })
		if want := !slices.Contains(identityFields, name); (problems > 0) != want {
			t.Errorf("%s: %d problems", name, problems)
		}
	}
}

// What one route tells, no caller sends on any other.
func TestTellersAreTakenOnEveryRoute(t *testing.T) {
	routes := []Route{{Name: "a", IdentityHeaders: map[string]string{"X-User": "email"}}, {Name: "b", IdentityHeaders: map[string]string{"Remote-Groups": "groups"}}, {Name: "c"}}
	p := newHeaderPolicy(routes[2])
	p.take(namesTold(routes))
	for _, name := range []string{"X-User", "x_user", "X.User", "REMOTE_GROUPS", "Remote-Groups"} {
		if p.forwards(name) {
			t.Errorf("a caller's %s reaches the upstream", name)
		}
	}
	if !p.forwards("X-Users") {
		t.Error("X-Users does not reach the upstream")
	}
}
