package browser_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// pages are how a person comes to each page, of ours and of the provider's.
var pages = []struct {
	name, heading string
	visit         func(b tab)
}{
	{"chooser", "Sign in", func(b tab) { b.goes(b.w.at("gw.test", "/app/page")) }},
	{"provider", "Who are you?", func(b tab) { b.goes(b.w.at("gw.test", "/app/page")); b.chooses("Acme staff") }},
	{"denied", "You have no access to this", func(b tab) { b.signsIn(b.w.at("gw.test", "/app/page"), "Acme staff", "mallory") }},
	{"sign out", "Sign out", func(b tab) { b.goes(b.w.at("gw.test", "/.vaultspan/logout")) }},
	{"signed out", "You are signed out", func(b tab) { b.goes(b.w.at("gw.test", "/.vaultspan/signed-out")) }},
	{"unfinished", "This sign-in cannot be finished", func(b tab) { b.goes(b.w.at("gw.test", "/.vaultspan/callback?code=x&state=y")) }},
	{"provider down", "Signing in does not work at the moment", func(b tab) { b.goes(b.w.at("gw.test", "/app/page")); b.chooses("Closed") }},
	{"elsewhere", "Nobody signs in here", func(b tab) { b.goes(b.w.at("api.gw.test", "/.vaultspan/login")) }},
	{"account", "Alice Ames", func(b tab) { b.goes(b.w.corp.Issuer() + "/account?person=alice") }},
}

// Every page, at the width of a desktop and of a phone, in light and in dark,
// passes the accessibility checker, fits, and loads nothing from elsewhere.
func TestPagesAreAccessible(t *testing.T) {
	checker := axe(t)
	w := open(t)
	for _, p := range pages {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			b := w.browser(t)
			p.visit(b)
			b.shows(p.heading)
			if !result(b, chromedp.Evaluate[bool](`document.styleSheets.length == 1 && document.styleSheets[0].cssRules.length > 0`)) {
				t.Error("the page has no style")
			}
			result(b, chromedp.Evaluate[bool](checker+"; true"))
			for _, width := range []int64{1280, 360} {
				for _, scheme := range []string{"light", "dark"} {
					call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
					b.do(chromedp.EmulateViewport(width, 720))
					b.pictured(p.name, width, scheme)
					if found := result(b, chromedp.Evaluate[string](check, chromedp.EvalAwaitPromise)); found != "" {
						t.Errorf("at %d pixels, %s: %s", width, scheme, found)
					}
					if over := result(b, chromedp.Evaluate[int](`document.documentElement.scrollWidth - innerWidth`)); over > 0 {
						t.Errorf("at %d pixels the page is %d too wide", width, over)
					}
				}
			}
		})
	}
}

// pictured takes a picture, for people to look at.
func (b tab) pictured(name string, width int64, scheme string) {
	b.t.Helper()
	if *shots == "" {
		return
	}
	size := map[int64]string{1280: "desktop", 360: "phone"}[width]
	picture := result(b, chromedp.CaptureScreenshot())
	if err := os.WriteFile(filepath.Join(*shots, name+"-"+size+"-"+scheme+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// axe is the script of the checker.
func axe(t *testing.T) string {
	t.Helper()
	bench.Packages(t, "node")
	source, err := os.ReadFile("node/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// check runs the checker, with all of its rules, and says what it found.
const check = `axe.run(document, {resultTypes: ["violations"]}).then(r =>
	r.passes.length < 5 ? "only " + r.passes.length + " rules applied: was the page there?" :
	r.violations.map(v => v.id + ": " + v.help + " at " + v.nodes.map(n => n.target + " " + n.html).join(", ")).join("\n"))`

// Somebody without a mouse signs in, is denied, and signs out.
func TestKeyboard(t *testing.T) {
	w := open(t)
	b := w.browser(t)
	page := w.at("gw.test", "/app/page")
	b.goes(page)
	b.shows("Sign in")
	b.presses("Acme staff")
	b.shows("Who are you?")
	b.presses("Alice Ames")
	b.ends(page)
	b.goes(w.at("gw.test", "/.vaultspan/logout"))
	b.shows("Sign out")
	b.presses("Sign out")
	b.shows("You are signed out")
	b.presses("Sign in again")
	b.shows("Sign in")
}

// presses goes to what has this text with the tab key, sees that the focus can be
// seen, and presses return.
func (b tab) presses(text string) {
	b.t.Helper()
	for range 12 {
		b.do(chromedp.KeyEvent(kb.Tab))
		if !result(b, chromedp.Evaluate[bool](`document.activeElement.innerText.startsWith(`+quote(text)+`)`)) {
			continue
		}
		if result(b, chromedp.Evaluate[string](`getComputedStyle(document.activeElement).outlineStyle`)) == "none" {
			b.t.Errorf("%q has the focus, and nobody sees it", text)
		}
		b.do(chromedp.KeyEvent(kb.Enter))
		return
	}
	b.t.Fatalf("the tab key does not lead to %q", text)
}
