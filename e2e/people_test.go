package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// visitor is somebody's browser, as far as a gateway can tell: it keeps cookies,
// and takes loopback for safe. What its cookies and addresses hold must be nowhere
// else.
type visitor struct {
	bench  *bench.Bench
	node   string // host:port that it is connected to for bench.PublicURL
	client *http.Client
	jar    http.CookieJar
}

func newVisitor(b *bench.Bench, node string) (*visitor, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	v := &visitor{bench: b, node: node, jar: loopbackJar{jar}}
	v.client = v.connect(v)
	return v, nil
}

// connect makes a client with the cookies of v, to the node of to.
func (v *visitor) connect(to *visitor) *http.Client {
	return &http.Client{Jar: v.jar, CheckRedirect: caller.CheckRedirect, Transport: &http.Transport{
		DisableCompression: true, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasSuffix(bench.PublicURL, "//"+address) {
				address = to.node
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
}

// loopbackJar sends cookies for TLS to loopback too, as Chromium and Firefox do.
type loopbackJar struct{ http.CookieJar }

func safe(u *url.URL) *url.URL {
	copied := *u
	copied.Scheme = "https"
	return &copied
}

func (j loopbackJar) Cookies(u *url.URL) []*http.Cookie         { return j.CookieJar.Cookies(safe(u)) }
func (j loopbackJar) SetCookies(u *url.URL, set []*http.Cookie) { j.CookieJar.SetCookies(safe(u), set) }

// cookie is the session cookie's value, or "".
func (v *visitor) cookie() string {
	at, _ := url.Parse(bench.PublicURL)
	for _, c := range v.jar.Cookies(at) {
		if c.Name == "__Host-vaultspan" {
			return c.Value
		}
	}
	return ""
}

// ask sends a request, and plants what the answer has for this browser alone.
func (v *visitor) ask(req *http.Request) (answer, error) {
	resp, err := v.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	for _, c := range resp.Cookies() {
		if len(c.Value) > 20 {
			v.bench.Plant(c.Value)
		}
	}
	if to, bad := resp.Location(); bad == nil {
		for _, name := range []string{"state", "nonce", "code"} {
			if value := to.Query().Get(name); value != "" {
				v.bench.Plant(value)
			}
		}
	}
	return answer{resp.StatusCode, resp.Header, body}, err
}

// visit goes to a page and on to wherever it is sent. At issuer A, who it is picks
// a name. It returns the first answer that is no redirect, and where that was.
func (v *visitor) visit(ctx context.Context, page, person string) (answer, *url.URL, error) {
	at := page
	var form url.Values
	for range 40 {
		method, body := http.MethodGet, ""
		if form != nil {
			method, body = http.MethodPost, form.Encode()
		}
		req, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(body))
		if err != nil {
			return answer{}, nil, err
		}
		asPage(req)
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		form = nil
		got, err := v.ask(req)
		if err != nil {
			return got, req.URL, err
		}
		location := got.header.Get("Location")
		switch {
		case got.status/100 == 3 && location != "":
			next, err := req.URL.Parse(location)
			if err != nil {
				return got, req.URL, err
			}
			at = next.String()
		case got.status == 200 && person != "" && method == http.MethodGet && strings.HasPrefix(at, v.bench.IdP.Issuer()+"/login"):
			form = url.Values{"request": {req.URL.Query().Get("request")}, "person": {person}}
			at = v.bench.IdP.Issuer() + "/login"
		default:
			return got, req.URL, nil
		}
	}
	return answer{}, nil, errors.New("redirected forty times")
}

// asPage makes a request one that a browser makes to go to a page.
func asPage(req *http.Request) {
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Dest", "document")
	req.Header.Set("Accept", "text/html")
}

// login goes to a page as somebody, and ends there or where it is told.
//
//	login JAR PERSON STATUS PAGE [END]
func login(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, (len(args) == 4 || len(args) == 5) && s.gateway != nil, "login JAR PERSON STATUS PAGE [END], after serve")
	v := s.visitors[args[0]]
	if v == nil {
		var err error
		v, err = newVisitor(s.Bench, s.gateway.Listen)
		ts.Check(err)
		s.visitors[args[0]] = v
	}
	v.node = s.gateway.Listen
	ctx, cancel := s.patient()
	defer cancel()
	got, at, err := v.visit(ctx, bench.PublicURL+args[3], args[1])
	ts.Check(err)
	s.note(&http.Request{URL: at}, got)
	ts.Setenv("TRACE", got.header.Get("X-Request-Id"))
	ts.Stdout().Write(got.body)
	got.header.Write(ts.Stderr())
	end := args[3]
	if len(args) == 5 {
		end = args[4]
	}
	if fmt.Sprint(got.status) != args[2] || at.RequestURI() != end && at.Path != end {
		ts.Fatalf("%d at %s, want %s at %s", got.status, at.Redacted(), args[2], end)
	}
}

// backchannel is issuer A telling the gateway that somebody's login ended there.
func backchannel(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 2 && s.gateway != nil, "backchannel PERSON STATUS, after serve")
	token, err := s.LogoutToken(args[0])
	ts.Check(err)
	ctx, cancel := s.patient()
	defer cancel()
	status, err := logoutAt(ctx, s.gateway.URL, token)
	ts.Check(err)
	if fmt.Sprint(status) != args[1] {
		ts.Fatalf("%d, want %s", status, args[1])
	}
}

// logoutAt brings a logout token to a node.
func logoutAt(ctx context.Context, gateway, token string) (status int, err error) {
	form := url.Values{"logout_token": {token}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, gateway+"/.vaultspan/backchannel-logout", strings.NewReader(form))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Host = strings.TrimPrefix(bench.PublicURL, "http://")
	resp, err := caller.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// handle puts the newest session of somebody, as operators name it, into $VAR.
func handle(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 2 && s.gateway != nil, "session VAR PERSON, after serve")
	exe, err := program()
	ts.Check(err)
	cmd := exec.CommandContext(s.ctx, exe, "sessions", "list", "--json", "--subject", args[1])
	cmd.Dir = ts.Getenv("WORK")
	out, err := cmd.Output()
	ts.Check(err)
	var listed []struct{ ID string }
	ts.Check(json.Unmarshal(out, &listed))
	need(ts, len(listed) > 0, "login JAR "+args[1]+" STATUS PAGE, first")
	ts.Setenv(args[0], listed[0].ID)
}
