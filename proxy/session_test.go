package proxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn/session"
)

func TestABrowserLogsInAndEndsOnItsDeepLink(t *testing.T) {
	l := newLounge(t)
	cookie := l.login(t, "app.gw.test", "/deep/link?q=1", "alice")
	res, body := l.do(t, "GET", "https://app.gw.test/deep/link?q=1", "", page, sending("Cookie", "a=b; "+cookie))
	if res.StatusCode != 200 || !strings.Contains(body, "/deep/link?q=1") {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	got := l.u1.last(t)
	if got.Header.Get("Authorization") != "Bearer "+canary1 || got.Header.Get("Cookie") != "a=b" {
		t.Errorf("the upstream received %v", got.Header)
	}
	if n := len(l.u1.requests()); n != 1 {
		t.Errorf("%d requests reached the upstream, want the one", n)
	}
	for _, e := range l.records(t) {
		if e.Kind == audit.KindIntent && (e.Issuer != "idp" || e.Subject != "alice" || e.Role != "dev") {
			t.Errorf("recorded %+v", e)
		}
	}
	secret := strings.TrimPrefix(cookie, "__Host-vaultspan=")
	if strings.Contains(l.logs.String(), secret) || l.onDisk(t, secret) { // F19
		t.Error("the session's id is in a log or the audit log")
	}
}

func TestOnlyAPageIsSentToLogIn(t *testing.T) {
	l := newLounge(t)
	for _, c := range []struct {
		name, method, url string
		header            []string
		redirected        bool
	}{
		{"a navigation", "GET", "https://app.gw.test/x", []string{"Sec-Fetch-Mode", "navigate"}, true},
		{"a browser that does not say", "GET", "https://app.gw.test/x", []string{"Accept", "text/html,*/*;q=0.8"}, true},
		{"HEAD of one", "HEAD", "https://app.gw.test/x", []string{"Accept", "text/html"}, true},
		{"fetch or XHR", "GET", "https://app.gw.test/x", []string{"Sec-Fetch-Mode", "cors", "Accept", "text/html"}, false},
		{"an image", "GET", "https://app.gw.test/x", []string{"Sec-Fetch-Mode", "no-cors"}, false},
		{"EventSource", "GET", "https://app.gw.test/x", []string{"Accept", "text/event-stream"}, false},
		{"curl", "GET", "https://app.gw.test/x", []string{"Accept", "*/*"}, false},
		{"a form", "POST", "https://app.gw.test/x", []string{"Sec-Fetch-Mode", "navigate"}, false},
		{"a route without session", "GET", "https://api.gw.test/api/x", []string{"Sec-Fetch-Mode", "navigate"}, false},
	} {
		res, body := l.do(t, c.method, c.url, "", sending(c.header...))
		if c.redirected {
			if res.StatusCode != 303 || res.Header.Get("Location") != "/.vaultspan/login?return=%2Fx" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d to %q", c.name, res.StatusCode, res.Header.Get("Location"))
			}
			continue
		}
		if res.StatusCode != 401 || res.Header.Get("Location") != "" || !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: %d %v %s", c.name, res.StatusCode, res.Header, body)
		}
	}
	if n := len(l.u1.requests()) + len(l.u2.requests()); n != 0 {
		t.Errorf("%d requests reached an upstream", n)
	}
}

func TestBearerTokensGoOnWorkingWhereThereAreSessions(t *testing.T) {
	l := newLounge(t)
	token, err := l.people.Token(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if res, body := l.do(t, "POST", "https://app.gw.test/x", token, sending("Origin", "https://elsewhere.test")); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	cookie := l.login(t, "app.gw.test", "/x", "alice")
	res, body := l.do(t, "GET", "https://app.gw.test/x", token, sending("Cookie", cookie)) // F20
	refused(t, res, body, 400, "ambiguous-credentials")
	res, body = l.do(t, "GET", "https://app.gw.test/x", "", sending("Cookie", cookie+"; "+cookie))
	refused(t, res, body, 400, "ambiguous-credentials")
	res, body = l.do(t, "GET", "https://api.gw.test/api/x", "", sending("Cookie", cookie))
	refused(t, res, body, 401, "no-credentials") // no session there
}

func TestAnotherSiteCannotUseASession(t *testing.T) {
	l := newLounge(t)
	cookie := l.login(t, "app.gw.test", "/x", "alice")
	for _, c := range []struct {
		name, method string
		header       []string
		passes       bool
	}{
		{"a form of another site", "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test"}, false},
		{"of a sibling", "POST", []string{"Sec-Fetch-Site", "same-site", "Origin", "https://api.gw.test"}, false},
		{"of an old browser", "POST", []string{"Origin", "https://evil.test"}, false},
		{"of a sandbox", "POST", []string{"Origin", "null"}, false},
		{"DELETE", "DELETE", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"its own page", "POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://app.gw.test"}, true},
		{"a bookmark", "GET", []string{"Sec-Fetch-Site", "none"}, true},
		{"a link", "GET", []string{"Sec-Fetch-Site", "cross-site"}, true},
	} {
		before := len(l.u1.requests())
		res, body := l.do(t, c.method, "https://app.gw.test/x", "", sending("Cookie", cookie), sending(c.header...))
		if c.passes {
			if res.StatusCode != 200 {
				t.Errorf("%s: %d %s", c.name, res.StatusCode, body)
			}
			continue
		}
		refused(t, res, body, 403, "origin-denied")
		if len(l.u1.requests()) != before {
			t.Errorf("%s reached the upstream", c.name)
		}
	}
}

