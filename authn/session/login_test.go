package session_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/session"
)

func start(t *testing.T, o options) (*provider, *gateway, *browser) {
	t.Helper()
	p := newProvider(t, &clock{})
	g := newGateway(t, p, o)
	return p, g, newBrowser(t, g)
}

// TestLogin: a deep link ends on that page, and to load it again needs no login.
func TestLogin(t *testing.T) {
	p, g, b := start(t, options{})
	b.login(p, "/wiki/page?q=a%20b&u=https://x//y", "alice")
	b.reads("/wiki/other", "alice")
	if n := p.count("authorization_code"); n != 1 {
		t.Errorf("%d codes redeemed, want 1", n)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.changes) != 1 || g.changes[0].Subject != "alice" || g.changes[0].Why != "" {
		t.Errorf("changes %+v; want one that began", g.changes)
	}
}

// TestAuthorizationRequest: PKCE is S256 always, state and nonce are 256 bits and
// of one login only, also where the provider ignores all of it (E06). Every
// redirect is a 303 (E15).
func TestAuthorizationRequest(t *testing.T) {
	p, _, b := start(t, options{})
	p.set(func(p *provider) { p.discovery["code_challenge_methods_supported"] = []string{"plain"} })
	seen := map[string]bool{}
	for range 3 {
		asked := b.begin("/x")
		if asked.Get("code_challenge_method") != "S256" || asked.Get("response_type") != "code" || asked.Get("scope") != "openid profile email" || asked.Get("client_id") != "web" {
			t.Errorf("asked %v", asked)
		}
		if want := b.gateway.url + "/.vaultspan/callback"; asked.Get("redirect_uri") != want {
			t.Errorf("redirect_uri %q, want %q: of the configuration, not of Host", asked.Get("redirect_uri"), want)
		}
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			v := asked.Get(name)
			if raw, err := base64.RawURLEncoding.DecodeString(v); err != nil || len(raw) != 32 || seen[v] {
				t.Errorf("%s %q: want 256 bits, and new ones", name, v)
			}
			seen[v] = true
		}
	}
	if back := b.finish(p, b.begin("/x"), "alice"); back.status != http.StatusSeeOther {
		t.Errorf("the callback answers %d, want 303", back.status)
	}
	p.set(func(p *provider) {
		if v := p.forms[0].Get("code_verifier"); len(v) < 43 {
			t.Errorf("code_verifier %q: want it sent whatever the provider says of PKCE", v)
		}
	})
}

// TestReturn: a login leads back to a canonical path of the same host, whatever
// the link says (E12).
func TestReturn(t *testing.T) {
	p, _, _ := start(t, options{})
	g := newGateway(t, p, options{})
	for _, c := range []struct{ to, want string }{
		{"/wiki/a?b=c", "/wiki/a?b=c"},
		{"/a%20b/%C3%A4?x=//y", "/a%20b/%C3%A4?x=//y"},
		{"/?" + strings.Repeat("&", 1490), "/?" + strings.Repeat("&", 1490)},
		{"https://evil", "/"}, {"//evil", "/"}, {`/\evil`, "/"}, {"/%09/evil", "/"}, {"/\t/evil", "/"}, {"https:evil", "/"},
		{"javascript:alert(1)", "/"}, {"data:x", "/"}, {"https://app.gw.test.evil", "/"}, {"https://app.gw.test@evil", "/"},
		{"https://evil%2f.app.gw.test", "/"}, {"/.//evil", "/"}, {`\\evil`, "/"}, {"http://app.gw.test", "/"},
		{"", "/"}, {"/x/../y", "/"}, {"/x/%2e%2e/y", "/"}, {"/%2fevil", "/"}, {"/%5cevil", "/"}, {"/a\r\nSet-Cookie: x=y", "/"},
		{"/.vaultspan/logout", "/"}, {"/.vaultspan", "/"}, {"/%2evaultspan/logout", "/"}, {"/.vault%73pan", "/"}, {"/x#y", "/"}, {"/" + strings.Repeat("x", 3000), "/"}, {"/%zz", "/"},
	} {
		b := newBrowser(t, g)
		at := b.get("/.vaultspan/login?" + url.Values{"return": {c.to}}.Encode())
		for _, field := range at.header["Set-Cookie"] {
			if len(field) > 4096 {
				t.Errorf("return=%.20q… makes a cookie of %d bytes, which browsers drop", c.to, len(field))
			}
		}
		u, err := url.Parse(at.location())
		if err != nil {
			t.Fatal(err)
		}
		if back := b.finish(p, u.Query(), "alice"); back.status != 303 || back.location() != c.want {
			t.Errorf("return=%q ends at %q (%d), want %q", c.to, back.location(), back.status, c.want)
		}
	}
}

