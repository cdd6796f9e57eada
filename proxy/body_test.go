package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/proxy"
)

// limit sets the largest body of every route.
func limit(n audit.Bytes) func(*bench, []proxy.Route) []proxy.Route {
	return func(_ *bench, routes []proxy.Route) []proxy.Route {
		for i := range routes {
			routes[i].MaxBody = n
		}
		return routes
	}
}

// A body of any size passes through a fixed amount of memory, either way.
func TestBigBodiesNeedLittleMemory(t *testing.T) {
	size := int64(64 << 20)
	if racing { // slow, and judged without
		size = 8 << 20
	}
	b := newBench(t, limit(audit.Bytes(size)))
	b.u1.handler = func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if n != size || err != nil {
			http.Error(w, fmt.Sprint(n, err), http.StatusBadRequest)
			return
		}
		io.CopyN(w, zeros{}, size)
	}
	b.u2.handler = b.u1.handler
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			res := b.open(t, "POST", way.url+"/big", b.token(t, "alice"), func(r *http.Request) {
				r.Body, r.ContentLength = io.NopCloser(io.LimitReader(zeros{}, size)), size
			})
			n, err := io.Copy(io.Discard, res.Body)
			if n != size || err != nil {
				t.Fatalf("%d bytes came back, %v", n, err)
			}
			runtime.ReadMemStats(&after)
			// all that was allocated since, by the client and the upstream too
			if got := after.TotalAlloc - before.TotalAlloc; got > uint64(size/4) && !racing {
				t.Errorf("2×%d MiB needed %d MiB", size>>20, got>>20)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBodiesAreLimited(t *testing.T) {
	b := newBench(t, limit(100))
	token := b.token(t, "alice")
	for _, url := range []string{"http://app.gw.test", "https://app.gw.test", "http://api.gw.test/api"} {
		exact := strings.Repeat("x", 100)
		if res, body := b.do(t, "POST", url+"/fits", token, withBody(exact, true)); res.StatusCode != 200 {
			t.Errorf("%s: 100 bytes: %d %s", url, res.StatusCode, body)
		}
		if res, body := b.do(t, "POST", url+"/fits", token, withBody(exact, false)); res.StatusCode != 200 {
			t.Errorf("%s: 100 bytes in chunks: %d %s", url, res.StatusCode, body)
		}
		before := len(b.u1.requests()) + len(b.u2.requests())
		res, body := b.do(t, "POST", url+"/declared", token, withBody(exact+"y", true))
		refused(t, res, body, 413, "body-too-large")
		if len(b.u1.requests())+len(b.u2.requests()) != before {
			t.Errorf("%s: a body that says it is too large went upstream", url)
		}
		res, body = b.do(t, "POST", url+"/chunked", token, withBody(exact+"y", false))
		refused(t, res, body, 413, "body-too-large")
	}
	for _, e := range b.records(t) {
		declared, chunked := strings.HasSuffix(e.Path, "/declared"), strings.HasSuffix(e.Path, "/chunked")
		if declared && (e.Kind != audit.KindRefusal || e.Code != "body-too-large") || chunked && e.Kind == audit.KindOutcome && e.Code != "body-too-large" {
			t.Errorf("recorded: %+v", e)
		}
	}
}

// withBody gives a request a body, with its length or in chunks.
func withBody(body string, length bool) func(*http.Request) {
	return func(r *http.Request) {
		r.Body = io.NopCloser(strings.NewReader(body))
		if r.ContentLength = -1; length {
			r.ContentLength = int64(len(body))
		}
	}
}

func TestRequestsInFlightAreLimited(t *testing.T) {
	release := make(chan struct{})
	b := newBench(t, func(_ *bench, routes []proxy.Route) []proxy.Route {
		routes[0].MaxInflight = 2
		return routes
	})
	b.u1.handler = func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-release
	}
	alice := b.token(t, "alice")
	first, second := b.open(t, "GET", "https://app.gw.test/1", alice), b.open(t, "GET", "https://app.gw.test/2", alice)
	if err := b.gateway.Swap(b.settings); err != nil { // which makes no room
		t.Fatal(err)
	}
	res, body := b.do(t, "GET", "https://app.gw.test/3", alice)
	refused(t, res, body, 503, "overloaded")
	if res.Header.Get("Retry-After") == "" {
		t.Error("the caller is not told when to come back")
	}
	// who would be refused anyway takes nobody's place, and other routes have theirs
	res, body = b.do(t, "GET", "https://app.gw.test/4", b.token(t, "mallory"))
	refused(t, res, body, 403, "denied")
	if res, _ := b.do(t, "GET", "http://api.gw.test/api/5", alice); res.StatusCode != 200 {
		t.Errorf("another route: %d", res.StatusCode)
	}
	close(release)
	io.Copy(io.Discard, first.Body)
	io.Copy(io.Discard, second.Body)
	b.gateway.Wait()
	if res := b.open(t, "GET", "https://app.gw.test/6", alice); res.StatusCode != 200 {
		t.Errorf("after the others: %d", res.StatusCode)
	}
}

