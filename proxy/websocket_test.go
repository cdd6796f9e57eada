package proxy_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"
)

// socket opens a WebSocket through the gateway.
func (b *bench) socket(t *testing.T, url, token string, header ...string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	h := http.Header{"Authorization": {"Bearer " + token}}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	client := b.client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, res, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client, HTTPHeader: h})
	if err == nil {
		t.Cleanup(func() { c.CloseNow() })
	}
	return c, res, err
}

// echo is an upstream that answers each message with itself.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"chat"}})
	if err != nil {
		return
	}
	defer c.CloseNow()
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

func TestWebSocketsGoBothWays(t *testing.T) { // N22
	b := newBench(t)
	b.u2.handler = echo
	for _, scheme := range []string{"ws", "wss"} {
		c, res, err := b.socket(t, scheme+"://ws.gw.test/"+scheme, b.token(t, "alice"), "Origin", "https://good.test")
		if err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %d, X-Request-Id %q", scheme, res.StatusCode, res.Header.Get("X-Request-Id"))
		}
		for _, message := range []string{"hello", strings.Repeat("x", 20_000)} {
			if err := c.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := c.Read(t.Context()); err != nil || string(got) != message {
				t.Fatalf("%s: %d bytes became %d, %v", scheme, len(message), len(got), err)
			}
		}
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("%s: closing: %v", scheme, err)
		}
		if got := b.u2.last(t).Header.Get("Authorization"); got != "Bearer "+canary1 {
			t.Errorf("%s: the upstream saw Authorization %q", scheme, got)
		}
	}
	events := b.records(t)
	for _, path := range []string{"/ws", "/wss"} {
		if e := outcome(t, events, path); e.Code != "completed" || e.Status != 101 || e.Sent < 20_005 || e.Received < 20_005 {
			t.Errorf("%s ended as %+v", path, e)
		}
	}
}

// handshake spells a WebSocket handshake, with fields changed or added.
func handshake(token string, change ...string) string {
	fields := map[string]string{
		"Host": "ws.gw.test", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Authorization": "Bearer " + token,
	}
	for i := 0; i < len(change); i += 2 {
		fields[change[i]] = change[i+1]
	}
	var s strings.Builder
	s.WriteString("GET /socket HTTP/1.1\r\n")
	for name, value := range fields {
		if value != "" {
			fmt.Fprintf(&s, "%s: %s\r\n", name, value)
		}
	}
	return s.String() + "\r\n"
}

func TestOnlyWebSocketUpgradesPass(t *testing.T) {
	b := newBench(t)
	token := b.token(t, "alice")
	for _, c := range []struct {
		id     string
		change []string
		code   string
	}{
		{"D02", []string{"Upgrade", "foo"}, "upgrade-unsupported"},
		{"D02", []string{"Upgrade", "TLS/1.0"}, "upgrade-unsupported"},
		{"D02", []string{"Upgrade", "websocket, h2c"}, "upgrade-unsupported"},
		{"D02", []string{"Upgrade", "h2c", "HTTP2-Settings", "AAMAAABkAAQAAP__", "Connection", "Upgrade, HTTP2-Settings"}, "upgrade-unsupported"},
		{"D02", []string{"Upgrade", "websocket\r\nUpgrade: h2c"}, "upgrade-unsupported"},
		{"D02", []string{"Connection", ""}, "upgrade-unsupported"},
		{"D02", []string{"Upgrade", ""}, "upgrade-unsupported"},
		{"D02", []string{"Content-Length", "4"}, "upgrade-unsupported"},
		{"D02", []string{"Sec-WebSocket-Key", ""}, "upgrade-unsupported"},
		{"D04", []string{"Origin", "https://evil.test"}, "origin-denied"},
		{"D04", []string{"Origin", "null"}, "origin-denied"},
		{"D04", []string{"Origin", "https://good.test.evil.test"}, "origin-denied"},
		{"D04", []string{"Origin", "http://good.test"}, "origin-denied"},
		{"D04", []string{"Origin", "https://good.test\r\nOrigin: https://good.test"}, "origin-denied"},
	} {
		t.Run(c.id+" "+strings.Join(c.change, " "), func(t *testing.T) {
			conn := b.raw(t, false)
			conn.send(handshake(token, c.change...) + "body")
			res, body, err := conn.answer("GET")
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]int{"upgrade-unsupported": 400, "origin-denied": 403}[c.code]
			refused(t, res, body, want, c.code)
		})
	}
	if n := len(b.u2.requests()); n != 0 {
		t.Errorf("the upstream was reached %d times", n)
	}
}

