package proxy_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/vaultspan/vaultspan/proxy"
)

const app = "https://app.example.com"

// shared is the CORS of a route for the scripts of app.
var shared = proxy.CORS{
	Origins: []string{app, "https://dev.example.com:8443"}, Headers: []string{"Authorization", "Content-Type"}, Expose: []string{"X-Request-Id"},
	MaxAge: 10 * time.Minute,
}

// share serves the same routes, with CORS on one.
func (b *bench) share(t *testing.T, name string, c proxy.CORS) {
	t.Helper()
	i := slices.IndexFunc(b.settings.Routes, func(r proxy.Route) bool { return r.Name == name })
	b.settings.Routes[i].CORS = c
	b.settings.Routes[i].Check(func(path, problem string) { t.Errorf("%s: %s", path, problem) })
	if err := b.gateway.Swap(b.settings); err != nil {
		t.Fatal(err)
	}
}

// asking makes a request a preflight.
func asking(origin string) func(*http.Request) {
	return sending("Origin", origin, "Access-Control-Request-Method", "DELETE", "Access-Control-Request-Headers", "authorization")
}

// granted are the header fields of CORS on a response.
func granted(h http.Header) map[string]string {
	all := map[string]string{}
	for name, values := range h {
		if rest, ok := strings.CutPrefix(name, "Access-Control-"); ok {
			all[rest] = strings.Join(values, "|")
		}
	}
	return all
}

// A36: a route says which scripts it is for, and a preflight of theirs needs no
// credential and reaches nobody.
func TestAPreflightIsAnsweredByTheGateway(t *testing.T) {
	b := newBench(t)
	b.share(t, "R2", shared) // takes POST alone: OPTIONS need not be listed
	res, body := b.do(t, "OPTIONS", "https://pay.gw.test/x?y=1", "", asking(app))
	want := map[string]string{"Allow-Origin": app, "Allow-Methods": "POST", "Allow-Headers": "Authorization, Content-Type", "Max-Age": "600", "Expose-Headers": "X-Request-Id"}
	if got := granted(res.Header); res.StatusCode != 204 || body != "" || !equal(got, want) || res.Header.Get("Vary") != "Origin" || res.Header.Get("X-Request-Id") == "" {
		t.Errorf("%d %v %q", res.StatusCode, res.Header, body)
	}
	if res, _ := b.do(t, "OPTIONS", "https://pay.gw.test/x", "", asking("https://dev.example.com:8443")); res.Header.Get("Access-Control-Allow-Origin") != "https://dev.example.com:8443" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	// Private Network Access: a public page does not learn that it may reach in here.
	if res, _ := b.do(t, "OPTIONS", "https://pay.gw.test/x", "", asking(app), sending("Access-Control-Request-Private-Network", "true")); res.Header.Get("Access-Control-Allow-Private-Network") != "" {
		t.Errorf("private network access is conceded: %v", res.Header)
	}
	res, body = b.do(t, "OPTIONS", "https://pay.gw.test/x", "") // no preflight without an origin
	refused(t, res, body, 405, "method-not-allowed")
	res, body = b.do(t, "OPTIONS", "https://app.gw.test/x", "", asking(app)) // another route
	refused(t, res, body, 401, "no-credentials")
	if got := granted(res.Header); len(got) > 0 || res.Header.Get("Vary") != "" {
		t.Errorf("a route without cors says %v", res.Header)
	}
	if n := len(b.u1.requests()) + len(b.u2.requests()); n != 0 {
		t.Errorf("%d requests reached an upstream", n)
	}
}

func equal(a, b map[string]string) bool {
	for name := range b {
		if a[name] != b[name] {
			return false
		}
	}
	return len(a) == len(b)
}

// A36: what is not that origin, byte for byte and once, is another one.
func TestOnlyTheOriginItselfIsTheOrigin(t *testing.T) {
	b := newBench(t)
	b.share(t, "R1", shared)
	alice := b.token(t, "alice")
	for _, origins := range [][]string{
		{"null"}, {""}, {"*"}, {app + "/"}, {app + ":443"}, {app + "."}, {"https://APP.example.com"}, {"HTTPS://app.example.com"}, {"http://app.example.com"},
		{"https://evil.test"}, {app + ".evil.test"}, {"https://evilapp.example.com"}, {"https://x.app.example.com"}, {"https://example.com"},
		{"https://dev.example.com"}, {"https://dev.example.com:8444"}, {"https://user@app.example.com"}, {app + "," + app}, {app + " https://evil.test"},
		{app, app}, {app, "https://evil.test"}, {"https://evil.test", app},
	} {
		from := func(r *http.Request) { r.Header["Origin"] = origins }
		res, body := b.do(t, "OPTIONS", "https://app.gw.test/x", "", asking(app), from)
		refused(t, res, body, 403, "origin-denied")
		if len(granted(res.Header)) > 0 || res.Header.Get("Vary") != "Origin" {
			t.Errorf("a preflight from %q: %v", origins, res.Header)
		}
		// A request that needs no preflight is the browser's to send; its script reads nothing.
		res, _ = b.do(t, "GET", "https://app.gw.test/x", alice, from)
		if res.StatusCode != 200 || len(granted(res.Header)) > 0 || res.Header.Get("Vary") != "Origin" {
			t.Errorf("a request from %q: %d %v", origins, res.StatusCode, res.Header)
		}
	}
}

