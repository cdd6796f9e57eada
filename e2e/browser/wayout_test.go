package browser_test

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// listens opens an EventSource and a WebSocket, as an application does.
func (b tab) listens() {
	b.t.Helper()
	had := b.w.site.sockets()
	result(b, chromedp.Evaluate[bool](`(() => {
		window.heard = 0; window.lost = false;
		window.events = new EventSource("/app/events");
		events.onmessage = () => heard++;
		window.socket = new WebSocket(location.origin.replace("https", "wss") + "/app/ws");
		socket.onclose = () => lost = true;
		return true;
	})()`))
	ok := eventually(func() bool {
		return result(b, chromedp.Evaluate[bool](`heard > 0 && socket.readyState == 1`)) && b.w.site.sockets() > had
	})
	if !ok {
		b.t.Fatalf("the streams do not open: %v", result(b, chromedp.Evaluate[string](`JSON.stringify([heard, events.readyState, socket.readyState])`)))
	}
}

// lost waits until both streams have ended, for good: an EventSource that is
// refused with 401 does not come back.
func (b tab) lost() {
	b.t.Helper()
	if !eventually(func() bool { return result(b, chromedp.Evaluate[bool](`events.readyState == 2 && lost`)) }) {
		b.t.Fatalf("the streams go on: %v", result(b, chromedp.Evaluate[string](`JSON.stringify([events.readyState, socket.readyState])`)))
	}
}

// Each way out ends the session, and the streams that a page in another tab has
// open; whoever comes back has to sign in.
func TestEveryWayOut(t *testing.T) {
	w := open(t)
	page := w.at("gw.test", "/app/page")
	staff := func(b tab) { b.signsIn(page, "Acme staff", "alice") }
	partner := func(b tab) {
		b.goes(page)
		b.chooses("Partners")
		b.atDex("alice@example.com")
	}
	for name, way := range map[string]struct {
		in  func(b tab)
		out func(b, other tab)
	}{
		"sign out here, and with it at the embedded provider": {staff, func(_, other tab) {
			other.goes(w.at("gw.test", "/.vaultspan/logout"))
			other.clicks("button")
			other.shows("You are signed out")
			other.ends(w.at("gw.test", "/.vaultspan/signed-out"))
		}},
		"sign out here, and with it at Dex": {partner, func(_, other tab) {
			other.goes(w.at("gw.test", "/.vaultspan/logout"))
			other.clicks("button")
			other.ends(w.at("gw.test", "/.vaultspan/signed-out"))
		}},
		"sign out at Dex, which tells the gateway over the back channel": {partner, func(_, other tab) {
			other.goes(w.dex.Issuer() + "/logout")
			other.clicks(`button[type="submit"]`)
			other.until("Logged Out", func(s sight) bool { return contains(s.Text, "successfully logged out") })
		}},
		"an operator revokes it": {func(b tab) { b.signsIn(page, "Acme staff", "carol") }, func(b, _ tab) {
			if said := b.runs("sessions", "revoke", "--issuer", "corp", "--subject", "carol"); said != "1 session ended\n" {
				b.t.Errorf("sessions revoke says %q", said)
			}
		}},
		"what the issuer vouched for expires": {func(b tab) { b.signsIn(page, "Visitors", "alice") }, func(tab, tab) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is to wait
			b := w.browser(t)
			way.in(b)
			b.ends(page)
			b.listens()
			way.out(b, b.another())
			b.lost()
			b.do(chromedp.Reload())
			b.shows("Sign in")
		})
	}
}

// Somebody who signs out everywhere at the embedded provider is out here, in
// every browser.
func TestSignOutEverywhere(t *testing.T) {
	w := open(t)
	page := w.at("gw.test", "/app/page")
	office, home := w.browser(t), w.browser(t)
	for _, b := range []tab{office, home} {
		b.signsIn(page, "Acme staff", "alice")
		b.ends(page)
		b.listens()
	}
	account := home.another()
	account.goes(w.corp.Issuer() + "/account?person=alice")
	account.clicks(`button[value="sign-out"]`)
	account.until("that it is done", func(s sight) bool { return contains(s.Text, "Signed out everywhere.") })
	for _, b := range []tab{office, home} {
		b.lost()
		b.do(chromedp.Reload())
		b.shows("Sign in")
	}
}