func TestUpstreamCannotSwitchProtocolsAsItLikes(t *testing.T) {
	answer := ""
	b, _ := newScriptBench(t, func(p *peer) {
		if _, _, err := p.request(); err == nil {
			p.reply("HTTP/1.1 101 Switching Protocols\r\n" + answer + "\r\nsecond protocol")
			p.request()
		}
	})
	token := b.token(t, "alice")
	const accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" // RFC 6455 section 1.3
	for _, c := range []struct{ id, answer, request string }{
		{"C24", "Upgrade: websocket\r\nConnection: Upgrade\r\n" + accept, "GET /x HTTP/1.1\r\nHost: raw.gw.test\r\nAuthorization: Bearer " + token + "\r\n\r\n"},
		{"C24", "", "GET /x HTTP/1.1\r\nHost: raw.gw.test\r\nAuthorization: Bearer " + token + "\r\n\r\n"},
		{"C24", "Upgrade: h2c\r\nConnection: Upgrade\r\n", "POST /x HTTP/1.1\r\nHost: raw.gw.test\r\nContent-Length: 1\r\nAuthorization: Bearer " + token + "\r\n\r\nx"},
		{"D07", "Upgrade: h2c\r\nConnection: Upgrade\r\n" + accept, handshake(token, "Host", "raw.gw.test")},
		{"D07", "Upgrade: websocket\r\nConnection: Upgrade\r\n", handshake(token, "Host", "raw.gw.test")},
		{"D07", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n", handshake(token, "Host", "raw.gw.test")},
		{"D07", "Connection: Upgrade\r\n" + accept, handshake(token, "Host", "raw.gw.test")},
	} {
		answer = c.answer
		conn := b.raw(t, false)
		conn.send(c.request)
		res, body, err := conn.answer("GET")
		if err != nil {
			t.Fatalf("%s %q: %v", c.id, c.answer, err)
		}
		if res.StatusCode != http.StatusBadGateway || strings.Contains(body, "second") {
			t.Errorf("%s %q: %d %s", c.id, c.answer, res.StatusCode, body)
		}
	}
	answer = "Upgrade: WebSocket\r\nConnection: upgrade\r\n" + accept
	conn := b.raw(t, false)
	conn.send(handshake(token, "Host", "raw.gw.test"))
	if res, _, err := conn.answer("GET"); err != nil || res.StatusCode != 101 {
		t.Errorf("a good switch was refused: %v %v", res, err)
	}
}

func TestNoWebSocketOverHTTP2(t *testing.T) { // D08, D10: RFC 8441 is not offered
	b := newBench(t)
	c := b.rawH2(t)
	id := c.request(true, get("app.gw.test", "/x", b.token(t, "alice"))...)
	if e := c.wait(id); e.status != "200" {
		t.Fatalf("a plain request: %+v", e)
	}
	if v, ok := c.server[http2.SettingEnableConnectProtocol]; ok && v != 0 {
		t.Error("the gateway announces extended CONNECT")
	}
	id = c.request(false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "ws.gw.test", ":path", "/socket",
		"authorization", "Bearer "+b.token(t, "alice"), "sec-websocket-version", "13")
	if e := c.wait(id); e.status == "200" || e.status == "101" {
		t.Errorf("extended CONNECT was answered %+v", e)
	}
	c = b.rawH2(t)
	id = c.request(false, ":method", "CONNECT", ":authority", "app.gw.test", "authorization", "Bearer "+b.token(t, "alice"))
	c.WriteData(id, true, []byte("GET /smuggled HTTP/1.1\r\n\r\n"))
	if e := c.wait(id); e.status != "405" {
		t.Errorf("CONNECT was answered %+v", e)
	}
	if n := len(b.u2.requests()); n != 0 || len(b.u1.requests()) != 1 {
		t.Errorf("the upstreams were reached %d and %d times", len(b.u1.requests()), n)
	}
}
