package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/session"
)

// api asks as a program does, and returns the status.
func (b *browser) api(path string) int {
	b.t.Helper()
	return b.do("GET", path, nil, http.Header{"Accept": {"application/json"}}).status
}

// fields are the browser's cookies as another node sees them.
func (b *browser) fields() []string { return []string{"__Host-vaultspan=" + b.cookie()} }

// TestLifetimes: a session ends when nobody used it for idle, and at absolute in
// any case.
func TestLifetimes(t *testing.T) {
	p, _, b := start(t, options{config: session.Config{Idle: 10 * time.Minute, Absolute: time.Hour}})
	b.login(p, "/x", "alice")
	for range 6 {
		p.clock.advance(9*time.Minute + 50*time.Second)
		b.reads("/x", "alice")
	}
	p.clock.advance(time.Minute + time.Second)
	b.out("/x") // an hour
	b.login(p, "/x", "alice")
	p.clock.advance(10 * time.Minute)
	b.out("/x")
	if got := b.api("/x"); got != 401 {
		t.Errorf("a program with a session that is over: %d, want 401", got)
	}
}

// TestWithoutRefreshToken: a session is not longer than what the issuer vouched
// for.
func TestWithoutRefreshToken(t *testing.T) {
	p, _, b := start(t, options{})
	p.set(func(p *provider) { p.answer["refresh_token"] = nil })
	b.login(p, "/x", "alice")
	p.clock.advance(9 * time.Minute)
	b.reads("/x", "alice")
	p.clock.advance(time.Minute)
	b.out("/x")
}

// TestOneRefresh: fifty requests at once on two nodes, when a refresh is due, cause
// one and all succeed (E33).
func TestOneRefresh(t *testing.T) {
	p, g, b := start(t, options{})
	b.login(p, "/x", "alice")
	nodes := []*session.Manager{g.Manager, g.another(t)}
	for round := range 3 { // each uses the refresh token that the one before gave
		p.clock.advance(5 * time.Minute)
		var wait sync.WaitGroup
		for i := range 50 {
			wait.Go(func() {
				if _, identity, err := nodes[i%2].Identify(context.Background(), b.fields()); err != nil || identity.Subject != "alice" {
					t.Errorf("%v %v", identity, err)
				}
			})
		}
		wait.Wait()
		if n := p.count("refresh_token"); n != round+1 {
			t.Fatalf("%d refreshes, want %d", n, round+1)
		}
	}
}

// TestGroupsAreReadAgain: who loses a group loses it at the next refresh (E31), and
// when a back-channel logout is lost, that is the bound (FI10).
func TestGroupsAreReadAgain(t *testing.T) {
	p, _, b := start(t, options{})
	b.login(p, "/x", "alice")
	p.set(func(p *provider) { p.claims["groups"] = []string{"none"} })
	if got := b.get("/x"); !strings.Contains(got.body, "[dev]") {
		t.Errorf("before the refresh: %q", got.body)
	}
	p.clock.advance(5 * time.Minute)
	if got := b.get("/x"); !strings.Contains(got.body, "[none]") {
		t.Errorf("after it: %q", got.body)
	}
	p.set(func(p *provider) { p.answer["id_token"] = nil }) // which a provider may leave out
	p.clock.advance(5 * time.Minute)
	if got := b.get("/x"); !strings.Contains(got.body, "[none]") {
		t.Errorf("after a refresh without an ID token: %d %q", got.status, got.body)
	}
}

// TestRefusedRefresh: a provider that does not go on with a login ends its session
// at once (FI09), and so does one that goes on with somebody else's.
func TestRefusedRefresh(t *testing.T) {
	for name, spoil := range map[string]func(*provider){
		"FI09 invalid_grant": func(p *provider) { clear(p.refresh) },
		"another subject":    func(p *provider) { p.claims["sub"] = "mallory" },
		"another nonce":      func(p *provider) { p.claims["nonce"] = "another" },
		"another audience":   func(p *provider) { p.claims["aud"] = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			p, g, b := start(t, options{})
			b.login(p, "/x", "alice")
			p.clock.advance(5 * time.Minute)
			p.set(spoil)
			if got := b.api("/x"); got != 401 {
				t.Errorf("%d, want 401", got)
			}
			b.out("/x")
			if n := p.count("refresh_token"); n != 1 {
				t.Errorf("asked %d times, want once", n)
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			if last := g.changes[len(g.changes)-1]; last.Why != session.WhyRefused {
				t.Errorf("the last change: %+v", last)
			}
		})
	}
}