// A36: an upstream cannot open a route to more scripts than its operator did.
func TestWhatTheUpstreamSaysOfCORSDoesNotCount(t *testing.T) {
	b := newBench(t)
	b.share(t, "R1", shared)
	b.u1.handler = func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Link", "</style.css>")
		h.Set("Access-Control-Allow-Origin", "*")
		w.WriteHeader(http.StatusEarlyHints)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Allow-Private-Network", "true")
		h.Set("access-control-expose-headers", "*")
		h["Vary"] = r.Header["X-Vary"]
		w.WriteHeader(http.StatusOK)
	}
	alice := b.token(t, "alice")
	for _, c := range []struct{ vary, origin, want string }{
		{"Accept", app, "Accept, Origin"},
		{"Accept, origin", app, "Accept, origin"},
		{"*", app, "*"},
		{"Origin-Agent", "", "Origin-Agent, Origin"},
		{"", "https://evil.test", "Origin"},
	} {
		hints := make(chan http.Header, 1)
		res, _ := b.do(t, "GET", "https://app.gw.test/x", alice, func(r *http.Request) {
			if *r = *withHints(r, hints); c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			if c.vary != "" {
				r.Header.Set("X-Vary", c.vary)
			}
		})
		want := map[string]string{}
		if c.origin == app {
			want = map[string]string{"Allow-Origin": app, "Expose-Headers": "X-Request-Id"}
		}
		if got := granted(res.Header); !equal(got, want) || strings.Join(res.Header["Vary"], ", ") != c.want {
			t.Errorf("%+v: %v", c, res.Header)
		}
		if got := granted(received(t, hints, "the hints")); len(got) > 0 {
			t.Errorf("%+v: the hints say %v", c, got)
		}
	}
	// Elsewhere the upstream's word is passed on, as ever.
	if res, _ := b.do(t, "GET", "https://app.gw.test/public/x", ""); res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a route without cors: %v", res.Header)
	}
}

func TestAScriptReadsWhyItWasRefused(t *testing.T) {
	b := newBench(t)
	b.share(t, "R1", shared)
	res, body := b.do(t, "GET", "https://app.gw.test/x", "", sending("Origin", app))
	refused(t, res, body, 401, "no-credentials")
	if got := granted(res.Header); !equal(got, map[string]string{"Allow-Origin": app, "Expose-Headers": "X-Request-Id"}) || res.Header.Get("Vary") != "Origin" {
		t.Errorf("%v", res.Header)
	}
	b.u1.Close()
	res, body = b.do(t, "GET", "https://app.gw.test/x", b.token(t, "alice"), sending("Origin", app))
	refused(t, res, body, 502, "upstream-unreachable")
	if res.Header.Get("Access-Control-Allow-Origin") != app {
		t.Errorf("%v", res.Header)
	}
	b.settings.Closed = map[string]error{"R1": context.Canceled}
	if err := b.gateway.Swap(b.settings); err != nil {
		t.Fatal(err)
	}
	res, body = b.do(t, "OPTIONS", "https://app.gw.test/x", "", asking(app))
	refused(t, res, body, 503, "route-closed")
	if res.Header.Get("Access-Control-Allow-Origin") != app || res.Header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("%v", res.Header)
	}
}

