package vault_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

const token = "0.33333333-0000-4000-8000-000000000001.CANARYsecret:X8vbvA0bduihIDe/qrzIQQ=="

func TestConfigReportsEveryProblem(t *testing.T) {
	good := vault.Bitwarden{
		Organization: "5f1d7a84-0000-4000-8000-1b2c3d4e5f60",
		AccessToken:  func() string { return token },
	}
	for _, test := range []struct {
		name   string
		change func(*vault.Bitwarden)
		want   []string // paths
	}{
		{"defaults", func(*vault.Bitwarden) {}, nil},
		{"self-hosted", func(b *vault.Bitwarden) {
			b.API, b.Identity = "https://vault.example.com/api", "https://vault.example.com/identity"
		}, nil},
		{"on loopback", func(b *vault.Bitwarden) { b.API, b.Identity = "http://127.0.0.1:1/api", "http://[::1]:2/identity" }, nil},
		{"all at once", func(b *vault.Bitwarden) { *b = vault.Bitwarden{Refresh: time.Millisecond, MaxStale: -1, Timeout: -1} },
			[]string{"organization", "access_token", "refresh", "max_stale", "timeout"}},
		{"organization's name", func(b *vault.Bitwarden) { b.Organization = "acme" }, []string{"organization"}},
		{"no token", func(b *vault.Bitwarden) { b.AccessToken = nil }, []string{"access_token"}},
		{"empty token", func(b *vault.Bitwarden) { b.AccessToken = func() string { return "\n" } }, []string{"access_token"}},
		{"another kind of token", func(b *vault.Bitwarden) { b.AccessToken = func() string { return "CANARY" } }, []string{"access_token"}},
		{"token cut short", func(b *vault.Bitwarden) {
			b.AccessToken = func() string { return strings.TrimSuffix(token, ":X8vbvA0bduihIDe/qrzIQQ==") }
		}, []string{"access_token"}},
		{"api alone", func(b *vault.Bitwarden) { b.API = "https://vault.example.com/api" }, []string{""}},
		{"http", func(b *vault.Bitwarden) {
			b.API, b.Identity = "http://vault.example.com/api", "http://localhost/identity"
		}, []string{"api", "identity"}},
		{"not a base", func(b *vault.Bitwarden) { b.API, b.Identity = "vault.example.com", "https://u:p@vault.example.com" }, []string{"api", "identity"}},
		{"other schemes", func(b *vault.Bitwarden) {
			b.API, b.Identity = "ftp://vault.example.com", "https://vault.example.com/?x"
		}, []string{"api", "identity"}},
		{"refused before it is stale", func(b *vault.Bitwarden) { b.Refresh = time.Hour }, []string{"max_stale"}},
	} {
		b := good
		test.change(&b)
		var paths, problems []string
		vault.Config{Bitwarden: b}.Check(func(path, problem string) {
			paths = append(paths, strings.TrimPrefix(strings.TrimPrefix(path, "bitwarden"), "."))
			problems = append(problems, problem)
		})
		if !slices.Equal(paths, test.want) {
			t.Errorf("%s: problems at %q, want %q: %q", test.name, paths, test.want, problems)
		}
		if strings.Contains(fmt.Sprint(problems), "CANARY") {
			t.Errorf("%s quotes the token: %q", test.name, problems)
		}
	}
}

