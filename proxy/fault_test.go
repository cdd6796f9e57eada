package proxy_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// soon is a timeout that a test waits for.
const soon = 50 * time.Millisecond

// address is a loopback address where nothing listens.
func address(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// silentTLS accepts connections and says nothing on them.
func silentTLS(t *testing.T) string {
	s := newScript(t, func(p *peer) { io.Copy(io.Discard, p.r) })
	return s.Addr().String()
}

// plainTLS speaks TLS with a certificate that nobody trusts.
func plainTLS(t *testing.T) string {
	cert, _ := certificate(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	return l.Addr().String()
}

// What an upstream does before it has answered is told by a code of its own,
// the same in the record; and it was tried once.
func TestUpstreamFaults(t *testing.T) {
	b, upstream := newScriptBench(t, func(p *peer) {
		for {
			head, _, err := p.request()
			if err != nil {
				return
			}
			switch target(head) {
			case "/reset":
				p.Conn.(*net.TCPConn).SetLinger(0)
				return
			case "/close":
				return
			case "/nonsense":
				p.reply("SSH-2.0-x\r\n\r\n")
				return
			case "/two-lengths":
				p.reply("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")
			case "/bad-length":
				p.reply("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab")
			case "/two-framings":
				p.reply("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
			case "/huge-header":
				p.reply("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 2<<20) + "\r\n\r\n")
			case "/429", "/503":
				p.reply("HTTP/1.1 " + target(head)[1:] + " Slow\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy")
			default:
				p.reply("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
			}
		}
	})
	token := b.token(t, "alice")
	cases := []struct {
		id, path string
		status   int
		code     string // of the refusal, or "" when the upstream's answer passes
	}{
		{"FU01", "/reset", 502, "upstream-reset"}, {"FU01", "/close", 502, "upstream-reset"},
		{"C23", "/nonsense", 502, "upstream-reset"}, {"C23", "/two-lengths", 502, "upstream-reset"}, {"C23", "/bad-length", 502, "upstream-reset"},
		{"", "/huge-header", 502, "upstream-reset"},
		{"C23", "/two-framings", 200, ""}, // RFC 9112 section 6.3: the chunks count
		{"FU11", "/429", 429, ""}, {"FU11", "/503", 503, ""},
	}
	for _, c := range cases {
		res, body := b.do(t, "GET", "http://raw.gw.test"+c.path, token)
		switch {
		case c.code != "":
			refused(t, res, body, c.status, c.code)
		case res.StatusCode != c.status || c.id == "FU11" && (body != "busy" || res.Header.Get("Retry-After") != "7"):
			t.Errorf("%s %s: %d %s %v", c.id, c.path, res.StatusCode, body, res.Header)
		}
		if res, body := b.do(t, "GET", "http://raw.gw.test/fine", token); body != "fine" {
			t.Errorf("%s: the next request: %d %s", c.id, res.StatusCode, body)
		}
	}
	if n := len(upstream.requests()); n != 2*len(cases) {
		t.Errorf("%d requests were sent for %d", n, 2*len(cases))
	}
	events := b.records(t)
	for _, c := range cases {
		if e := outcome(t, events, c.path); e.Code != c.code && (c.code != "" || e.Code != "completed") {
			t.Errorf("%s: recorded as %s", c.path, e.Code)
		}
	}
}

// FU04: silence is ended by the route's timeouts, before the answer and in it.
func TestSilentUpstreams(t *testing.T) {
	silent := func(p *peer) {
		if head, _, err := p.request(); err == nil && target(head) == "/idle" {
			p.reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf.\r\n")
		}
		io.Copy(io.Discard, p.r)
	}
	b, _ := newScriptBench(t, silent, func(r *proxy.Route) { r.Timeouts = proxy.Timeouts{Response: soon} })
	for _, method := range []string{"GET", "POST"} {
		res, body := b.do(t, method, "http://raw.gw.test/"+method, b.token(t, "alice"), withBody("body", true))
		refused(t, res, body, 504, "upstream-timeout")
	}
	for _, e := range b.records(t) {
		if e.Kind == audit.KindOutcome && e.Code != "upstream-timeout" {
			t.Errorf("%s is recorded as %s", e.Path, e.Code)
		}
	}
	b, _ = newScriptBench(t, silent, func(r *proxy.Route) { r.Timeouts = proxy.Timeouts{Idle: soon} })
	res := b.open(t, "GET", "https://raw.gw.test/idle", b.token(t, "alice"))
	if body, err := io.ReadAll(res.Body); err == nil || !strings.HasPrefix("half.", string(body)) {
		t.Errorf("%q ended with %v", body, err)
	}
	if e := outcome(t, b.records(t), "/idle"); e.Code != "upstream-timeout" {
		t.Errorf("recorded as %+v", e)
	}
}

func TestUpstreamsThatCannotBeReached(t *testing.T) {
	for _, c := range []struct {
		id, upstream string
		connect      time.Duration
		status       int
		code         string
	}{
		{"FU01", "http://" + address(t), time.Minute, 502, "upstream-unreachable"},
		{"FU08", "https://no-such-host.invalid", time.Minute, 502, "upstream-unreachable"},
		{"FU04", "https://" + silentTLS(t), soon, 504, "upstream-timeout"},
		{"", "https://" + plainTLS(t), time.Minute, 502, "upstream-tls"},
		{"", "https://" + newScript(t, func(p *peer) { p.reply("HTTP/1.1 400 Bad Request\r\n\r\n") }).Addr().String(), time.Minute, 502, "upstream-tls"},
	} {
		b := newBench(t, func(_ *bench, routes []proxy.Route) []proxy.Route {
			return append(routes, proxy.Route{
				Name: "far", Match: []string{"far.gw.test/"}, Upstream: c.upstream, Secret: "prod/team-dev/U1_KEY", Inject: vault.Bearer(),
				Timeouts: proxy.Timeouts{Connect: c.connect},
			})
		})
		res, body := b.do(t, "POST", "http://far.gw.test/x", b.token(t, "alice"), withBody("body", true))
		refused(t, res, body, c.status, c.code)
		if e := outcome(t, b.records(t), "/x"); e.Code != c.code {
			t.Errorf("%s %s: recorded as %s", c.id, c.upstream, e.Code)
		}
	}
}

// FU02: what breaks off upstream breaks off for the caller, and never looks whole.
func TestBrokenResponsesDoNotLookWhole(t *testing.T) {
	b, _ := newScriptBench(t, func(p *peer) {
		head, _, err := p.request()
		if err != nil {
			return
		}
		switch target(head) {
		case "/length":
			p.reply("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.")
		case "/chunks", "/reset":
			p.reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf.\r\n")
		case "/bad-chunk":
			p.reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf.\r\nxyz\r\n")
		}
		if target(head) == "/reset" {
			p.Conn.(*net.TCPConn).SetLinger(0)
		}
	})
	token := b.token(t, "alice")
	codes := map[string]string{"/length": "upstream-reset", "/chunks": "upstream-reset", "/reset": "upstream-reset", "/bad-chunk": "upstream-reset"}
	for path := range codes {
		for _, scheme := range []string{"http", "https"} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", scheme+"://raw.gw.test"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			res, err := b.client().Do(r)
			if err != nil {
				continue // the header was lost with it
			}
			defer res.Body.Close()
			if body, err := io.ReadAll(res.Body); err == nil || !strings.HasPrefix("half.", string(body)) {
				t.Errorf("%s over %s: %q ended with %v", path, scheme, body, err)
			}
		}
	}
	for _, e := range b.records(t) {
		if e.Kind == audit.KindOutcome && e.Code != codes[e.Path] {
			t.Errorf("%s is recorded as %s", e.Path, e.Code)
		}
	}
}

// C20: a caller that goes away takes the upstream's connection with it.
func TestCallersThatGoAway(t *testing.T) {
	arrived, gone := make(chan bool, 1), make(chan string, 1)
	b, _ := newScriptBench(t, func(p *peer) {
		line, err := p.r.ReadString('\n')
		if err != nil {
			return
		}
		arrived <- true
		if strings.Contains(line, "/streams") {
			p.reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		}
		io.Copy(io.Discard, p.r) // until the gateway closes
		gone <- line
	})
	token := b.token(t, "alice")
	head := func(path, fields string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: raw.gw.test\r\nAuthorization: Bearer " + token + "\r\n" + fields + "\r\n"
	}
	for path, bytes := range map[string]string{
		"/mid-chunk":  head("/mid-chunk", "Transfer-Encoding: chunked\r\n") + "5\r\nab",
		"/mid-length": head("/mid-length", "Content-Length: 5\r\n") + "ab",
		"/waiting":    head("/waiting", ""),
		"/streams":    head("/streams", ""),
	} {
		for _, secure := range []bool{false, true} {
			c := b.raw(t, secure)
			c.send(bytes)
			if path == "/streams" {
				if line, err := c.r.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
					t.Fatalf("%q %v", line, err)
				}
			}
			received(t, arrived, "the request")
			c.Close()
			if line := received(t, gone, "the upstream's connection to end"); !strings.Contains(line, path) {
				t.Errorf("%s: %q ended", path, line)
			}
		}
	}
	for _, e := range b.records(t) {
		if e.Kind == audit.KindOutcome && e.Code != "client-abort" {
			t.Errorf("%s is recorded as %s", e.Path, e.Code)
		}
	}
}

// A caller that sends half a body, or does not read what it asked for, holds an
// exchange for as long as the route's idle timeout, and no longer.
func TestCallersThatStall(t *testing.T) {
	b := newBench(t, func(_ *bench, routes []proxy.Route) []proxy.Route {
		for i := range routes {
			routes[i].Timeouts = proxy.Timeouts{Idle: 20 * soon}
		}
		return routes
	})
	arrived := make(chan bool, 4)
	b.u1.handler = func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		if r.Method == "POST" {
			io.Copy(io.Discard, r.Body)
			return
		}
		for _, err := io.CopyN(w, zeros{}, 1<<20); err == nil; _, err = io.CopyN(w, zeros{}, 1<<20) {
		}
	}
	token := b.token(t, "alice")
	c := b.raw(t, false)
	c.send("POST /half HTTP/1.1\r\nHost: app.gw.test\r\nAuthorization: Bearer " + token + "\r\nContent-Length: 5\r\n\r\nab")
	res, body, err := c.answer("POST")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, res, body, 408, "caller-timeout")
	if rest := c.ends(); rest != "" {
		t.Errorf("after the refusal came %q", rest)
	}

	for _, secure := range []bool{false, true} {
		c = b.raw(t, secure)
		c.send(fmt.Sprintf("GET /unread/%v HTTP/1.1\r\nHost: app.gw.test\r\nAuthorization: Bearer %s\r\n\r\n", secure, token))
	}
	h2 := b.rawH2(t)
	h2.WriteWindowUpdate(0, 1<<20) // the stream's own window stays at 64 KiB, and is never opened again
	h2.request(true, get("app.gw.test", "/unread/h2", token)...)

	for range 4 {
		received(t, arrived, "the requests")
	}
	done := make(chan struct{})
	go func() { b.gateway.Wait(); close(done) }()
	received(t, done, "the stalled exchanges to end")
	events := b.records(t)
	for _, path := range []string{"/half", "/unread/true", "/unread/false", "/unread/h2"} {
		if e := outcome(t, events, path); e.Code != "caller-timeout" {
			t.Errorf("%s ended as %s", path, e.Code)
		}
	}
}

// A refusal does not wait for a body that its caller never sends.
func TestRefusalsDoNotWaitForBodies(t *testing.T) {
	b := newBench(t)
	for _, secure := range []bool{false, true} {
		c := b.raw(t, secure)
		c.send("POST /x HTTP/1.1\r\nHost: app.gw.test\r\nContent-Length: 5\r\n\r\n")
		res, body, err := c.answer("POST")
		if err != nil {
			t.Fatal(err)
		}
		refused(t, res, body, 401, "no-credentials")
		if rest := c.ends(); rest != "" {
			t.Errorf("after the refusal came %q", rest)
		}
	}
}
