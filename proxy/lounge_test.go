package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/devidp"
	"github.com/vaultspan/vaultspan/authn/session"
	"github.com/vaultspan/vaultspan/proxy"
)

// lounge is a bench that people log in to: on app.gw.test and ws.gw.test, through
// a provider that knows those two.
type lounge struct {
	*bench
	people   *devidp.Provider
	sessions *session.Manager
	browser  *http.Client // of everybody who logs in: it keeps no cookies
}

func newLounge(t *testing.T, more ...devidp.Person) *lounge {
	t.Helper()
	l := &lounge{bench: newBench(t, func(_ *bench, routes []proxy.Route) []proxy.Route {
		for i := range routes {
			routes[i].Session = slices.Contains([]string{"R1", "R5"}, routes[i].Name)
		}
		return routes
	})}
	hosts := []string{"app.gw.test", "ws.gw.test"}
	callbacks, signedOut := session.RedirectURIs(l.settings.URL, hosts, "idp", true)
	people, _ := devidp.Cast()
	people = append(people, more...)
	secret := func() string { return "web-secret" }
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var err error
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l.people, err = devidp.Start(ctx, devidp.Config{People: people, Clients: []devidp.Client{
		{ID: "web", Secret: secret, RedirectURIs: callbacks, PostLogoutRedirectURIs: signedOut},
		{ID: "agent", Secret: secret, Groups: []string{"dev"}},
	}})
	must(err)
	authenticator, err := authn.New(ctx, authn.Config{Issuers: []authn.IssuerConfig{{
		Name: "idp", URL: l.people.Issuer(), Audience: "vaultspan",
		Login: authn.Login{ClientID: "web", ClientSecret: secret, Scopes: []string{"openid", "offline_access"}},
	}}})
	must(err)
	t.Cleanup(authenticator.Close)
	store, err := session.OpenSQLite(ctx, filepath.Join(t.TempDir(), "sessions.db"))
	must(err)
	t.Cleanup(func() { store.Close() })
	l.sessions, err = session.New(session.Setup{
		Config: session.Config{Key: func() string { return strings.Repeat("ab", 32) }}, URL: l.settings.URL, Hosts: hosts, Issuers: authenticator, Store: store,
	})
	must(err)
	l.gateway.Recheck = 20 * time.Millisecond
	l.settings.Authenticator, l.settings.Sessions = authenticator, l.sessions
	must(l.gateway.Swap(l.settings))
	l.browser = l.client()
	t.Cleanup(l.browser.CloseIdleConnections)
	return l
}

// page asks as a browser that goes to a page does.
func page(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "navigate") }

// sending adds header fields.
func sending(pairs ...string) func(*http.Request) {
	return func(r *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			r.Header.Add(pairs[i], pairs[i+1])
		}
	}
}

// cookies are those that a response sets, as a request sends them.
func cookies(res *http.Response) string {
	var all []string
	for _, c := range res.Cookies() {
		all = append(all, c.Name+"="+c.Value)
	}
	return strings.Join(all, "; ")
}

// login is what somebody's browser does, from a page of a host back to it. It
// returns the session cookie.
func (l *lounge) login(t *testing.T, host, path, person string) string {
	t.Helper()
	to := func(res *http.Response) string {
		t.Helper()
		at, err := res.Location()
		if err != nil || res.StatusCode/100 != 3 {
			t.Fatalf("%s: %d", res.Request.URL, res.StatusCode)
		}
		return at.String()
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	there := func(res *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return to(res)
	}
	res, _ := l.visit(t, "https://"+host+path)
	res, _ = l.visit(t, to(res))
	flow := cookies(res)
	picker, err := url.Parse(there(client.Get(to(res))))
	if err != nil {
		t.Fatal(err)
	}
	back := there(client.PostForm(l.people.Issuer()+"/login", url.Values{"request": {picker.Query().Get("request")}, "person": {person}}))
	res, body := l.visit(t, there(client.Get(back)), sending("Cookie", flow))
	if res.StatusCode != 303 || res.Header.Get("Location") != path {
		t.Fatalf("the callback leads to %d %q %s", res.StatusCode, res.Header.Get("Location"), body)
	}
	for _, c := range res.Cookies() {
		if c.Name == "__Host-vaultspan" {
			return c.Name + "=" + c.Value
		}
	}
	t.Fatal("no session cookie")
	return ""
}

// visit goes to a page of the gateway.
func (l *lounge) visit(t *testing.T, to string, edit ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", to, nil)
	if err != nil {
		t.Fatal(err)
	}
	page(r)
	for _, f := range edit {
		f(r)
	}
	res, err := l.browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// listen signs alice in and opens an event stream in her session. What it returns
// says that the stream has ended.
func (l *lounge) listen(t *testing.T) (ended <-chan error) {
	t.Helper()
	l.u1.handler = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: hello\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	cookie := l.login(t, "app.gw.test", "/events", "alice")
	res := l.open(t, "GET", "https://app.gw.test/events", "", func(r *http.Request) { r.Header.Del("Authorization") }, sending("Cookie", cookie))
	body := bufio.NewReader(res.Body)
	if line, err := body.ReadString('\n'); err != nil || line != "data: hello\n" {
		t.Fatalf("%q %v", line, err)
	}
	over := make(chan error, 1)
	go func() {
		for {
			if _, err := body.ReadString('\n'); err != nil {
				over <- err
				return
			}
		}
	}()
	return over
}