// TestForeignAnswers: an authorization response that this browser did not ask
// for, or that is not whole, makes no session.
func TestForeignAnswers(t *testing.T) {
	for _, c := range []struct {
		id, name string
		status   int
		answer   func(t *testing.T, p *provider, g *gateway, b *browser) page
	}{
		{"E03", "the attacker's code and state in the victim's browser", 400, func(t *testing.T, p *provider, g *gateway, b *browser) page {
			attacker := newBrowser(t, g)
			return b.finish(p, attacker.begin("/x"), "mallory")
		}},
		{"E04", "the same answer twice", 400, func(t *testing.T, p *provider, g *gateway, b *browser) page {
			other := newBrowser(t, g)
			asked := other.begin("/x")
			at := "/.vaultspan/callback?" + url.Values{"state": {asked.Get("state")}, "code": {p.code(asked, "alice")}}.Encode()
			if first := other.get(at); first.status != 303 {
				t.Fatalf("the first: %d", first.status)
			}
			return other.get(at)
		}},
		{"E04", "the same answer twice, from a browser that forgets nothing, at a provider that takes a code twice", 400, func(t *testing.T, p *provider, g *gateway, b *browser) page {
			other := newBrowser(t, g)
			asked := other.begin("/x")
			u, _ := url.Parse(g.url)
			var kept []string
			for _, c := range other.client.Jar.Cookies(u) {
				kept = append(kept, c.Name+"="+c.Value)
			}
			code := p.code(asked, "alice")
			p.mu.Lock()
			again := p.codes[code]
			p.mu.Unlock()
			at := "/.vaultspan/callback?" + url.Values{"state": {asked.Get("state")}, "code": {code}}.Encode()
			if first := other.get(at); first.status != 303 {
				t.Fatalf("the first: %d", first.status)
			}
			p.set(func(p *provider) { p.codes[code] = again })
			return b.do("GET", at, nil, http.Header{"Cookie": {strings.Join(kept, "; ")}})
		}},
		{"", "no state", 400, func(t *testing.T, p *provider, _ *gateway, b *browser) page {
			return b.get("/.vaultspan/callback?code=" + p.code(b.begin("/x"), "alice"))
		}},
		{"", "two states", 400, func(t *testing.T, p *provider, _ *gateway, b *browser) page {
			asked := b.begin("/x")
			return b.get("/.vaultspan/callback?state=" + asked.Get("state") + "&state=x&code=" + p.code(asked, "alice"))
		}},
		{"", "ten minutes late", 400, func(t *testing.T, p *provider, _ *gateway, b *browser) page {
			asked := b.begin("/x")
			p.clock.advance(10 * time.Minute)
			return b.finish(p, asked, "alice")
		}},
		{"", "a code that the provider does not know", 400, func(t *testing.T, p *provider, _ *gateway, b *browser) page {
			return b.get("/.vaultspan/callback?code=x&state=" + b.begin("/x").Get("state"))
		}},
		{"", "no code", 502, func(t *testing.T, p *provider, _ *gateway, b *browser) page {
			return b.get("/.vaultspan/callback?state=" + b.begin("/x").Get("state"))
		}},
		{"E10", "an error with a script in it", 403, func(t *testing.T, p *provider, _ *gateway, b *browser) page {
			return b.get("/.vaultspan/callback?" + url.Values{
				"state": {b.begin("/x").Get("state")}, "error": {"access_denied"}, "error_description": {"<script>alert(1)</script>\nforged line"},
			}.Encode())
		}},
		{"E10", "an error that is made up", 502, func(t *testing.T, p *provider, _ *gateway, b *browser) page {
			return b.get("/.vaultspan/callback?" + url.Values{"state": {b.begin("/x").Get("state")}, "error": {"<script>alert(1)</script>\nforged line"}}.Encode())
		}},
		{"RFC 9207", "iss of another provider", 502, func(t *testing.T, p *provider, _ *gateway, b *browser) page {
			asked := b.begin("/x")
			return b.get("/.vaultspan/callback?" + url.Values{"state": {asked.Get("state")}, "code": {p.code(asked, "alice")}, "iss": {"https://evil.test"}}.Encode())
		}},
		{"E38", "a login inside a frame", 403, func(t *testing.T, p *provider, _ *gateway, b *browser) page {
			return b.do("GET", "/.vaultspan/login", nil, http.Header{"Sec-Fetch-Dest": {"iframe"}})
		}},
	} {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			p, g, b := start(t, options{})
			got := c.answer(t, p, g, b)
			if got.status != c.status || got.header.Get("Location") != "" {
				t.Errorf("%d to %q, want %d\n%s", got.status, got.location(), c.status, g.logs)
			}
			for _, set := range got.header["Set-Cookie"] {
				if strings.HasPrefix(set, "__Host-vaultspan=") {
					t.Errorf("a session was made: %s", set)
				}
			}
			csp := got.header.Get("Content-Security-Policy")
			if !strings.HasPrefix(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(got.body, "script") {
				t.Errorf("CSP %q, page %s", csp, got.body)
			}
			for line := range strings.Lines(g.logs.String()) {
				if strings.HasPrefix(line, "forged") {
					t.Errorf("a line of the log was forged: %q", line)
				}
			}
			b.out("/x")
		})
	}
}