func TestInjectionReportsEveryProblem(t *testing.T) {
	for _, test := range []struct {
		inject vault.Injection
		want   []string // paths
		places []string
	}{
		{vault.Bearer(), nil, []string{"Authorization"}},
		{vault.Injection{Header: "authorization", Format: "Token {secret}"}, nil, []string{"Authorization"}},
		{vault.Injection{Header: "x-api-KEY"}, nil, []string{"X-Api-Key"}},
		{vault.Injection{Header: "api_key"}, nil, []string{"Api_key"}},
		{vault.Injection{Header: "X-Key", Format: `{"key":"{secret}"}`}, nil, []string{"X-Key"}},
		{word(t, "basic"), nil, []string{"Authorization"}},
		{vault.Injection{Basic: vault.Basic{User: "svc"}}, nil, []string{"Authorization"}},
		{vault.Injection{Basic: vault.Basic{User: "{secret}"}}, nil, []string{"Authorization"}},
		{vault.Injection{Basic: vault.Basic{User: "{email}/token", Password: "{token}"}}, nil, []string{"Authorization"}},
		{vault.Injection{Basic: vault.Basic{User: "a:b"}}, []string{"basic.user"}, []string{"Authorization"}},
		{vault.Injection{Basic: vault.Basic{User: "svc", Password: "CANARY"}}, []string{"basic"}, []string{"Authorization"}},
		{vault.Injection{Basic: vault.Basic{User: "{secret}", Password: "{secret}"}}, []string{"basic"}, []string{"Authorization"}},
		{vault.Injection{Basic: vault.Basic{User: "{a}", Password: "{secret}\n"}}, []string{"basic", "basic.password"}, []string{"Authorization"}},
		{vault.Injection{Basic: vault.Basic{User: "svc"}, Format: "{secret}"}, []string{"format"}, []string{"Authorization"}},
		{vault.Injection{Query: "api_key"}, nil, nil},
		{vault.Injection{Query: "key", Format: "{id}:{key}"}, nil, nil},
		{vault.Injection{Query: "key[]"}, []string{"query"}, nil},
		{vault.Injection{Query: "a b", Format: "{secret}é"}, []string{"query", "format"}, nil},
		{vault.Injection{Cookie: "__Host-sid"}, nil, nil},
		{vault.Injection{Cookie: "sid", Format: "{id} {key}"}, []string{"format"}, nil},
		{vault.Injection{Cookie: "s;id"}, []string{"cookie"}, nil},
		{vault.Injection{Cookie: "sid", Query: "key"}, []string{""}, nil},
		{vault.Injection{Header: "X-Key", Basic: vault.Basic{User: "svc"}}, []string{""}, []string{"Authorization"}},
		{vault.Injection{Header: "Cookie", Format: "sid={secret}"}, []string{"header"}, []string{"Cookie"}},
		{vault.Injection{Header: "X-Key", Format: "{key} {secret}"}, []string{"format"}, []string{"X-Key"}},
		{vault.Injection{Header: "X-Key", Format: "{id}{id}"}, []string{"format"}, []string{"X-Key"}},
		{vault.Injection{Header: "X-Key", Format: "{} {1} {a b}"}, []string{"format"}, []string{"X-Key"}},
		{vault.Injection{}, []string{""}, nil},
		{vault.Injection{Format: "Token {secret}"}, []string{"header"}, nil},
		{vault.Injection{Header: "X-Key", Format: "Token"}, []string{"format"}, []string{"X-Key"}},
		{vault.Injection{Header: "X-Key", Format: "{secret}{secret}"}, []string{"format"}, []string{"X-Key"}},
		{vault.Injection{Header: "X-Key", Format: "{secret}\r\nX: 1"}, []string{"format"}, []string{"X-Key"}},
		{vault.Injection{Header: "X-Key", Format: " {secret}"}, []string{"format"}, []string{"X-Key"}},
		{vault.Injection{Header: "X Key", Format: "x"}, []string{"header", "format"}, []string{"X Key"}},
	} {
		var paths []string
		test.inject.Check(func(path, problem string) {
			paths = append(paths, path)
			if strings.Contains(problem, "CANARY") {
				t.Errorf("%+v is quoted: %s", test.inject, problem)
			}
		})
		if !slices.Equal(paths, test.want) {
			t.Errorf("%+v: problems at %q, want %q", test.inject, paths, test.want)
		}
		if got := test.inject.Places(); !slices.Equal(got, test.places) {
			t.Errorf("%+v: places %q, want %q", test.inject, got, test.places)
		}
	}
	for _, name := range []string{
		"Host", "Content-Length", "Content-Type", "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Transfer-Encoding",
		"TE", "Trailer", "Upgrade", "Expect", "Cookie", "Set-Cookie", "Via", "Forwarded", "X-Forwarded-For", "x_forwarded_for", "X.Forwarded.Host",
		"X-Real-IP", "X-Request-Id", "Traceparent", "Tracestate", "Baggage", "Sec-WebSocket-Key", "Origin",
		"", ":authority", "X-Kéy", "X\r\nY", "X:Y",
	} {
		refused := false
		vault.Injection{Header: name, Format: "{secret}"}.Check(func(path, _ string) { refused = refused || path == "header" })
		if !refused {
			t.Errorf("a credential may travel in %q", name)
		}
	}
	var i vault.Injection
	if err := i.UnmarshalText([]byte("bearer")); err != nil || !slices.Equal(i.Places(), []string{"Authorization"}) {
		t.Errorf("the word bearer: %v, %v", err, i.Places())
	}
	if err := i.UnmarshalText([]byte("Bearer")); err == nil {
		t.Error("another word is taken for bearer")
	}
}

func TestBindingReportsEveryProblem(t *testing.T) {
	b := bind(stripeRef)
	b.Check(func(path, problem string) { t.Errorf("%s: %s", path, problem) })
	var paths []string
	vault.Binding{}.Check(func(path, _ string) { paths = append(paths, path) })
	if want := []string{"secret", "upstream", "inject"}; !slices.Equal(paths, want) {
		t.Errorf("problems at %q, want %q", paths, want)
	}
}

func BenchmarkLease(b *testing.B) {
	v, err := vault.Open(setup(newAccount()))
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	if err := v.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Run("lease", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := v.Lease(b.Context(), "r", stripeRef); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("lease and authorize", func(b *testing.B) { authorize(b, v, "") })
	for kind, inject := range kinds {
		s := setup(newAccount())
		s.Bindings = []vault.Binding{bind(stripeRef)}
		s.Bindings[0].Inject = inject
		v, err := vault.Open(s)
		if err != nil {
			b.Fatal(err)
		}
		defer v.Close()
		if err := v.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.Run(kind, func(b *testing.B) {
			authorize(b, v, "limit=10&starting_after=cus_9s6XKzkNRiz8i3&expand%5B%5D=data.customer")
		})
	}
}

// authorize leases for a request as a caller sends it, and puts it on.
func authorize(b *testing.B, v *vault.Vault, query string) {
	r, err := http.NewRequestWithContext(b.Context(), "GET", "https://api.example.com/v1/charges", nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 12 {
		r.Header.Set(fmt.Sprintf("X-Header-%d", i), "x")
	}
	url, cookies := *r.URL, []string{"a=0123456789abcdef; _ga=GA1.1.1234567890.1234567890; theme=dark"}
	url.RawQuery = query
	b.ReportAllocs()
	for b.Loop() {
		l, err := v.Lease(b.Context(), "r", stripeRef)
		if err != nil {
			b.Fatal(err)
		}
		r.URL, r.Header["Cookie"] = &url, cookies
		if err := l.Authorize(r); err != nil {
			b.Fatal(err)
		}
	}
}
