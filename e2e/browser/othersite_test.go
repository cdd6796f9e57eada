package browser_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

// Pages of somebody else, on another site and on a neighbouring host of the same
// site, whose cookies go along, do nothing in the name of whoever looks at them.
func TestOtherSites(t *testing.T) {
	w := open(t)
	page := w.at("gw.test", "/app/page")
	b := w.browser(t)
	b.signsIn(page, "Acme staff", "alice")
	b.ends(page)
	for _, host := range []string{"evil.test", "evil.gw.test"} {
		t.Run(host, func(t *testing.T) {
			b := b.another()
			b.t = t
			evil := "https://" + host + ":" + w.other + "/?to=" + url.QueryEscape(w.at("gw.test", "/app/delete"))
			b.goes(evil)
			b.shows("elsewhere")
			b.clicks("button")
			// A cookie that came along is not enough; one that did not is not either.
			b.shows(map[string]string{"evil.test": "You are not signed in", "evil.gw.test": "Nothing was done"}[host])

			b.goes(evil)
			b.shows("elsewhere")
			tried := result(b, chromedp.Evaluate[string](`(async () => {
				const target = `+quote(w.at("gw.test", ""))+`;
				const tried = {};
				for (const [name, options] of Object.entries({
					simple: {method: "POST", mode: "no-cors", credentials: "include", body: "x"},
					json: {method: "PUT", credentials: "include", body: "{}", headers: {"Content-Type": "application/json"}},
					read: {credentials: "include"},
				})) {
					tried[name] = await fetch(target + "/app/" + name, options).then(r => r.type + " " + r.status, e => "failed");
				}
				tried.socket = await new Promise(done => {
					const s = new WebSocket(target.replace("https", "wss") + "/app/ws");
					s.onopen = () => done("open"); s.onerror = () => done("failed");
				});
				tried.frame = await new Promise(done => {
					const f = document.createElement("iframe");
					f.src = target + "/.vaultspan/logout"; f.onload = () => { try { done(f.contentDocument ? "readable" : "opaque") } catch { done("opaque") } };
					document.body.append(f);
				});
				const image = new Image();
				await new Promise(done => { image.onload = image.onerror = done; image.src = target + "/.vaultspan/logout"; });
				return JSON.stringify(tried);
			})()`, chromedp.EvalAwaitPromise))
			if want := `{"simple":"opaque 0","json":"failed","read":"failed","socket":"failed","frame":"opaque"}`; tried != want {
				t.Errorf("a page of %s got\n%s, want\n%s", host, tried, want)
			}
		})
	}
	for _, method := range []string{"POST", "PUT", "OPTIONS"} {
		if n := w.site.requests(method); n != 0 {
			t.Errorf("the site received %d %s requests, want none", n, method)
		}
	}
	if n := w.site.sockets(); n != 0 {
		t.Errorf("the site received %d WebSockets, want none", n)
	}
	b.do(chromedp.Reload())
	b.ends(page) // nobody was logged out
}

// A page of the application itself may.
func TestTheSameOriginMay(t *testing.T) {
	w := open(t)
	b := w.browser(t)
	b.signsIn(w.at("gw.test", "/app/page"), "Acme staff", "alice")
	b.ends(w.at("gw.test", "/app/page"))
	status := result(b, chromedp.Evaluate[int](`fetch("/app/save", {method: "POST", body: "x"}).then(r => r.status)`, chromedp.EvalAwaitPromise))
	if status != 200 || w.site.requests("POST") != 1 {
		t.Errorf("POST answers %d and %d arrived, want 200 and 1", status, w.site.requests("POST"))
	}
}

func quote(s string) string { return `"` + s + `"` }