func TestExpect(t *testing.T) {
	b, upstream := newScriptBench(t, func(p *peer) {
		for {
			head, body, err := p.request()
			switch {
			case err != nil:
				return
			case target(head) == "/early":
				p.reply("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
				return
			}
			p.reply(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		}
	})
	head := func(method, target, fields string) string {
		return method + " " + target + " HTTP/1.1\r\nHost: raw.gw.test\r\nAuthorization: Bearer " + b.token(t, "alice") + "\r\n" + fields + "\r\n"
	}
	t.Run("C14 waits for 100", func(t *testing.T) {
		c := b.raw(t, false)
		c.send(head("POST", "/waits", "Expect: 100-continue\r\nContent-Length: 4\r\n"))
		if res, _, err := c.answer("POST"); err != nil || res.StatusCode != 100 {
			t.Fatalf("%v %v", res, err)
		}
		c.send("body")
		if res, body, err := c.answer("POST"); err != nil || res.StatusCode != 200 || body != "body" {
			t.Errorf("%v %s %v", res, body, err)
		}
	})
	t.Run("C14 does not wait", func(t *testing.T) {
		c := b.raw(t, false)
		c.send(head("POST", "/early", "Expect: 100-continue\r\nContent-Length: 4\r\n") + "body")
		res, _, err := c.answer("POST")
		for err == nil && res.StatusCode == 100 {
			res, _, err = c.answer("POST")
		}
		if err != nil || res.StatusCode != 401 {
			t.Errorf("%v %v", res, err)
		}
		if res, body := b.do(t, "GET", "http://raw.gw.test/next", b.token(t, "alice")); res.StatusCode != 200 || body != "" {
			t.Errorf("the next request: %d %q", res.StatusCode, body)
		}
	})
	t.Run("C15", func(t *testing.T) {
		before := len(upstream.requests())
		for _, expect := range []string{"y 100-continue", "100-continue, x", "x, 100-continue", "100-continue\r\nExpect: 100-continue"} {
			c := b.raw(t, false)
			c.send(head("POST", "/x", "Expect: "+expect+"\r\nContent-Length: 4\r\n") + "body")
			res, body, err := c.answer("POST")
			if err != nil {
				t.Fatalf("%q: %v", expect, err)
			}
			refused(t, res, body, 417, "expectation-failed")
		}
		// what has no 100-continue in it, net/http answers by itself: no record, no trace id
		c := b.raw(t, false)
		c.send(head("POST", "/x", "Expect: something\r\nContent-Length: 4\r\n") + "body")
		if res, _, err := c.answer("POST"); err != nil || res.StatusCode != 417 || !res.Close || res.Header.Get("X-Request-Id") != "" {
			t.Errorf("%v %v", res, err)
		}
		if n := len(upstream.requests()); n != before {
			t.Errorf("the upstream received %d requests", n-before)
		}
	})
	t.Run("C16", func(t *testing.T) {
		c := b.raw(t, false)
		c.send(head("GET", "/get", "Expect: 100-continue\r\nContent-Length: 1\r\n") + "x")
		res, body, err := c.answer("GET")
		for err == nil && res.StatusCode == 100 {
			res, body, err = c.answer("GET")
		}
		if err != nil || res.StatusCode != 200 || body != "x" {
			t.Errorf("%v %q %v", res, body, err)
		}
	})
	for _, head := range upstream.requests() {
		if strings.Contains(strings.ToLower(head), "expect") {
			t.Errorf("the upstream saw %q", head)
		}
	}
}

// C19: an upstream that answers before it has the whole body loses its
// connection; nothing of the body is left on one that is used again.
func TestEarlyAnswersEndTheConnection(t *testing.T) {
	stop := make(chan struct{})
	b, upstream := newScriptBench(t, func(p *peer) {
		head := make([]byte, 16)
		for {
			if _, err := io.ReadFull(p.r, head); err != nil {
				return
			}
			if bytes.HasPrefix(head, []byte("GET ")) {
				p.reply("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine")
				return
			}
			p.reply("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nearly")
			<-stop // and never reads the rest
		}
	}, func(r *proxy.Route) { r.MaxBody = 64 << 20 })
	t.Cleanup(func() { close(stop) })
	token := b.token(t, "alice")
	for range 5 {
		c := b.raw(t, false)
		c.send(fmt.Sprintf("POST /upload HTTP/1.1\r\nHost: raw.gw.test\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", token, 10<<20))
		sent := make(chan error, 1)
		go func() { _, err := io.CopyN(c, zeros{}, 10<<20); sent <- err }()
		if res, body, err := c.answer("POST"); err != nil || res.StatusCode != 413 || body != "early" {
			t.Fatalf("%v %q %v", res, body, err)
		}
		c.Conn.(*net.TCPConn).Close()
		received(t, sent, "the end of the upload")
		if res, body := b.do(t, "GET", "http://raw.gw.test/next", token); res.StatusCode != 200 || body != "mine" {
			t.Errorf("the next request: %d %q", res.StatusCode, body)
		}
	}
	if n := len(upstream.all()); n != 10 {
		t.Errorf("10 requests used %d connections", n)
	}
}
