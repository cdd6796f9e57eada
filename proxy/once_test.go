package proxy_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/vaultspan/vaultspan/audit"
)

// shapes are requests that some client or proxy repeats on its own.
func shapes() []string {
	var all []string
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH"} {
		for _, body := range []string{"", "Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"} {
			for _, key := range []string{"", "Idempotency-Key: k\r\n", "X-Idempotency-Key: k\r\n"} {
				all = append(all, method+"|"+body+"|"+key)
			}
		}
	}
	return all
}

// request spells a shape out.
func request(shape, target, token string) (method, bytes string) {
	parts := strings.Split(shape, "|")
	body := map[string]string{"": "", "C": "body", "T": "4\r\nbody\r\n0\r\n\r\n"}[parts[1][:min(1, len(parts[1]))]]
	return parts[0], fmt.Sprintf("%s %s HTTP/1.1\r\nHost: raw.gw.test\r\nAuthorization: Bearer %s\r\n%s%s\r\n%s", parts[0], target, token, parts[1], parts[2], body)
}

// attempts counts the intents of a target, and of those the ones that have an
// outcome with the code.
func attempts(events []audit.Event, target, code string) (intents, outcomes int) {
	for _, e := range events {
		switch {
		case e.Path != target:
		case e.Kind == audit.KindIntent:
			intents++
		case e.Kind == audit.KindOutcome && e.Code == code:
			outcomes++
		}
	}
	return intents, outcomes
}

