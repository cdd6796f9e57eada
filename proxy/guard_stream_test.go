package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/vaultspan/vaultspan/proxy"
)

// An event arrives before the upstream sends more, also one that ends in what may
// be the beginning of a credential; and a credential in pieces does not.
func TestEventsAreNotHeldBackByTheGuard(t *testing.T) {
	arrived := make(chan bool)
	each(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, piece := range []string{"data: one\n", "data: C", "data: %43%41%", "data: ends in " + canary1[:3], canary1[3:20], canary1[20:] + "\n", "data: \\u00", "data: last\n"} {
			io.WriteString(w, piece)
			w.(http.Flusher).Flush()
			if piece == canary1[3:20] {
				continue
			}
			select {
			case <-arrived:
			case <-r.Context().Done():
				return
			}
		}
	}, func(t *testing.T, b *bench, url string) {
		res := b.open(t, "GET", url+"/events", b.token(t, "alice"))
		for _, want := range []string{"data: one\n", "data: C", "data: %43%41%", "data: ends in " + canary1[:3], masked1[3:] + "\n", "data: \\u00", "data: last\n"} {
			got := make([]byte, len(want))
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
				t.Fatalf("%q, %v, want %q", got, err, want)
			}
			arrived <- true
		}
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) != 0 {
			t.Errorf("after the last event: %q %v", rest, err)
		}
	})
}

// tell is an upstream that sends its credential in two frames of one message, and
// then what it is told.
func tell(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	message, _ := c.Writer(r.Context(), websocket.MessageText)
	// The library sends a frame whenever its 4096 bytes are full.
	io.WriteString(message, strings.Repeat("x", 4096-20)+r.Header.Get("Authorization")+".")
	message.Close()
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if c.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

// J02: what an upstream says on a WebSocket is masked, or ends it.
func TestWebSocketsAreWatched(t *testing.T) {
	for _, guard := range []string{"mask", "block"} {
		b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
			b.tracer = sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())) // whether it is traced or not
			for i := range routes {
				routes[i].Guard = map[bool]string{true: guard}[routes[i].Secret != ""]
			}
			return routes
		})
		b.u2.handler = tell
		c, res, err := b.socket(t, "ws://ws.gw.test/ws", b.token(t, "alice"), "Origin", "https://good.test", "Sec-WebSocket-Extensions", "permessage-deflate")
		if err != nil {
			t.Fatal(err)
		}
		if got := b.u2.last(t).Header["Sec-Websocket-Extensions"]; got != nil || res.Header["Sec-Websocket-Extensions"] != nil {
			t.Errorf("%s: the upstream was offered %q", guard, got)
		}
		_, message, err := c.Read(t.Context())
		if guard == "block" {
			if err == nil || leaks(string(message)) {
				t.Errorf("block passes %q", message)
			}
		} else {
			if want := strings.Repeat("x", 4096-20) + "Bearer " + masked1 + "."; err != nil || string(message) != want {
				t.Fatalf("mask passes %q, %v", message, err)
			}
			for _, said := range []string{"hello", "", strings.Repeat("y", 30_000), "it is " + canary1[:3]} {
				if err := c.Write(t.Context(), websocket.MessageText, []byte(said)); err != nil {
					t.Fatal(err)
				}
				if _, message, err := c.Read(t.Context()); err != nil || string(message) != said {
					t.Fatalf("%.20q comes back as %.20q, %v", said, message, err)
				}
			}
			c.Close(websocket.StatusNormalClosure, "")
		}
		want := map[string]string{"mask": "frame masked", "block": "frame cut"}[guard]
		if e := outcome(t, b.records(t), "/ws"); e.Code != "secret-reflected" || e.Detail != want {
			t.Errorf("%s is recorded as %s, %s", guard, e.Code, e.Detail)
		}
	}
}

