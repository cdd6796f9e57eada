package session_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn/session"
)

// TestALoginEndsTheSessionOfAnOldKey: a session that began under the key before is
// replaced by a login like any other.
func TestALoginEndsTheSessionOfAnOldKey(t *testing.T) {
	p, g, b := start(t, options{})
	b.login(p, "/x", "alice")
	old := b.fields()
	g.setup.Config.Key = secret(strings.Repeat("ab", 32) + "\n" + testKey)
	var err error
	if g.Manager, err = session.New(g.setup); err != nil {
		t.Fatal(err)
	}
	b.reads("/x", "alice")
	at, err := url.Parse(b.get("/.vaultspan/login").location())
	if err != nil {
		t.Fatal(err)
	}
	p.clock.advance(time.Second)
	if back := b.finish(p, at.Query(), "alice"); back.status != 303 {
		t.Fatalf("the login: %d %s", back.status, back.body)
	}
	b.reads("/x", "alice")
	if _, _, err := g.Identify(t.Context(), old); err == nil {
		t.Error("the session before the login lives on")
	}
}

// TestNoNonceRepeats: what is sealed is sealed with a key of its own, derived from
// a random id, so that two of them would have to agree in id and nonce. 10,000 logins
// and as many notes on them share no key, and so no nonce under one (F16).
func TestNoNonceRepeats(t *testing.T) {
	seen := map[[2]string]bool{}
	for _, sealed := range session.ManySealed(t, 10_000) {
		if len(sealed.ID) < 16 || seen[[2]string{sealed.What, string(sealed.ID)}] {
			t.Fatalf("%s: a key of %d bytes of id is used twice or guessed", sealed.What, len(sealed.ID))
		}
		seen[[2]string{sealed.What, string(sealed.ID)}] = true
	}
}

// TestSealedThingsStayInTheirPlace: a login under way, a note on logins, and a
// session cannot stand for one another, nor for those of another state.
func TestSealedThingsStayInTheirPlace(t *testing.T) {
	p, g, b := start(t, options{})
	b.login(p, "/x", "alice")
	asked := b.again("/y")
	u, _ := url.Parse(g.url)
	values := map[string]string{}
	flow := ""
	for _, c := range b.client.Jar.Cookies(u) {
		values[c.Name] = c.Value
		if strings.HasPrefix(c.Name, "__Host-vaultspan-login-") {
			flow = c.Name
		}
	}
	if flow == "" || values["__Host-vaultspan-rounds"] == "" {
		t.Fatalf("cookies %v", values)
	}
	for name, value := range map[string]string{"a note on logins": values["__Host-vaultspan-rounds"], "a session": values["__Host-vaultspan"], "nothing": "", "text": "x"} {
		other := newBrowser(t, g)
		other.client.Jar.SetCookies(u, []*http.Cookie{{Name: flow, Value: value, Path: "/", Secure: true}})
		if back := other.finish(p, asked, "alice"); back.status != 400 || other.cookie() != "" {
			t.Errorf("%s in place of a login under way: %d", name, back.status)
		}
	}
	for _, name := range []string{"__Host-vaultspan", "__Host-vaultspan-rounds"} {
		other := newBrowser(t, g)
		other.client.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: values[flow], Path: "/", Secure: true}})
		if name == "__Host-vaultspan" {
			other.out("/x")
		}
		other.begin("/x") // a note that is none is no reason to refuse
	}
}

// again begins a login in a browser that has a session.
func (b *browser) again(path string) url.Values {
	b.t.Helper()
	at, err := url.Parse(b.get("/.vaultspan/login?" + url.Values{"return": {path}}.Encode()).location())
	if err != nil || at.Path != "/authorize" {
		b.t.Fatalf("the login leads to %s: %v", at, err)
	}
	return at.Query()
}