// D04 and the class of A36: with credentials, an origin that CORS names may
// change things with a session, and read; it does not get a WebSocket by that.
func TestCredentialsOfAnotherOrigin(t *testing.T) {
	l := newLounge(t)
	cookie := l.login(t, "app.gw.test", "/x", "alice")
	from := sending("Cookie", cookie, "Origin", app, "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors")
	l.share(t, "R1", shared)
	res, body := l.do(t, "POST", "https://app.gw.test/x", "", from)
	refused(t, res, body, 403, "origin-denied") // it may call with a token, not as whoever looks at its pages
	if granted(res.Header)["Allow-Credentials"] != "" {
		t.Errorf("%v", res.Header)
	}
	with := shared
	with.Credentials = true
	l.share(t, "R1", with)
	res, body = l.do(t, "POST", "https://app.gw.test/x", "", from)
	if got := granted(res.Header); res.StatusCode != 200 || got["Allow-Origin"] != app || got["Allow-Credentials"] != "true" {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	res, body = l.do(t, "POST", "https://app.gw.test/x", "", sending("Cookie", cookie, "Origin", "https://evil.example.com", "Sec-Fetch-Site", "same-site"))
	refused(t, res, body, 403, "origin-denied")
	res, body = l.do(t, "POST", "https://app.gw.test/x", "", sending("Cookie", cookie, "Origin", app, "Origin", "https://evil.test"))
	refused(t, res, body, 403, "origin-denied")
	if res, _ := l.do(t, "OPTIONS", "https://app.gw.test/x", "", asking(app)); granted(res.Header)["Allow-Credentials"] != "true" {
		t.Errorf("%v", res.Header)
	}
	res, body = l.do(t, "GET", "https://app.gw.test/x", "", sending("Origin", app, "Sec-Fetch-Mode", "cors"))
	refused(t, res, body, 401, "no-credentials")
	if got := granted(res.Header); got["Allow-Origin"] != app {
		t.Errorf("%v", res.Header)
	}

	l.share(t, "R5", with)
	client := l.client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	defer client.CloseIdleConnections()
	_, res, err := websocket.Dial(t.Context(), "wss://ws.gw.test/x", &websocket.DialOptions{HTTPClient: client, HTTPHeader: http.Header{"Cookie": {cookie}, "Origin": {app}}})
	if err == nil || res == nil || res.StatusCode != 403 {
		t.Errorf("a WebSocket: %v %v", res, err)
	}
}

func TestCORSIsChecked(t *testing.T) {
	route := func(c proxy.CORS) (problems []string) {
		r := proxy.Route{Name: "r", Match: []string{"/r/"}, Upstream: "http://127.0.0.1:1", Allow: proxy.Allow{"dev"}, CORS: c}
		r.Check(func(path, problem string) { problems = append(problems, path+": "+problem) })
		return problems
	}
	for _, good := range []string{app, "https://app.example.com:8443", "http://localhost:3000", "http://127.0.0.1", "http://[::1]:3000", "https://xn--bcher-kva.example"} {
		if got := route(proxy.CORS{Origins: []string{good}}); got != nil {
			t.Errorf("%s: %v", good, got)
		}
	}
	for _, bad := range []string{
		"*", "null", "", "app.example.com", "https://", "https://*.example.com", app + "/", app + "/x", app + "?x", app + "#x", app + ":443", "http://localhost:80",
		"https://app.example.com:", "https://App.example.com", "HTTPS://app.example.com", "https://user@app.example.com", "http://app.example.com", "file://x", "chrome-extension://abc",
	} {
		if got := route(proxy.CORS{Origins: []string{bad}}); len(got) != 1 || !strings.HasPrefix(got[0], "cors.origins[0]: ") {
			t.Errorf("%q: %v", bad, got)
		}
	}
	for place, c := range map[string]proxy.CORS{
		"cors.origins":    {Credentials: true},
		"cors.origins: ":  {Origins: []string{}},
		"cors.headers[0]": {Origins: []string{app}, Headers: []string{"*"}},
		"cors.headers[1]": {Origins: []string{app}, Headers: []string{"X-A", "Cookie"}},
		"cors.headers":    {Origins: []string{app}, Headers: []string{"Sec-Fetch-Site"}},
		"cors.expose[0]":  {Origins: []string{app}, Expose: []string{"*"}},
		"cors.expose":     {Origins: []string{app}, Expose: []string{"Set-Cookie"}},
		"cors.max_age":    {Origins: []string{app}, MaxAge: 25 * time.Hour},
		"cors.max_age: ":  {Origins: []string{app}, MaxAge: 1500 * time.Millisecond},
	} {
		if got := route(c); len(got) != 1 || !strings.HasPrefix(got[0], place) {
			t.Errorf("%s: %v", place, got)
		}
	}
}

// What a preflight costs who sends many: no span but its own, no record.
func TestAPreflightLeavesNoRecord(t *testing.T) {
	b := newBench(t)
	b.share(t, "R1", shared)
	r := httptest.NewRequest("OPTIONS", "/x", nil)
	r.Host = "app.gw.test"
	asking(app)(r)
	w := httptest.NewRecorder()
	b.gateway.ServeHTTP(w, r)
	if w.Code != 204 {
		t.Fatal(w.Code)
	}
	for _, e := range b.records(t) {
		if e.Path == "/x" {
			t.Errorf("recorded %+v", e)
		}
	}
}
