package browser_test

import (
	"encoding/json"
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
		"an operator revokes it": {staff, func(tab, tab) {
			var all []struct{ ID, Subject string }
			if err := json.Unmarshal([]byte(w.vaultspan("sessions", "list", "--json")), &all); err != nil || len(all) == 0 {
				t.Fatalf("sessions list: %v", err)
			}
			for _, one := range all {
				w.vaultspan("sessions", "revoke", "--id", one.ID)
			}
		}},
		"what the issuer vouched for expires": {func(b tab) { b.signsIn(page, "Visitors", "alice") }, func(tab, tab) {}},
	} {
		t.Run(name, func(t *testing.T) {
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

