package session_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/session"
)

// TestLogout: the page's own form ends the session, here and at the provider
// (OpenID Connect RP-Initiated Logout); nothing else does (E29).
func TestLogout(t *testing.T) {
	p, g, b := start(t, options{})
	b.login(p, "/x", "alice")
	if got := b.get("/.vaultspan/logout"); got.status != 200 || !strings.Contains(got.body, `<form method="post" action="/.vaultspan/logout">`) {
		t.Errorf("the page: %d %s", got.status, got.body)
	}
	b.reads("/x", "alice")
	for name, header := range map[string]http.Header{
		"cross-site":       {"Sec-Fetch-Site": {"cross-site"}},
		"same-site":        {"Sec-Fetch-Site": {"same-site"}},
		"of another":       {"Origin": {"https://evil.test"}},
		"without a origin": {"Origin": {"null"}},
	} {
		if got := b.do("POST", "/.vaultspan/logout", url.Values{}, header); got.status != 403 {
			t.Errorf("E29 %s: %d, want 403", name, got.status)
		}
	}
	b.reads("/x", "alice")
	stolen := b.fields()
	got := b.do("POST", "/.vaultspan/logout", url.Values{}, http.Header{"Origin": {g.url}, "Sec-Fetch-Site": {"same-origin"}})
	to, err := url.Parse(got.location())
	if err != nil || got.status != 303 || !strings.HasPrefix(got.location(), p.url+"/end?") {
		t.Fatalf("%d to %q; want on to the provider", got.status, got.location())
	}
	if q := to.Query(); q.Get("post_logout_redirect_uri") != g.url+"/.vaultspan/signed-out" || q.Get("client_id") != "web" || strings.Count(q.Get("id_token_hint"), ".") != 2 {
		t.Errorf("asked %v", q)
	}
	if b.cookie() != "" {
		t.Error("the cookie is still there")
	}
	if _, _, err := g.Identify(t.Context(), stolen); err == nil {
		t.Error("a copy of the cookie still is a session")
	}
	if got := b.get("/.vaultspan/signed-out"); got.status != 200 || !strings.Contains(got.body, "signed out") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := b.do("POST", "/.vaultspan/logout", url.Values{}, nil); got.status != 303 || got.location() != "/.vaultspan/signed-out" {
		t.Errorf("once more: %d to %q", got.status, got.location())
	}
}

// TestLoggingOutAndInIsNoLoop: whoever does that often is not told that signing
// in does not work.
func TestLoggingOutAndInIsNoLoop(t *testing.T) {
	p, _, b := start(t, options{})
	for range 5 {
		b.login(p, "/x", "alice")
		b.do("POST", "/.vaultspan/logout", url.Values{}, nil)
	}
}

// TestLogoutWithoutEndSession: a provider that offers no logout of its own.
func TestLogoutWithoutEndSession(t *testing.T) {
	p := newProvider(t, &clock{})
	p.set(func(p *provider) { p.discovery["end_session_endpoint"] = nil })
	b := newBrowser(t, newGateway(t, p, options{}))
	b.login(p, "/x", "alice")
	if got := b.do("POST", "/.vaultspan/logout", url.Values{}, nil); got.status != 303 || got.location() != "/.vaultspan/signed-out" {
		t.Errorf("%d to %q", got.status, got.location())
	}
	b.out("/x")
}

