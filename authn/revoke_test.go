package authn_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/authn"
)

// TestRevoke: a refresh token goes to the revocation endpoint that discovery
// names (RFC 7009), the way the issuer wants clients to authenticate, and
// nowhere else.
func TestRevoke(t *testing.T) {
	secret := func() string { return "s/e=c" }
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") }))
	t.Cleanup(elsewhere.Close)
	for _, c := range []struct {
		name     string
		document map[string]any
		login    authn.Login
		token    string
		status   int
		basic    string // id and secret, as they are encoded
		form     string // empty: nothing comes
		err      string
	}{
		{name: "basic", token: "r+1", status: 200, basic: "web s%2Fe%3Dc", form: "token=r%2B1&token_type_hint=refresh_token"},
		{name: "post", token: "r", status: 200, document: map[string]any{"revocation_endpoint_auth_methods_supported": []string{"client_secret_post"}},
			form: "client_id=web&client_secret=s%2Fe%3Dc&token=r&token_type_hint=refresh_token"},
		{name: "post, as at the token endpoint", token: "r", status: 200, document: map[string]any{"token_endpoint_auth_methods_supported": []string{"client_secret_post"}},
			form: "client_id=web&client_secret=s%2Fe%3Dc&token=r&token_type_hint=refresh_token"},
		{name: "public", token: "r", status: 200, login: authn.Login{ClientID: "cli"}, form: "client_id=cli&token=r&token_type_hint=refresh_token"},
		{name: "nothing to revoke", status: 200},
		{name: "kept", token: "r", status: 200, login: authn.Login{ClientID: "web", ClientSecret: secret, KeepTokens: true}},
		{name: "no endpoint", token: "r", status: 200, document: map[string]any{"revocation_endpoint": nil}},
		{name: "an endpoint elsewhere", token: "r", status: 200, document: map[string]any{"revocation_endpoint": elsewhere.URL + "/revoke"}},
		{name: "down", token: "r", status: 503, basic: "web s%2Fe%3Dc", form: "token=r&token_type_hint=refresh_token", err: "answers 503"},
		{name: "redirect", token: "r", status: 307, basic: "web s%2Fe%3Dc", form: "token=r&token_type_hint=refresh_token", err: "answers 307"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var basic, form string
			p := newIDP(t, public("k1", rsaKey()))
			mux := http.NewServeMux()
			mux.Handle("/", p)
			mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
				if id, secret, ok := r.BasicAuth(); ok {
					basic = id + " " + secret
				}
				body, _ := io.ReadAll(r.Body)
				form = string(body)
				w.Header().Set("Location", elsewhere.URL)
				w.WriteHeader(c.status)
				io.WriteString(w, "words of the issuer about r")
			})
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			p.url = server.URL
			document := map[string]any{
				"issuer": p.url, "jwks_uri": p.url + "/jwks", "authorization_endpoint": p.url + "/authorize",
				"token_endpoint": p.url + "/token", "revocation_endpoint": p.url + "/revoke",
			}
			maps.Copy(document, c.document)
			maps.DeleteFunc(document, func(_ string, v any) bool { return v == nil })
			p.set(func(p *idp) { p.discovery = answer(document) })
			config := p.config("corp")
			if config.Login = c.login; c.login.ClientID == "" {
				config.Login = authn.Login{ClientID: "web", ClientSecret: secret}
			}
			client := start(t, authn.Config{Issuers: []authn.IssuerConfig{config}}).Clients()[0]
			if _, err := client.Begin(t.Context(), "https://gw.test/callback", authn.Secrets{}, authn.Demand{}); err != nil {
				t.Fatal(err)
			}
			err := client.Revoke(t.Context(), authn.Tokens{Refresh: func() string { return c.token }})
			if (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "words")) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if form != c.form || basic != c.basic {
				t.Errorf("came %q by %q, want %q by %q", form, basic, c.form, c.basic)
			}
		})
	}
}

// TestRevokeTellsNoToken: an issuer that cannot be reached is told of without
// what was to be sent.
func TestRevokeTellsNoToken(t *testing.T) {
	p := newIDP(t, public("k1", rsaKey()))
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	p.set(func(p *idp) {
		p.discovery = answer(map[string]any{
			"issuer": p.url, "jwks_uri": p.url + "/jwks", "authorization_endpoint": p.url + "/authorize",
			"token_endpoint": gone.URL + "/token", "revocation_endpoint": gone.URL + "/revoke",
		})
	})
	config := p.config("corp")
	config.Login = authn.Login{ClientID: "web"}
	client := start(t, authn.Config{Issuers: []authn.IssuerConfig{config}}).Clients()[0]
	if _, err := client.Begin(t.Context(), "https://gw.test/callback", authn.Secrets{}, authn.Demand{}); err != nil {
		t.Fatal(err)
	}
	err := client.Revoke(t.Context(), authn.Tokens{Refresh: func() string { return "very-secret" }})
	if err == nil || strings.Contains(err.Error(), "very-secret") {
		t.Errorf("%v", err)
	}
}