func TestAWebSocketOfASessionSaysWhereItComesFrom(t *testing.T) {
	l := newLounge(t)
	l.u2.handler = echo
	cookie := l.login(t, "ws.gw.test", "/x", "alice")
	for origin, want := range map[string]int{"https://ws.gw.test": 101, "https://good.test": 101, "https://evil.test": 403, "https://app.gw.test": 403, l.settings.URL.String(): 403, "null": 403, "": 403} {
		client := l.client()
		client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
		header := http.Header{"Cookie": {cookie}}
		if origin != "" {
			header.Set("Origin", origin)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		c, res, err := websocket.Dial(ctx, "wss://ws.gw.test/x", &websocket.DialOptions{HTTPClient: client, HTTPHeader: header})
		if err == nil {
			c.CloseNow()
		}
		if res == nil || res.StatusCode != want {
			t.Errorf("from %q: %v %v, want %d", origin, res, err, want)
		}
		cancel()
		client.CloseIdleConnections()
	}
}

func TestARevokedSessionsStreamEnds(t *testing.T) {
	l := newLounge(t)
	ended := l.listen(t)
	if n, err := l.sessions.Revoke(t.Context(), session.Filter{Subject: "alice"}); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	received(t, ended, "the stream's end")
	if got := outcome(t, l.records(t), "/events").Code; got != "session-revoked" {
		t.Errorf("the outcome is %q", got)
	}
}

func TestNoSessionWithoutTLS(t *testing.T) { // F02
	l := newLounge(t)
	cookie := l.login(t, "app.gw.test", "/x", "alice")
	for path, want := range map[string]int{"/x": 401, "/.vaultspan/login": 403, "/.vaultspan/whoami": 403} {
		r := httptest.NewRequest("GET", path, nil) // from 192.0.2.1
		r.Host = "app.gw.test"
		r.Header.Set("Cookie", cookie)
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		w := httptest.NewRecorder()
		l.gateway.ServeHTTP(w, r)
		if w.Code != want || w.Header().Get("Set-Cookie") != "" || w.Header().Get("Location") != "" {
			t.Errorf("%s: %d %v, want %d", path, w.Code, w.Header(), want)
		}
	}
}

func TestWhoIsDeniedReadsWhy(t *testing.T) {
	l := newLounge(t)
	cookie := l.login(t, "app.gw.test", "/x", "mallory")
	res, body := l.do(t, "GET", "https://app.gw.test/x", "", page, sending("Cookie", cookie))
	if res.StatusCode != 403 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") || !strings.Contains(body, res.Header.Get("X-Request-Id")) ||
		!strings.Contains(body, "To ask for access") || !strings.HasPrefix(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	res, body = l.do(t, "GET", "https://app.gw.test/x", "", sending("Cookie", cookie))
	refused(t, res, body, 403, "denied")
}

func TestWhoami(t *testing.T) {
	l := newLounge(t)
	type answer struct {
		Issuer, Subject, Method    string
		Groups, Roles, Collections []string
		Routes                     []struct{ Name string }
		Expires                    time.Time
	}
	ask := func(token string, edit ...func(*http.Request)) (a answer) {
		t.Helper()
		res, body := l.do(t, "GET", "https://app.gw.test/.vaultspan/whoami", token, edit...)
		if err := json.Unmarshal([]byte(body), &a); err != nil || res.StatusCode != 200 || res.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
		return a
	}
	cookie := l.login(t, "app.gw.test", "/x", "alice")
	token, err := l.people.Token(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	for method, a := range map[string]answer{"session": ask("", sending("Cookie", cookie)), "bearer": ask(token)} {
		var routes []string
		for _, r := range a.Routes {
			routes = append(routes, r.Name)
		}
		if a.Issuer != "idp" || a.Subject != "alice" || a.Method != method || fmt.Sprint(a.Groups, a.Roles, a.Collections, routes) != "[dev payments] [dev] [prod/team-dev] [R1 R5 R7]" || !a.Expires.After(time.Now()) {
			t.Errorf("%s: %+v", method, a)
		}
	}
	res, body := l.do(t, "GET", "https://app.gw.test/.vaultspan/whoami", "")
	refused(t, res, body, 401, "no-credentials")
	res, body = l.do(t, "POST", "https://app.gw.test/.vaultspan/whoami", token)
	refused(t, res, body, 405, "method-not-allowed")
}
