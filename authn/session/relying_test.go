package session_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
)

// TestRelyingParty: the OpenID Foundation's checks of a relying party (basic
// certification plan), against a provider that misbehaves on purpose.
func TestRelyingParty(t *testing.T) {
	stranger := newKey()
	claim := func(name string, v any) func(*provider) { return func(p *provider) { p.claims[name] = v } }
	answer := func(name string, v any) func(*provider) { return func(p *provider) { p.answer[name] = v } }
	for _, c := range []struct {
		id, name string
		spoil    func(*provider)
		status   int
	}{
		{"", "a good answer", func(*provider) {}, 303},
		{"oidcc-client-test-invalid-iss", "wrong issuer", claim("iss", "https://evil.test"), 502},
		{"oidcc-client-test-missing-sub", "missing sub", claim("sub", nil), 502},
		{"E05 oidcc-client-test-nonce-invalid", "wrong nonce", claim("nonce", "another"), 502},
		{"E05", "missing nonce", claim("nonce", nil), 502},
		{"E05", "nonce of another type", claim("nonce", 1), 502},
		{"oidcc-client-test-missing-aud", "missing aud", claim("aud", nil), 502},
		{"oidcc-client-test-invalid-aud", "aud of somebody else", claim("aud", "other"), 502},
		{"", "the gateway's audience for bearers is not the client", claim("aud", "vaultspan"), 502},
		{"", "aud with strangers", func(p *provider) { p.claims["aud"], p.claims["azp"] = []string{"web", "other"}, "web" }, 502},
		{"", "aud with our own audience, and azp", func(p *provider) { p.claims["aud"], p.claims["azp"] = []string{"web", "vaultspan"}, "web" }, 303},
		{"", "several aud and no azp", claim("aud", []string{"web", "vaultspan"}), 502},
		{"", "azp of another client", claim("azp", "other"), 502},
		{"oidcc-client-test-invalid-sig-es256", "bad signature", func(p *provider) {
			p.sign = func(p *provider, claims map[string]any) string {
				return compact(stranger, []byte(`{"alg":"ES256","kid":"k1"}`), claims)
			}
		}, 502},
		{"oidcc-client-test-idtoken-sig-none", "no signature", func(p *provider) {
			p.sign = func(p *provider, claims map[string]any) string {
				token := compact(stranger, []byte(`{"alg":"none"}`), claims)
				return token[:strings.LastIndexByte(token, '.')+1]
			}
		}, 502},
		{"", "signed with the client secret", func(p *provider) { p.header["alg"] = "HS256" }, 502},
		{"oidcc-client-test-kid-absent-single-jwks", "kid absent, one key", func(p *provider) { p.header["kid"] = nil }, 303},
		{"oidcc-client-test-kid-absent-multiple-jwks", "kid absent, several keys", func(p *provider) {
			p.header["kid"] = nil
			p.keys = append(p.keys, p.keys[0])
			p.keys[1].KeyID, p.keys[1].Key = "k2", stranger.Public()
		}, 502},
		{"E20 oidcc-client-test-invalid-athash", "wrong at_hash", claim("at_hash", half("other")), 502},
		{"", "at_hash of another type", claim("at_hash", 1), 502},
		{"", "no at_hash", claim("at_hash", nil), 303},
		{"", "wrong c_hash", claim("c_hash", half("other")), 502},
		{"oidcc-client-test-missing-iat", "missing iat", claim("iat", nil), 502},
		{"", "expired", claim("exp", time.Now().Add(-2*time.Minute).Unix()), 502},
		{"", "iat in the future", claim("iat", time.Now().Add(5*time.Minute).Unix()), 502},
		{"", "missing exp", claim("exp", nil), 502},
		{"", "good for longer than max_lifetime", claim("exp", time.Now().Add(48*time.Hour).Unix()), 502},
		{"", "an access token in its place", func(p *provider) { p.header["typ"] = "at+jwt" }, 502},
		{"", "a logout token in its place", func(p *provider) { p.header["typ"] = "logout+jwt" }, 502},
		{"", "an event in its place", claim("events", map[string]any{"x": map[string]any{}}), 502},
		{"", "sub in another case too", claim("Sub", "mallory"), 502},
		{"", "bound to a key", claim("cnf", map[string]any{"jkt": "x"}), 502},
		{"E20", "no id_token", answer("id_token", nil), 502},
		{"E20", "an id_token that is not one", answer("id_token", "x"), 502},
		{"E20", "token_type mac", answer("token_type", "mac"), 502},
		{"E20", "no token_type", answer("token_type", nil), 502},
		{"", "no access token", answer("access_token", nil), 502},
		{"FI02", "the token endpoint is down", func(p *provider) {
			p.fault = func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "down <script>", http.StatusServiceUnavailable)
			}
		}, 503},
		{"FI14", "a captive portal", func(p *provider) {
			p.fault = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				w.Write([]byte("<html>"))
			}
		}, 503},
		{"E18", "the token endpoint redirects", func(p *provider) {
			p.fault = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
			}
		}, 503},
		{"", "it does not know us", func(p *provider) {
			p.fault = func(w http.ResponseWriter, _ *http.Request) {
				writeJSON(w, 401, map[string]any{"error": "invalid_client"})
			}
		}, 503},
	} {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			p := newProvider(t, &clock{})
			p.set(c.spoil)
			g := newGateway(t, p, options{})
			b := newBrowser(t, g)
			back := b.finish(p, b.begin("/x"), "alice")
			if back.status != c.status {
				t.Errorf("%d %s, want %d\n%s", back.status, back.body, c.status, g.logs)
			}
			if made := b.cookie() != ""; made != (c.status == 303) {
				t.Errorf("a session: %v", made)
			}
			if c.status != 303 && (!strings.Contains(back.body, "<h1>") || !strings.Contains(back.body, "trace-1") || strings.Contains(back.body, "script")) {
				t.Errorf("the page does not say what happened: %s", back.body)
			}
		})
	}
}