// TestProviderDown: while it cannot be asked a session lives until the tokens it
// gave expire, and then is 401; when it answers again the session goes on (FI02,
// FI08). It is not asked at every request.
func TestProviderDown(t *testing.T) {
	p, _, b := start(t, options{})
	b.login(p, "/x", "alice")
	down := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", 500) }
	p.set(func(p *provider) { p.fault = down })
	p.clock.advance(5 * time.Minute)
	for range 5 {
		b.reads("/x", "alice")
	}
	if n := p.count("refresh_token"); n != 1 {
		t.Errorf("asked %d times, want once in half a minute", n)
	}
	p.clock.advance(5 * time.Minute) // exp
	if got := b.api("/x"); got != 401 {
		t.Errorf("after the tokens expired: %d, want 401", got)
	}
	login := b.get(b.get("/x").location())
	if login.status != 303 { // discovery is known; the page comes after the callback
		t.Errorf("login: %d", login.status)
	}
	p.set(func(p *provider) { p.fault = nil })
	p.clock.advance(30 * time.Second)
	b.reads("/x", "alice")
}

// crashing is a store that a process dies in front of: the write after a refresh
// never comes.
type crashing struct {
	session.Store
	on func() bool
}

func (c crashing) Replace(ctx context.Context, r session.Record) (bool, error) {
	if c.on() {
		return false, errors.New("gone")
	}
	return c.Store.Replace(ctx, r)
}

// TestCrashDuringRefresh: a process that dies between using a refresh token and
// writing down the next one leaves a session that goes on where the provider takes
// the old token once more, and that ends cleanly where it does not.
func TestCrashDuringRefresh(t *testing.T) {
	for name, grace := range map[string]bool{"with a grace period": true, "without one": false} {
		t.Run(name, func(t *testing.T) {
			crashed := false
			p, g, b := start(t, options{store: crashing{openStore(t), func() bool { return crashed }}})
			b.login(p, "/x", "alice")
			p.set(func(p *provider) {
				for token := range p.refresh {
					p.grace[token] = grace
				}
			})
			p.clock.advance(5 * time.Minute)
			crashed = true
			if got := b.api("/x"); got != 503 {
				t.Fatalf("the node that dies: %d", got)
			}
			crashed = false
			next := g.another(t)
			if _, identity, err := next.Identify(t.Context(), b.fields()); err != nil || identity.Subject != "alice" {
				t.Errorf("while the lease stands, what the issuer said last counts: %v", err)
			}
			p.clock.advance(15 * time.Second)
			_, identity, err := next.Identify(t.Context(), b.fields())
			if refusal, _ := err.(*authn.Error); grace && (err != nil || identity.Subject != "alice") || !grace && (refusal == nil || refusal.Reason != authn.Revoked) {
				t.Errorf("afterwards: %v %v", identity, err)
			}
			if n := p.count("refresh_token"); n != 2 {
				t.Errorf("%d refreshes, want the lost one and one more", n)
			}
		})
	}
}

// TestRevocationReachesOtherNodes: within two seconds (F14); on the node that
// revokes, at once.
func TestRevocationReachesOtherNodes(t *testing.T) {
	p, g, b := start(t, options{})
	b.login(p, "/x", "alice")
	other := g.another(t)
	id, _, err := other.Identify(t.Context(), b.fields())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := g.Revoke(t.Context(), session.Filter{Issuer: "corp", Subject: "alice"}); err != nil || n != 1 {
		t.Fatalf("revoked %d: %v", n, err)
	}
	if got := b.api("/x"); got != 401 {
		t.Errorf("here: %d, want 401 at once", got)
	}
	p.clock.advance(2 * time.Second)
	_, err = other.Recheck(t.Context(), id)
	if refusal, _ := err.(*authn.Error); refusal == nil || refusal.Reason != authn.Revoked {
		t.Errorf("there, two seconds later: %v", err)
	}
}