// TestIssIsRequiredWhenPromised: RFC 9207 section 2.4.
func TestIssIsRequiredWhenPromised(t *testing.T) {
	p := newProvider(t, &clock{})
	p.set(func(p *provider) { p.discovery["authorization_response_iss_parameter_supported"] = true })
	b := newBrowser(t, newGateway(t, p, options{}))
	if back := b.finish(p, b.begin("/x"), "alice"); back.status != 502 {
		t.Errorf("an answer without iss: %d, want 502", back.status)
	}
	asked := b.begin("/x")
	back := b.get("/.vaultspan/callback?" + url.Values{"state": {asked.Get("state")}, "code": {p.code(asked, "alice")}, "iss": {p.url}}.Encode())
	if back.status != 303 {
		t.Errorf("an answer with iss: %d, want 303", back.status)
	}
}

// TestTwoTabs: two logins at once both end on their own page, in either order,
// with one session (E26).
func TestTwoTabs(t *testing.T) {
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		p, _, b := start(t, options{})
		tabs := []string{"/tab/0", "/tab/1"}
		asked := []url.Values{b.begin(tabs[0]), b.begin(tabs[1])}
		for _, i := range order {
			if back := b.finish(p, asked[i], "alice"); back.status != 303 || back.location() != tabs[i] {
				t.Errorf("tab %d ends at %q (%d)", i, back.location(), back.status)
			}
		}
		if n := p.count("authorization_code"); n != 1 {
			t.Errorf("%d sessions were made, want 1", n)
		}
		b.reads(tabs[0], "alice")
	}
}

// TestManyTabs: ten tabs of a browser that comes back are no circle, and no heap
// of cookies.
func TestManyTabs(t *testing.T) {
	p, _, b := start(t, options{})
	var asked []url.Values
	for i := range 10 {
		asked = append(asked, b.begin("/tab/"+strconv.Itoa(i)))
	}
	u, _ := url.Parse(b.gateway.url)
	if n := len(b.client.Jar.Cookies(u)); n > 8 {
		t.Errorf("%d cookies, want at most 8 logins", n)
	}
	var wait sync.WaitGroup
	for _, a := range asked[2:] {
		wait.Go(func() { b.finish(p, a, "alice") })
	}
	wait.Wait()
	b.reads("/tab/9", "alice")
}

// TestFixation: a login makes a new id and the one before is dead; one that was
// planted never lives (F12).
func TestFixation(t *testing.T) {
	p, g, b := start(t, options{})
	planted := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	u, _ := url.Parse(g.url)
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "__Host-vaultspan", Value: planted, Path: "/", Secure: true}})
	b.login(p, "/x", "alice")
	first := b.cookie()
	if first == planted {
		t.Fatal("the planted id was taken")
	}
	u2, _ := url.Parse(b.get("/.vaultspan/login").location()) // again, on purpose
	p.clock.advance(time.Second)
	if back := b.finish(p, u2.Query(), "carol"); back.status != 303 {
		t.Fatalf("the second login: %d", back.status)
	}
	b.reads("/x", "carol")
	for _, old := range []string{planted, first} {
		other := newBrowser(t, g)
		if got := other.do("GET", "/x", nil, http.Header{"Cookie": {"__Host-vaultspan=" + old}, "Accept": {"application/json"}}); got.status != 401 {
			t.Errorf("an id from before the login: %d, want 401", got.status)
		}
	}
}