// TestKeyRotation: a login after the provider changed its key works, and so does
// one after a discovery that was somebody else's (oidcc-client-test-signing-key-rotation).
func TestKeyRotation(t *testing.T) {
	p, _, b := start(t, options{})
	b.login(p, "/x", "alice")
	p.set(func(p *provider) {
		p.key, p.kid = newKey(), "k2"
		p.keys[0].KeyID, p.keys[0].Key = "k2", p.key.Public()
	})
	p.clock.advance(11 * time.Second) // callers cause one fetch in ten seconds
	newBrowser(t, b.gateway).login(p, "/y", "carol")
}

// TestIssuerMismatch: discovery of another issuer is nobody's (E17).
func TestIssuerMismatch(t *testing.T) {
	p := newProvider(t, &clock{})
	p.set(func(p *provider) { p.discovery["issuer"] = "https://other.test" })
	b := newBrowser(t, newGateway(t, p, options{}))
	if got := b.get("/.vaultspan/login"); got.status != 503 || !strings.Contains(got.body, "Signing in does not work at the moment") {
		t.Errorf("login: %d %s; want a page that says it does not work", got.status, got.body)
	}
}

// TestUserinfo: what the ID token leaves out comes from userinfo, where the
// operator says so, and only of the same subject (E21).
func TestUserinfo(t *testing.T) {
	for _, c := range []struct {
		name   string
		info   map[string]any
		status int
		groups string
	}{
		{"more groups", map[string]any{"sub": "alice", "groups": []string{"from-userinfo"}}, 303, "[from-userinfo]"},
		{"nothing that only an ID token may say", map[string]any{"sub": "alice", "groups": []string{"x"}, "azp": "other", "exp": 1}, 303, "[x]"},
		{"E21 another subject", map[string]any{"sub": "mallory", "groups": []string{"admin"}}, 502, ""},
		{"E21 no subject", map[string]any{"groups": []string{"admin"}}, 502, ""},
		{"E21 a subject in another case too", map[string]any{"sub": "alice", "SUB": "mallory"}, 502, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _, b := start(t, options{login: authn.Login{Userinfo: true}})
			p.set(func(p *provider) { p.userinfo, p.claims["groups"] = c.info, nil })
			if back := b.finish(p, b.begin("/x"), "alice"); back.status != c.status {
				t.Errorf("%d %s, want %d", back.status, back.body, c.status)
			}
			if got := b.get("/x"); c.status == 303 && !strings.Contains(got.body, c.groups) {
				t.Errorf("%q, want %s", got.body, c.groups)
			}
		})
	}
}
