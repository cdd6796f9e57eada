package session_test

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/session"
)

// stepUp begins a login as a route demands it.
func (b *browser) stepUp(query string) url.Values {
	b.t.Helper()
	at := b.get("/.vaultspan/login?" + query)
	u, err := url.Parse(at.location())
	if err != nil || at.status != 303 || u.Path != "/authorize" {
		b.t.Fatalf("the login leads to %d %q %s", at.status, at.location(), at.body)
	}
	return u.Query()
}

// proof is what a session says of its login by now.
func (b *browser) proof() (time.Time, string) {
	b.t.Helper()
	_, id, err := b.gateway.Identify(b.t.Context(), b.fields())
	if err != nil {
		b.t.Fatal(err)
	}
	return id.AuthTime, id.ACR
}

// TestStepUp: the provider is asked for what the route demands, and what it
// answers is looked at, not believed (E37; OpenID Connect Core section 3.1.3.7,
// 12 and 13).
func TestStepUp(t *testing.T) {
	const demand = "max_age=900&acr_values=urn%3Amfa+urn%3Akey&return=%2Fpay"
	p, g, b := start(t, options{})
	b.login(p, "/x", "alice")
	before := b.cookie()
	for _, c := range []struct {
		name   string
		claims map[string]any
		why    string
	}{
		{"neither", nil, "no auth_time"},
		{"no acr", map[string]any{"auth_time": p.clock.now().Unix()}, "no acr"},
		{"another acr", map[string]any{"auth_time": p.clock.now().Unix(), "acr": "urn:pwd"}, "acr is none"},
		{"the login of before", map[string]any{"auth_time": p.clock.now().Add(-16 * time.Minute).Unix(), "acr": "urn:mfa"}, "longer ago"},
		{"a login to come", map[string]any{"auth_time": p.clock.now().Add(time.Hour).Unix(), "acr": "urn:mfa"}, "no auth_time"},
	} {
		asked := b.stepUp(demand)
		if asked.Get("max_age") != "900" || asked.Get("acr_values") != "urn:mfa urn:key" || asked.Has("prompt") {
			t.Fatalf("asked %v", asked)
		}
		p.set(func(p *provider) { p.claims = c.claims })
		if c.claims == nil {
			p.set(func(p *provider) { p.claims = map[string]any{} })
		}
		back := b.finish(p, asked, "alice")
		if back.status != 403 || back.location() != "" || !strings.Contains(back.body, "sign in another way") ||
			!strings.Contains(back.body, "/.vaultspan/login?acr_values=urn%3Amfa&#43;urn%3Akey&amp;max_age=900&amp;return=%2Fpay") {
			t.Errorf("%s: %d to %q %s", c.name, back.status, back.location(), back.body)
		}
		if !strings.Contains(g.logs.String(), c.why) {
			t.Errorf("%s: the log does not say %q", c.name, c.why)
		}
	}
	if b.cookie() != before {
		t.Error("a login that was not enough made a session")
	}
	b.reads("/x", "alice") // what was good stays good
	when := p.clock.now().Add(-time.Minute).Truncate(time.Second)
	p.set(func(p *provider) { p.claims = map[string]any{"auth_time": when.Unix(), "acr": "urn:key"} })
	if back := b.finish(p, b.stepUp(demand), "alice"); back.status != 303 || back.location() != "/pay" {
		t.Fatalf("%d to %q %s", back.status, back.location(), g.logs)
	}
	if at, acr := b.proof(); !at.Equal(when) || acr != "urn:key" {
		t.Errorf("%v %q, want %v", at, acr, when)
	}
}

// TestStepUpInTwoTabs: the session of another tab spares a login only if it is as
// good as this one would be.
func TestStepUpInTwoTabs(t *testing.T) {
	p, _, b := start(t, options{})
	plain, strong := b.begin("/x"), b.stepUp("acr_values=urn%3Amfa&return=%2Fpay")
	if back := b.finish(p, plain, "alice"); back.location() != "/x" {
		t.Fatal(back)
	}
	p.set(func(p *provider) { p.claims["acr"] = "urn:mfa" })
	if back := b.finish(p, strong, "alice"); back.location() != "/pay" {
		t.Fatalf("%d to %q", back.status, back.location())
	}
	if _, acr := b.proof(); acr != "urn:mfa" {
		t.Errorf("acr %q", acr)
	}
}

// TestStepUpNeverCircles: three logins for a page that is never content, and then
// a page that says so (E37).
func TestStepUpNeverCircles(t *testing.T) {
	p, _, b := start(t, options{})
	p.set(func(p *provider) { p.claims["acr"] = "urn:mfa" })
	const demand = "acr_values=urn%3Amfa&return=%2Fpay"
	for range 3 {
		p.clock.advance(time.Second)
		if back := b.finish(p, b.stepUp(demand), "alice"); back.location() != "/pay" {
			t.Fatalf("%d to %q", back.status, back.location())
		}
	}
	if at := b.get("/.vaultspan/login?" + demand); at.status != 400 || at.location() != "" {
		t.Errorf("the fourth: %d to %q", at.status, at.location())
	}
}