// TestCircle: after three logins in a minute for one page that lead nowhere there
// is a page that says so, never a fourth.
func TestCircle(t *testing.T) {
	p, g, b := start(t, options{})
	lose := func() { // a browser that keeps no session cookie
		u, _ := url.Parse(g.url)
		b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "__Host-vaultspan", Path: "/", Secure: true, MaxAge: -1}})
	}
	for range 3 {
		if back := b.finish(p, b.begin("/x"), "alice"); back.status != 303 {
			t.Fatalf("login: %d", back.status)
		}
		lose()
	}
	at := b.get(b.get("/x").location())
	if at.status != 400 || !strings.Contains(at.body, "cookies") {
		t.Errorf("the fourth: %d to %q %s; want a page", at.status, at.location(), at.body)
	}
	b.begin("/another") // is another page
	p.clock.advance(61 * time.Second)
	b.login(p, "/x", "alice")
}

// TestChooser: several issuers are a choice, plain links, and each logs in.
func TestChooser(t *testing.T) {
	c := &clock{}
	p, other := newProvider(t, c), newProvider(t, c)
	g := newGateway(t, p, options{login: authn.Login{Title: "Corp & Co"}, more: []authn.IssuerConfig{
		{Name: "partner", URL: other.url, Audience: "vaultspan", Login: authn.Login{ClientID: "web", ClientSecret: secret("web-secret")}},
		{Name: "ci", URL: "https://ci.test", Audience: "vaultspan"},
	}})
	b := newBrowser(t, g)
	page := b.get(b.get("/deep?x=1").location())
	if page.status != 200 || !strings.Contains(page.body, "Corp &amp; Co") || !strings.Contains(page.body, ">partner</a>") || strings.Contains(page.body, ">ci<") {
		t.Fatalf("the chooser: %d %s", page.status, page.body)
	}
	at, _ := url.Parse(b.get("/.vaultspan/login?issuer=partner&return=%2Fdeep%3Fx%3D1").location())
	if !strings.HasPrefix(at.String(), other.url) {
		t.Fatalf("partner leads to %s", at)
	}
	if back := b.finish(other, at.Query(), "alice"); back.location() != "/deep?x=1" {
		t.Errorf("ends at %q %s", back.location(), g.logs)
	}
	if got := b.get("/deep"); !strings.HasPrefix(got.body, "alice of partner") {
		t.Errorf("who: %q", got.body)
	}
	// the code of one issuer under the state of a login at the other
	fresh := newBrowser(t, g)
	corp, _ := url.Parse(fresh.get("/.vaultspan/login?issuer=corp").location())
	if back := fresh.finish(other, corp.Query(), "mallory"); back.status == 303 {
		t.Error("another issuer's code was redeemed")
	}
}

// TestProviderGivesUp: a provider that gives up is a page that says so; loading it
// again goes on with the same login (FI07).
func TestProviderGivesUp(t *testing.T) {
	p, _, b := start(t, options{})
	asked := b.begin("/x")
	at := "/.vaultspan/callback?" + url.Values{"state": {asked.Get("state")}, "code": {p.code(asked, "alice")}}.Encode()
	p.set(func(p *provider) {
		p.fault = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusGatewayTimeout) }
	})
	if got := b.get(at); got.status != 503 || !strings.Contains(got.body, `href="/.vaultspan/login?return=%2Fx"`) {
		t.Fatalf("%d %s; want a page that leads back", got.status, got.body)
	}
	p.set(func(p *provider) { p.fault = nil })
	if got := b.get(at); got.status != 303 || got.location() != "/x" {
		t.Errorf("again: %d to %q", got.status, got.location())
	}
}

// TestRedirectURIs: what to register, by configuration alone.
func TestRedirectURIs(t *testing.T) {
	public, _ := url.Parse("https://gw.example.com:8443")
	callbacks, signedOut := session.RedirectURIs(public, []string{"wiki.example.com"}, "corp", true)
	if strings.Join(callbacks, " ") != "https://gw.example.com:8443/.vaultspan/callback https://wiki.example.com:8443/.vaultspan/callback" ||
		strings.Join(signedOut, " ") != "https://gw.example.com:8443/.vaultspan/signed-out https://wiki.example.com:8443/.vaultspan/signed-out" {
		t.Errorf("%v %v", callbacks, signedOut)
	}
	if callbacks, _ = session.RedirectURIs(public, nil, "corp", false); strings.Join(callbacks, " ") != "https://gw.example.com:8443/.vaultspan/callback/corp" {
		t.Errorf("of one of several: %v", callbacks)
	}
}