// N19, FU01, FU03: a request on a kept connection that turns out to be dead is
// answered with 502, and was sent once.
func TestNothingIsSentTwiceOverHTTP1(t *testing.T) {
	b, upstream := newScriptBench(t, func(p *peer) {
		for {
			head, _, err := p.request()
			switch {
			case err != nil:
				return
			case strings.HasPrefix(target(head), "/reset"):
				p.Conn.(*net.TCPConn).SetLinger(0)
				return
			case strings.HasPrefix(target(head), "/close"):
				return
			case strings.HasPrefix(target(head), "/half"):
				p.reply("HTTP/1.1 200 OK\r\nContent-Le")
				return
			}
			p.reply("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	token := b.token(t, "alice")
	want := map[string]int{}
	for _, how := range []string{"close", "reset", "half"} {
		for i, shape := range shapes() {
			warm := b.raw(t, false)
			_, bytes := request("GET||", "/warm", token)
			warm.send(bytes)
			if res, _, err := warm.answer("GET"); err != nil || res.StatusCode != 200 {
				t.Fatalf("warming: %v %v", res, err)
			}
			path := fmt.Sprintf("/%s/%d", how, i)
			want[path] = 1
			c := b.raw(t, false)
			method, bytes := request(shape, path, token)
			c.send(bytes)
			res, body, err := c.answer(method)
			if err != nil || res.StatusCode != http.StatusBadGateway || method != "HEAD" && !strings.Contains(body, `"upstream-reset"`) {
				t.Fatalf("%s %q: %v %v %s", how, shape, res, err, body)
			}
		}
	}
	seen := map[string]int{}
	for _, head := range upstream.requests() {
		if target(head) != "/warm" {
			seen[target(head)]++
		}
	}
	if !maps.Equal(seen, want) {
		t.Errorf("the upstream saw %v", seen)
	}
	events := b.records(t)
	for path := range want {
		if intents, outcomes := attempts(events, path, "upstream-reset"); intents != 1 || outcomes != 1 {
			t.Errorf("%s has %d intents and %d outcomes upstream-reset", path, intents, outcomes)
		}
	}
}

// N19, FU03: the same where HTTP/2 lets a client repeat what it sent.
func TestNothingIsSentTwiceOverHTTP2(t *testing.T) {
	b, upstream := newFramesBench(t, func(c *frameConn, f *http2.MetaHeadersFrame) {
		switch path := f.PseudoValue("path"); {
		case strings.HasPrefix(path, "/refused"):
			c.WriteRSTStream(f.StreamID, http2.ErrCodeRefusedStream)
		case strings.HasPrefix(path, "/protocol"):
			c.WriteRSTStream(f.StreamID, http2.ErrCodeProtocol)
		case strings.HasPrefix(path, "/goaway"):
			c.WriteGoAway(0, http2.ErrCodeNo, nil)
			c.Close()
		case strings.HasPrefix(path, "/close"):
			c.Close()
		default:
			c.headers(f.StreamID, true, ":status", "200")
		}
	})
	token := b.token(t, "alice")
	want := map[string]int{}
	for _, how := range []string{"refused", "protocol", "goaway", "close"} {
		for i, shape := range shapes() {
			warm := b.raw(t, false)
			_, bytes := request("GET||", "/warm", token)
			warm.send(bytes)
			if res, _, err := warm.answer("GET"); err != nil || res.StatusCode != 200 {
				t.Fatalf("warming: %v %v", res, err)
			}
			path := fmt.Sprintf("/%s/%d", how, i)
			want[path] = 1
			c := b.raw(t, false)
			method, bytes := request(shape, path, token)
			c.send(bytes)
			res, body, err := c.answer(method)
			if err != nil || res.StatusCode != http.StatusBadGateway {
				t.Fatalf("%s %q: %v %v %s", how, shape, res, err, body)
			}
		}
	}
	seen := map[string]int{}
	for _, f := range upstream.requests() {
		if path := f.PseudoValue("path"); path != "/warm" {
			seen[path]++
		}
	}
	if !maps.Equal(seen, want) {
		t.Errorf("the upstream saw %v", seen)
	}
	events := b.records(t)
	for path := range want {
		if intents, outcomes := attempts(events, path, "upstream-reset"); intents != 1 || outcomes != 1 {
			t.Errorf("%s has %d intents and %d outcomes upstream-reset", path, intents, outcomes)
		}
	}
}

// What a request without a body looks like is not changed by being sent once.
func TestBodylessRequestsAreFramedAsUsual(t *testing.T) {
	b, upstream := newScriptBench(t, mirror)
	token := b.token(t, "alice")
	framing := map[string]string{"POST": "Content-Length: 0\r\n", "PUT": "Content-Length: 0\r\n", "PATCH": "Content-Length: 0\r\n"}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH"} {
		c := b.raw(t, false)
		c.send(method + " /x HTTP/1.1\r\nHost: raw.gw.test\r\nAuthorization: Bearer " + token + "\r\nA: b\r\n\r\n")
		res, _, err := c.answer(method)
		if err != nil {
			t.Fatal(err)
		}
		all := upstream.requests()
		want := fmt.Sprintf("%s /x HTTP/1.1\r\nHost: %s\r\n%sA: b\r\nAccept-Encoding: identity\r\nAuthorization: Bearer %s\r\nX-Request-Id: %s-1\r\n\r\n",
			method, upstream.Addr(), framing[method], canary1, res.Header.Get("X-Request-Id"))
		if got := all[len(all)-1]; got != want {
			t.Errorf("%s: the upstream saw\n%q, want\n%q", method, got, want)
		}
	}
}

func TestBodylessRequestsAreFramedAsUsualOverHTTP2(t *testing.T) {
	b, upstream := newFramesBench(t, func(c *frameConn, f *http2.MetaHeadersFrame) { c.headers(f.StreamID, true, ":status", "204") })
	token := b.token(t, "alice")
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH"} {
		b.do(t, method, "http://raw.gw.test/x", token)
		all := upstream.requests()
		f := all[len(all)-1]
		var length []string
		for _, field := range f.Fields {
			if field.Name == "content-length" {
				length = append(length, field.Value)
			}
		}
		var want []string
		if slices.Contains([]string{"POST", "PUT", "PATCH"}, method) {
			want = []string{"0"}
		}
		if !f.StreamEnded() || !slices.Equal(length, want) {
			t.Errorf("%s: the header ends the stream: %v, content-length %v", method, f.StreamEnded(), length)
		}
	}
}
