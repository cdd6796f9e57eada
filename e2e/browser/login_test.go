package browser_test

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/vaultspan/vaultspan/e2e/dex"
)

// At each provider: a deep link ends on that page, and from then on nobody is
// asked again.
func TestSignIn(t *testing.T) {
	w := open(t)
	deep := w.at("gw.test", "/app/page/7?x=1&y=%C3%A4")
	for name, signIn := range map[string]func(b tab){
		"the embedded provider": func(b tab) { b.signsIn(deep, "Acme staff", "alice") },
		"dex": func(b tab) {
			b.goes(deep)
			b.chooses("Partners")
			b.atDex("alice@example.com")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := w.browser(t)
			signIn(b)
			b.ends(deep)
			b.do(chromedp.Reload())
			b.ends(deep)
			second := b.another()
			second.goes(w.at("gw.test", "/app/another"))
			second.ends(w.at("gw.test", "/app/another"))
			b.hasOneSession()
			b.goes(w.at("gw.test", "/.vaultspan/whoami"))
			b.until("whoami", func(s sight) bool {
				return strings.Contains(s.Text, `"method":"session"`) && strings.Contains(s.Text, `"roles":["reader"]`)
			})
		})
	}
}

// atDex fills in its form.
func (b tab) atDex(email string) {
	b.t.Helper()
	b.do(chromedp.SendKeys("#login", email), chromedp.SendKeys("#password", dex.Password), chromedp.Click(`//button[@id="submit-login"]`))
}

// hasOneSession: one cookie, for one host, that scripts cannot read.
func (b tab) hasOneSession() {
	b.t.Helper()
	var found []*network.Cookie
	for _, c := range b.cookies() {
		if c.Name == "__Host-vaultspan" {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		b.t.Fatalf("%d session cookies, want 1", len(found))
	}
	c := found[0]
	if c.Domain != "gw.test" || c.Path != "/" || !c.HTTPOnly || !c.Secure || c.SameSite != network.CookieSameSiteLax {
		b.t.Errorf("the session cookie is of domain %s, path %s, http only %v, secure %v, same site %s", c.Domain, c.Path, c.HTTPOnly, c.Secure, c.SameSite)
	}
	if text := result(b, chromedp.Evaluate[string](`document.cookie`)); strings.Contains(text, "vaultspan") {
		b.t.Errorf("a script reads %s", text)
	}
}

// Two tabs wait at the provider; whichever is finished first and last, each ends
// where it was going, and there is one session (E26).
func TestTwoTabsSignInOnce(t *testing.T) {
	w := open(t)
	b := w.browser(t)
	first, second := w.at("gw.test", "/app/first"), w.at("gw.test", "/app/second")
	b.goes(first)
	b.chooses("Acme staff")
	b.shows("Who are you?")
	other := b.another()
	other.goes(second)
	other.chooses("Acme staff")
	other.shows("Who are you?")
	other.clicks(`button[value="alice"]`)
	other.ends(second)
	b.clicks(`button[value="alice"]`)
	b.ends(first)
	b.hasOneSession()
	if n := strings.Count(b.runs("sessions", "list", "--json"), `"id"`); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

// Each host that people sign in on has its own callback and its own session.
func TestHostsAreApart(t *testing.T) {
	w := open(t)
	b := w.browser(t)
	b.signsIn(w.at("wiki.gw.test", "/page"), "Acme staff", "alice")
	b.ends(w.at("wiki.gw.test", "/page"))
	b.goes(w.at("gw.test", "/app/"))
	b.shows("Sign in")
}

// A browser without scripts signs in and out.
func TestNoScriptIsNeeded(t *testing.T) {
	w := open(t)
	b := w.browser(t)
	b.noScript()
	b.signsIn(w.at("gw.test", "/app/quiet"), "Acme staff", "alice")
	b.ends(w.at("gw.test", "/app/quiet"))
	b.goes(w.at("gw.test", "/.vaultspan/logout"))
	b.clicks("button")
	b.shows("You are signed out")
}