// TestOddDemand: a link that demands what no route could is a page.
func TestOddDemand(t *testing.T) {
	_, _, b := start(t, options{})
	for _, query := range []string{"max_age=0", "max_age=1", "max_age=x", "acr_values=", "acr_values=%22%3E%3Cscript%3E", "acr_values=a&acr_values=b", "max_age=60&max_age=900"} {
		if at := b.get("/.vaultspan/login?" + query); at.status != 400 || at.location() != "" || strings.Contains(at.body, "script") {
			t.Errorf("%s: %d to %q %s", query, at.status, at.location(), at.body)
		}
	}
}

// TestChooserKeepsTheDemand: whoever chooses an issuer still signs in as
// demanded.
func TestChooserKeepsTheDemand(t *testing.T) {
	c := &clock{}
	p, other := newProvider(t, c), newProvider(t, c)
	b := newBrowser(t, newGateway(t, p, options{more: []authn.IssuerConfig{
		{Name: "partner", URL: other.url, Audience: "vaultspan", Login: authn.Login{ClientID: "web", ClientSecret: secret("web-secret")}},
	}}))
	page := b.get("/.vaultspan/login?max_age=900&return=%2Fpay")
	if !strings.Contains(page.body, `href="/.vaultspan/login?issuer=partner&amp;max_age=900&amp;return=%2Fpay"`) {
		t.Errorf("%d %s", page.status, page.body)
	}
}

// TestARefreshIsNoSignIn: a refresh does not make a login younger, whatever the
// provider says (OpenID Connect Core section 12.2).
func TestARefreshIsNoSignIn(t *testing.T) {
	for _, c := range []struct {
		name  string
		claim any
		acr   any
		want  string
	}{
		{"says nothing", nil, nil, "urn:mfa"}, {"says now", 0, nil, "urn:mfa"}, {"says less", nil, "urn:pwd", "urn:pwd"},
	} {
		p, _, b := start(t, options{config: session.Config{Refresh: time.Minute}})
		when := p.clock.now().Truncate(time.Second)
		p.set(func(p *provider) { p.claims["auth_time"], p.claims["acr"] = when.Unix(), "urn:mfa" })
		b.login(p, "/x", "alice")
		p.clock.advance(2 * time.Minute)
		p.set(func(p *provider) {
			p.claims["auth_time"], p.claims["acr"] = nil, c.acr
			if c.claim != nil {
				p.claims["auth_time"] = p.clock.now().Unix()
			}
		})
		b.reads("/x", "alice")
		if n := p.count("refresh_token"); n != 1 {
			t.Fatalf("%s: %d refreshes", c.name, n)
		}
		if at, acr := b.proof(); !at.Equal(when) || acr != c.want {
			t.Errorf("%s: %v %q, want %v %q", c.name, at, acr, when, c.want)
		}
	}
}

// TestDataOfTheVersionBefore: a session that was kept before there was an
// auth_time in it goes on, and counts for nothing where one is demanded (FS09).
func TestDataOfTheVersionBefore(t *testing.T) {
	p, g, _ := start(t, options{})
	now := p.clock.now()
	for version, want := range map[int]authn.Reason{1: "", 0: authn.Invalid, 2: authn.Invalid} {
		r := session.Record{
			Key: session.Key{byte(version)}, Handle: fmt.Sprint("h", version), Issuer: "corp", Subject: "alice", Created: now, Used: now, Ends: now.Add(time.Hour), Version: 1,
		}
		r = session.SealTextForTest(g.Manager, r, fmt.Appendf(nil, `{"v":%d,"kind":"human","groups":["dev"],"issuer":"corp","subject":"alice","nonce":"n","until":%q,"id_token":"x"}`,
			version, now.Add(time.Hour).Format(time.RFC3339)))
		if err := g.store.Add(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		id, err := g.Recheck(t.Context(), hex.EncodeToString(r.Key[:]))
		if want != "" {
			if refusal, ok := err.(*authn.Error); !ok || refusal.Reason != want {
				t.Errorf("version %d: %v", version, err)
			}
			continue
		}
		if err != nil || id.Subject != "alice" || len(id.Groups) != 1 {
			t.Fatalf("%+v %v", id, err)
		}
		if (authn.Demand{MaxAge: time.Hour}).Met(id, now) || (authn.Demand{ACR: []string{"urn:mfa"}}).Met(id, now) {
			t.Errorf("%+v counts as proven", id)
		}
	}
}