// TestCookies: what a browser may send in place of a session.
func TestCookies(t *testing.T) {
	p, g, b := start(t, options{})
	b.login(p, "/x", "alice")
	good := b.cookie()
	other := newBrowser(t, g)
	ask := func(fields ...string) int {
		return other.do("GET", "/x", nil, http.Header{"Cookie": fields, "Accept": {"application/json"}}).status
	}
	if got := ask("a=b; __Host-vaultspan=" + good + "; c=d"); got != 200 {
		t.Errorf("the cookie among others: %d", got)
	}
	for i := range good { // F04
		if got := ask("__Host-vaultspan=" + good[:i]); got != 401 {
			t.Errorf("cut to %d: %d, want 401", i, got)
		}
	}
	for _, c := range []struct {
		id, name string
		fields   []string
		want     int
	}{
		{"F07", "not base64", []string{"__Host-vaultspan=%%%"}, 401},
		{"F07", "empty", []string{"__Host-vaultspan="}, 401},
		{"F07", "without =", []string{"__Host-vaultspan"}, 401},
		{"F07", "one byte", []string{"__Host-vaultspan=x"}, 401},
		{"F07", "64 KB", []string{"__Host-vaultspan=" + strings.Repeat("x", 60<<10)}, 401},
		{"F07", "longer", []string{"__Host-vaultspan=" + good + "A"}, 401},
		{"F07", "padded", []string{"__Host-vaultspan=" + good + "="}, 401},
		{"F07", "quoted", []string{`__Host-vaultspan="` + good + `"`}, 401},
		{"", "of another deployment", []string{"__Host-vaultspan=" + strings.Repeat("A", 43)}, 401},
		{"", "stray bits at the end", []string{"__Host-vaultspan=" + good[:42] + string(good[42]+1)}, 401},
		{"", "two", []string{"__Host-vaultspan=" + good + "; __Host-vaultspan=" + strings.Repeat("A", 43)}, 400},
		{"", "twice the same", []string{"__Host-vaultspan=" + good + "; __Host-vaultspan=" + good}, 400},
		{"", "two in two fields", []string{"__Host-vaultspan=" + good, "__Host-vaultspan=" + good}, 400},
		{"", "two, one in another case", []string{"__Host-vaultspan=" + good + "; __host-Vaultspan=" + good}, 400},
		{"", "none", nil, 401},
	} {
		if got := ask(c.fields...); got != c.want {
			t.Errorf("%s %s: %d, want %d", c.id, c.name, got, c.want)
		}
	}
	set := b.finish(p, func() url.Values {
		u, _ := url.Parse(b.get("/.vaultspan/login").location())
		return u.Query()
	}(), "alice").header["Set-Cookie"]
	found := false
	for _, c := range set {
		if strings.HasPrefix(c, "__Host-vaultspan=") {
			found = true
			for _, want := range []string{"; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
				if !strings.Contains(c, want) {
					t.Errorf("%q lacks %q", c, want)
				}
			}
			if strings.Contains(c, "Domain") || strings.Contains(c, "Max-Age") {
				t.Errorf("%q is for more than this host and this browser's session", c)
			}
		}
		if len(c) > 4096 {
			t.Errorf("a cookie of %d bytes", len(c))
		}
	}
	if !found {
		t.Errorf("no cookie was set: %q", set)
	}
}

// TestManyGroups: a person with 300 groups has the same small cookie (F10).
func TestManyGroups(t *testing.T) {
	p, _, b := start(t, options{})
	p.set(func(p *provider) {
		var groups []string
		for range 300 {
			groups = append(groups, strings.Repeat("g", 100))
		}
		p.claims["groups"] = groups
	})
	b.login(p, "/x", "alice")
	if n := len(b.cookie()); n > 64 {
		t.Errorf("a cookie of %d bytes", n)
	}
}

// TestKeyIsReplaced: sessions of the key before live as long as it is kept (F05).
func TestKeyIsReplaced(t *testing.T) {
	p, g, b := start(t, options{})
	b.login(p, "/x", "alice")
	with := func(keys string) error {
		setup := g.setup
		setup.Config.Key = secret(keys)
		m, err := session.New(setup)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = m.Identify(t.Context(), b.fields())
		return err
	}
	next := strings.Repeat("ab", 32)
	if err := with(next + "\n" + testKey); err != nil {
		t.Errorf("with the old key kept: %v", err)
	}
	if err := with(next); err == nil {
		t.Error("with the old key taken away: still a session")
	}
}

// TestNothingLeaks: neither logs, listings nor pages show a session's id or a
// token (F17, F19).
func TestNothingLeaks(t *testing.T) {
	p, g, b := start(t, options{})
	b.login(p, "/x", "alice")
	p.clock.advance(5 * time.Minute)
	b.reads("/x", "alice")
	listed, err := g.List(t.Context(), session.Filter{})
	if err != nil || len(listed) != 1 {
		t.Fatal(listed, err)
	}
	text, _ := json.Marshal(listed)
	secrets := []string{b.cookie(), "web-secret"}
	p.set(func(p *provider) {
		for token := range p.refresh {
			secrets = append(secrets, token)
		}
	})
	id, _, _ := g.Identify(t.Context(), b.fields())
	secrets = append(secrets, id)
	everywhere := g.logs.String() + string(text) + b.get("/.vaultspan/logout").body + b.get("/x").body
	for _, s := range secrets {
		if s == "" || strings.Contains(everywhere, s) {
			t.Errorf("%q is shown", s)
		}
	}
	if n, err := g.Revoke(t.Context(), session.Filter{Handle: listed[0].ID}); err != nil || n != 1 {
		t.Errorf("revoked by its listed id: %d %v", n, err)
	}
	if _, err := g.Revoke(t.Context(), session.Filter{}); err == nil {
		t.Error("an empty filter revoked everybody")
	}
}

// believed is how long a node takes an answer of the store for true.
const believed = 2 * time.Second