// An upstream that does not speak WebSocket after all, or with an extension, is
// not passed on.
func TestWhatCannotBeReadAsFramesIsCut(t *testing.T) {
	const accept = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	answer := ""
	b, _ := newScriptBench(t, func(p *peer) {
		if _, _, err := p.request(); err == nil {
			p.reply(accept + answer)
			p.request()
		}
	})
	token := b.token(t, "alice")
	for _, c := range []struct{ answer, passes string }{
		{"\r\n\x81\x02ok\x81\x81\x00\x00\x00\x00x", "\x81\x02ok"}, {"\r\n\xc1\x01x", ""}, {"\r\nHTTP/1.1 200 OK\r\n\r\n", ""},
	} {
		answer = c.answer
		conn := b.raw(t, false)
		conn.send(handshake(token, "Host", "raw.gw.test"))
		res, err := http.ReadResponse(conn.r, nil)
		if err != nil || res.StatusCode != 101 {
			t.Fatalf("%q: %v %v", c.answer, res, err)
		}
		if got := conn.ends(); got != c.passes && got != "" {
			t.Errorf("of %q passes %q", c.answer, got)
		}
	}
	answer = "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
	conn := b.raw(t, false)
	conn.send(handshake(token, "Host", "raw.gw.test"))
	res, body, err := conn.answer("GET")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, res, body, 502, "upstream-invalid")
	for _, e := range b.records(t) {
		if e.Kind == "outcome" && e.Code != "upstream-invalid" {
			t.Errorf("recorded as %s", e.Code)
		}
	}
}

// processor reports the time that this process, with callers and upstreams in it,
// was given: unlike the clock it does not count what others took.
func processor(b *testing.B) func() {
	used := func() (u syscall.Rusage) {
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return u
	}
	before := used()
	return func() {
		after := used()
		b.ReportMetric(float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano())/float64(b.N), "cpu-ns/op")
	}
}

// What the guard costs: each answer with and without it.
func BenchmarkGuard(b *testing.B) {
	kilobyte := `{"object":"charge","data":[` + strings.Repeat(`{"id":"ch_3MmlLrLkdIwHu7ix0snN0B15","amount":1099,"paid":true,"note":"a 'b'"},`, 12) + `{}]}`
	piece := []byte(strings.Repeat(kilobyte, 40)[:32<<10])
	const pieces = 100 << 20 / (32 << 10)
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch strings.TrimPrefix(r.URL.Path, "/base") {
		case "/json":
			io.WriteString(w, kilobyte)
		case "/stream":
			for range pieces {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: one\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}
	for _, guarded := range []bool{false, true} {
		bench := newBench(b, func(x *bench, routes []proxy.Route) []proxy.Route {
			x.u2.handler = handler
			for i := range routes {
				routes[i].Unguarded = routes[i].Secret != "" && !guarded
			}
			return routes
		})
		client, token := bench.client(), bench.token(b, "alice")
		defer client.CloseIdleConnections()
		get := func(b *testing.B, path string) *http.Response {
			r, _ := http.NewRequestWithContext(b.Context(), "GET", "http://api.gw.test/api"+path, nil)
			r.Header.Set("Authorization", "Bearer "+token)
			res, err := client.Do(r)
			if err != nil || res.StatusCode != 200 {
				b.Fatal(res, err)
			}
			return res
		}
		for path, size := range map[string]int64{"/json": int64(len(kilobyte)), "/stream": pieces * (32 << 10)} {
			b.Run(fmt.Sprintf("%s, guarded %v", path[1:], guarded), func(b *testing.B) {
				b.SetBytes(size)
				defer processor(b)()
				for b.Loop() {
					res := get(b, path)
					if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
						b.Fatal(n, err)
					}
					res.Body.Close()
				}
			})
		}
		b.Run(fmt.Sprintf("first event, guarded %v", guarded), func(b *testing.B) {
			defer processor(b)()
			for b.Loop() {
				res := get(b, "/events")
				if line, err := bufio.NewReader(res.Body).ReadString('\n'); line != "data: one\n" {
					b.Fatal(line, err)
				}
				res.Body.Close()
			}
		})
	}
}
