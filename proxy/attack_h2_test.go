package proxy_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Group A, C and D over HTTP/2, frame by frame. Nothing reaches an upstream, and
// a benign stream afterwards, on this connection or the next, gets its answer.
func TestAttacksOverHTTP2(t *testing.T) {
	b := newBench(t)
	token := b.token(t, "alice")
	auth := []string{"authorization", "Bearer " + token}
	head := func(fields ...string) []string { return append(fields, auth...) }
	for i, c := range []struct {
		id     string
		fields []string
		data   string
		want   string // a status, or "reset": of the stream or of the connection
	}{
		{"A27", head(":method", "POST", ":scheme", "https", ":authority", "app.gw.test", ":path", "pay.Svc/Do"), "", "reset"},
		{"A28", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", ""), "", "reset"},
		{"A28", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "*"), "", "400"},
		{"A28", head(":method", "OPTIONS", ":scheme", "https", ":authority", "app.gw.test", ":path", "*"), "", "400"},
		{"A28", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a\r\nX: y"), "", "reset"},
		{"A28", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a b"), "", "400"},
		{"A28", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a", ":path", "/b"), "", "reset"},
		{"A28", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a", "host", "evil.test"), "", "400"},
		{"A28", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a", "host", "app.gw.test", "host", "evil.test"), "", "400"},
		{"A28", head(":method", "GET", ":scheme", "https", ":path", "/a"), "", "400"},
		{"A28", head(":method", "GET", ":authority", "app.gw.test", ":path", "/a"), "", "reset"},
		{"A28", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test@evil.test", ":path", "/a"), "", "reset"},
		{"A28", head(":method", "GET", ":scheme", "https", ":authority", "evil.test", ":path", "/a"), "", "421"},
		{"A28", append(head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test"), ":path", "/a"), "", "reset"}, // after a field
		{"A28", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a", ":status", "200"), "", "reset"},
		{"A02", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/public/../admin"), "", "400"},
		{"C28", head(":method", "POST", ":scheme", "https", ":authority", "app.gw.test", ":path", "/long", "content-length", "5"), "6bytes", "reset"},
		{"C28", head(":method", "POST", ":scheme", "https", ":authority", "app.gw.test", ":path", "/short", "content-length", "5"), "4byt", "400"},
		{"C29", head(":method", "POST", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a", "transfer-encoding", "chunked"), "0\r\n\r\n", "400"},
		{"C29", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a", "connection", "x"), "", "400"},
		{"C29", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a", "upgrade", "websocket"), "", "400"},
		{"C29", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a", "te", "gzip"), "", "400"},
		{"C30", head(":method", "GET /x HTTP/1.1\r\nHost: y", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a"), "", "reset"},
		{"C30", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a", "x:y", "z"), "", "reset"},
		{"C30", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a", "x\r\ny", "z"), "", "reset"},
		{"C30", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a", "x", "y\r\nz: 1"), "", "reset"},
		{"C30", head(":method", "GET", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a", "X-Upper", "z"), "", "reset"},
		{"D12", head(":method", "TRACE", ":scheme", "https", ":authority", "app.gw.test", ":path", "/a"), "", "405"},
	} {
		conn := b.rawH2(t)
		id := conn.request(c.data == "", c.fields...)
		if c.data != "" {
			conn.WriteData(id, true, []byte(c.data))
		}
		e := conn.wait(id)
		got := e.status
		if e.reset != 0 || e.gone {
			got = "reset"
		}
		if got != c.want {
			t.Errorf("%s %q: %+v, want %s", c.id, c.fields[:len(c.fields)-2], e, c.want)
		}
		if e.gone {
			conn = b.rawH2(t)
		}
		path := fmt.Sprintf("/benign/%d", i)
		id = conn.request(true, get("app.gw.test", path, token)...)
		if e := conn.wait(id); e.status != "200" || !strings.Contains(e.body, path) {
			t.Errorf("%s: then a benign stream got %+v", c.id, e)
		}
	}
	for _, r := range b.u1.requests() { // C28's header may be there before its body is known to be wrong
		if !strings.HasPrefix(r.RequestURI, "/benign/") && r.RequestURI != "/long" && r.RequestURI != "/short" {
			t.Errorf("the upstream saw %s", r.RequestURI)
		}
	}
	for _, e := range b.records(t) {
		if (e.Path == "/long" || e.Path == "/short") && e.Kind == "outcome" && e.Code == "completed" {
			t.Errorf("recorded: %+v", e)
		}
	}
}

// A request that is too much for HTTP/2's own limits does not cost the others
// on its connection theirs.
func TestLimitsOfHTTP2(t *testing.T) {
	b := newBench(t)
	token := b.token(t, "alice")
	conn := b.rawH2(t)
	id := conn.request(true, get("app.gw.test", "/x", token, "big", strings.Repeat("x", 15<<10))...)
	if e := conn.wait(id); e.status != "200" {
		t.Errorf("a header of 15 KiB: %+v", e)
	}
	// one field in CONTINUATION frames without end: the gateway gives up
	conn = b.rawH2(t)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "app.gw.test"}, {":path", "/x"}} {
		encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	conn.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true})
	for range 1000 {
		block.Reset()
		encoder.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("y", 1000)})
		if conn.WriteContinuation(1, false, block.Bytes()) != nil {
			break
		}
	}
	if e := conn.wait(1); !e.gone && e.status == "" {
		t.Errorf("a header without end: %+v", e)
	}
}

// C32: streams of two callers on one connection are each their own.
func TestStreamsOfOneConnectionStandForThemselves(t *testing.T) {
	b := newBench(t)
	client := b.client()
	defer client.CloseIdleConnections()
	alice, carol := b.token(t, "alice"), b.token(t, "carol")
	var streams sync.WaitGroup
	slots := make(chan struct{}, 50)
	for i := range 1000 {
		slots <- struct{}{}
		streams.Go(func() {
			defer func() { <-slots }()
			for _, c := range []struct {
				method, host, token string
				status              int
			}{
				{"GET", "app", alice, 200}, {"POST", "pay", carol, 200}, {"GET", "app", carol, 403}, {"POST", "pay", alice, 403}, {"GET", "app", "", 401},
			} {
				// one name, so that net/http uses one connection; the authority says which
				url := fmt.Sprintf("https://gw.test/%s/%d", c.host, i)
				if err := sends(client, c.method, url, c.host+".gw.test", c.token, c.status); err != nil {
					t.Error(err)
				}
			}
		})
	}
	streams.Wait()
	for name, u := range map[string]*upstream{"app": b.u1, "pay": b.u2} {
		seen := u.requests()
		if len(seen) != 1000 {
			t.Errorf("%s received %d requests", name, len(seen))
		}
		for _, r := range seen {
			want := map[string][2]string{"app": {"Bearer " + canary1, ""}, "pay": {"", canary2}}[name]
			if got := [2]string{r.Header.Get("Authorization"), r.Header.Get("X-Api-Key")}; got != want || !strings.HasPrefix(r.RequestURI, "/"+name) {
				t.Fatalf("%s received %s with %q", name, r.RequestURI, got)
			}
		}
	}
}