// TestBackChannelLogout: a good logout token ends the sessions it names, on every
// node; each bad one is 400 and ends none (E30; OpenID Connect Back-Channel Logout
// 1.0 section 2.6).
func TestBackChannelLogout(t *testing.T) {
	for _, c := range []struct {
		name            string
		changes, header map[string]any
		status          int
		out             bool // alice's session ended
	}{
		{"good, by sub", nil, nil, 200, true},
		{"good, by sid", map[string]any{"sub": nil, "sid": "sid-alice"}, nil, 200, true},
		{"good, by both", map[string]any{"sid": "sid-alice"}, nil, 200, true},
		{"good, of another session of hers", map[string]any{"sid": "sid-other"}, nil, 200, false},
		{"good, of somebody else", map[string]any{"sub": "carol"}, nil, 200, false},
		{"with nonce", map[string]any{"nonce": "x"}, nil, 400, false},
		{"typ of an ID token", nil, map[string]any{"typ": "JWT"}, 400, false},
		{"typ absent", nil, map[string]any{"typ": nil}, 400, false},
		{"no events", map[string]any{"events": nil}, nil, 400, false},
		{"another event", map[string]any{"events": map[string]any{"x": map[string]any{}}}, nil, 400, false},
		{"events that is not an object", map[string]any{"events": "http://schemas.openid.net/event/backchannel-logout"}, nil, 400, false},
		{"an event that is not an object", map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": true}}, nil, 400, false},
		{"wrong aud", map[string]any{"aud": "other"}, nil, 400, false},
		{"wrong iss", map[string]any{"iss": "https://evil.test"}, nil, 400, false},
		{"iat ten minutes ago", map[string]any{"iat": time.Now().Add(-10 * time.Minute).Unix()}, nil, 400, false},
		{"iat in ten minutes", map[string]any{"iat": time.Now().Add(10 * time.Minute).Unix()}, nil, 400, false},
		{"no iat", map[string]any{"iat": nil}, nil, 400, false},
		{"expired", map[string]any{"exp": time.Now().Add(-2 * time.Minute).Unix()}, nil, 400, false},
		{"no exp", map[string]any{"exp": nil}, nil, 400, false},
		{"no jti", map[string]any{"jti": nil}, nil, 400, false},
		{"neither sub nor sid", map[string]any{"sub": nil}, nil, 400, false},
		{"an empty sub", map[string]any{"sub": ""}, nil, 400, false},
		{"HS256", nil, map[string]any{"alg": "HS256"}, 400, false},
		{"none", nil, map[string]any{"alg": "none"}, 400, false},
		{"an unknown kid", nil, map[string]any{"kid": "k9"}, 400, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, g, b := start(t, options{})
			b.login(p, "/x", "alice")
			form := url.Values{"logout_token": {p.logoutToken(c.changes, c.header)}}
			provider := newBrowser(t, g)
			got := provider.do("POST", "/.vaultspan/backchannel-logout", form, nil)
			if got.status != c.status || got.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %s, Cache-Control %q; want %d\n%s", got.status, got.body, got.header.Get("Cache-Control"), c.status, g.logs)
			}
			if c.out {
				b.out("/x")
			} else {
				b.reads("/x", "alice")
			}
			if again := provider.do("POST", "/.vaultspan/backchannel-logout", form, nil); again.status != 400 {
				t.Errorf("the same again: %d, want 400", again.status)
			}
		})
	}
}

// TestBackChannelForms: what is not one logout token.
func TestBackChannelForms(t *testing.T) {
	p, g, b := start(t, options{login: authn.Login{LogoutTokenTypes: []string{"logout+jwt", "JWT", "none"}}})
	b.login(p, "/x", "alice")
	good := p.logoutToken(nil, nil)
	for _, form := range []url.Values{{}, {"logout_token": {""}}, {"logout_token": {good, good}}, {"logout_token": {"x.y.z"}}} {
		if got := b.do("POST", "/.vaultspan/backchannel-logout", form, nil); got.status != 400 {
			t.Errorf("%v: %d, want 400", form, got.status)
		}
	}
	if got := b.get("/.vaultspan/backchannel-logout?logout_token=" + good); got.status != 405 {
		t.Errorf("GET: %d, want 405", got.status)
	}
	b.reads("/x", "alice")
	// an ID token, where the operator has to accept typ JWT
	id := p.mint(map[string]any{"iss": p.url, "sub": "alice", "aud": "web", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "jti": "1"})
	if got := b.do("POST", "/.vaultspan/backchannel-logout", url.Values{"logout_token": {id}}, nil); got.status != 400 {
		t.Errorf("an ID token: %d, want 400", got.status)
	}
	b.reads("/x", "alice")
	if got := b.do("POST", "/.vaultspan/backchannel-logout", url.Values{"logout_token": {p.logoutToken(nil, map[string]any{"typ": nil})}}, nil); got.status != 200 {
		t.Errorf("typ none, where it is configured: %d %s", got.status, g.logs)
	}
	b.out("/x")
}

// TestPages: every page has the headers that keep it ours, and what the theme
// says.
func TestPages(t *testing.T) {
	_, _, b := start(t, options{config: session.Config{Theme: session.Theme{Name: "Acme <Gate>", Colour: "#112233"}}})
	for _, path := range []string{"/.vaultspan/logout", "/.vaultspan/signed-out", "/.vaultspan/callback?state=x"} {
		got := b.get(path)
		h := got.header
		if !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; style-src 'self'") || h.Get("Cache-Control") != "no-store" ||
			h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, h)
		}
		if !strings.Contains(got.body, "Acme &lt;Gate&gt;") || !strings.Contains(got.body, `<html lang="en">`) || strings.Contains(got.body, "<script") {
			t.Errorf("%s: %s", path, got.body)
		}
	}
	if css := b.get("/.vaultspan/style.css"); !strings.Contains(css.body, "#112233") || css.header.Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("style: %v", css.header)
	}
	if got := b.get("/.vaultspan/none"); got.status != 404 {
		t.Errorf("an unknown page: %d", got.status)
	}
}
