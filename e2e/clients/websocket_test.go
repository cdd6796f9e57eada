package clients_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

const (
	webSocketRoute = `{name: ws, match: [/ws], upstream: "%s", secret: prod/team-dev/WS_KEY, inject: bearer}`
	largest        = 1 << 20 // of the messages
)

// echoes sends back every message as it came. It ends when it is told how:
// "close 4001 reason" in so many words, or "vanish" without any.
func echoes(mode websocket.CompressionMode) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols: []string{"chat.v2", "chat.v1"}, CompressionMode: mode, InsecureSkipVerify: true, // origins are the gateway's
		})
		if err != nil {
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(2 * largest)
		for {
			kind, data, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			var code websocket.StatusCode
			var reason string
			switch n, _ := fmt.Sscanf(string(data[:min(len(data), 100)]), "close %d %s", &code, &reason); {
			case n == 2:
				conn.Close(code, reason)
				return
			case string(data) == "vanish":
				return
			}
			if err := conn.Write(r.Context(), kind, data); err != nil {
				return
			}
		}
	})
}

var compressions = map[string]websocket.CompressionMode{
	"none": websocket.CompressionDisabled, "each message": websocket.CompressionNoContextTakeover, "the stream": websocket.CompressionContextTakeover,
}

func TestWebSocketOfGo(t *testing.T) {
	t.Parallel()
	w := open(t)
	// The service compresses when it is asked to, and is not.
	u := w.upstream("Authorization", "Bearer "+w.secret("WS_KEY"), echoes(websocket.CompressionContextTakeover))
	token := w.token("alice")
	for _, g := range w.serve(fmt.Sprintf(webSocketRoute, u.URL)) {
		for name, mode := range compressions {
			t.Run(g.name+"/"+name, func(t *testing.T) {
				conn, resp, err := w.dial(t, g, token, &websocket.DialOptions{Subprotocols: []string{"chat.v1"}, CompressionMode: mode, CompressionThreshold: 1})
				if err != nil {
					t.Fatal(err)
				}
				if got := conn.Subprotocol(); got != "chat.v1" {
					t.Errorf("the subprotocol is %q", got)
				}
				// Compressed, the gateway could not look for the credential in them.
				if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != "" {
					t.Errorf("the extensions are %q", got)
				}
				for kind, data := range map[websocket.MessageType][]byte{
					websocket.MessageText: []byte(strings.Repeat("grüße ", largest/7)), websocket.MessageBinary: document[:largest],
				} {
					for _, data := range [][]byte{nil, data[:1], data[:100], data} {
						if kind == websocket.MessageText && len(data) == 1 { // whole characters
							data = []byte("g")
						}
						back(t, conn, kind, data)
					}
				}
				pinged, reading := make(chan error), conn.CloseRead(t.Context())
				go func() { pinged <- conn.Ping(reading) }()
				if err := <-pinged; err != nil {
					t.Errorf("ping: %v", err)
				}
			})
		}
		t.Run(g.name+"/ends", func(t *testing.T) {
			for said, want := range map[string]websocket.StatusCode{
				"close 4001 because": 4001, "close 1000 done": 1000, "close 1011 broken": websocket.StatusInternalError, "vanish": -1,
			} {
				conn, _, err := w.dial(t, g, token, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := conn.Write(t.Context(), websocket.MessageText, []byte(said)); err != nil {
					t.Fatal(err)
				}
				_, _, err = conn.Read(t.Context())
				if got := websocket.CloseStatus(err); got != want {
					t.Errorf("%q: %d (%v), want %d", said, got, err, want)
				}
				if closed, ok := errors.AsType[websocket.CloseError](err); ok && !strings.HasSuffix(said, " "+closed.Reason) {
					t.Errorf("%q: the reason is %q", said, closed.Reason)
				}
			}
			// The caller may be the one who ends it, and hears that it was heard.
			conn, _, err := w.dial(t, g, token, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(4002, "mine"); err != nil {
				t.Errorf("the caller's close: %v", err)
			}
		})
		t.Run(g.name+"/refused", func(t *testing.T) {
			before := u.uses()
			for who, want := range map[string]int{"carol": 403, "expired:alice": 401} {
				_, resp, err := w.dial(t, g, w.token(who), nil)
				if err == nil || resp == nil || resp.StatusCode != want {
					t.Errorf("%s: %v %v, want %d", who, resp, err, want)
				}
			}
			if _, resp, err := w.dial(t, g, token, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://evil.example"}}}); err == nil || resp == nil || resp.StatusCode != 403 {
				t.Errorf("from a foreign page: %v %v, want 403", resp, err)
			}
			if got := u.uses(); got != before {
				t.Errorf("%d refused requests reached the service", got-before)
			}
		})
	}
}

// dial opens a WebSocket with a caller's token. It ends with the test.
func (w *world) dial(t *testing.T, g gateway, token string, options *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	if options == nil {
		options = &websocket.DialOptions{}
	}
	transport := &http.Transport{TLSClientConfig: w.trust.Clone()} // HTTP/1.1: RFC 6455
	options.HTTPClient = &http.Client{Transport: transport}
	if options.HTTPHeader == nil {
		options.HTTPHeader = http.Header{}
	}
	options.HTTPHeader.Set("Authorization", "Bearer "+token)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, g.url+"/ws", options)
	if err == nil {
		conn.SetReadLimit(2 * largest)
		t.Cleanup(func() {
			conn.CloseNow()
			transport.CloseIdleConnections()
		})
	}
	return conn, resp, err
}

// back sends a message and wants it back.
func back(t *testing.T, conn *websocket.Conn, kind websocket.MessageType, data []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := conn.Write(ctx, kind, data); err != nil {
		t.Fatal(err)
	}
	gotKind, got, err := conn.Read(ctx)
	if err != nil || gotKind != kind || !bytes.Equal(got, data) {
		t.Fatalf("%v of %d bytes came back as %v of %d, %v", kind, len(data), gotKind, len(got), err)
	}
}

// Node has two clients: the package ws, and one of its own.
func TestWebSocketOfNode(t *testing.T) {
	t.Parallel()
	w := open(t)
	u := w.upstream("Authorization", "Bearer "+w.secret("WS_KEY"), echoes(websocket.CompressionContextTakeover))
	gateways := w.serve(fmt.Sprintf(webSocketRoute, u.URL))
	for _, client := range []string{"ws", "built-in"} {
		t.Run(client, func(t *testing.T) {
			var flags []string
			if client == "built-in" {
				flags = []string{"--experimental-websocket"} // until Node 22
				if err := exec.CommandContext(t.Context(), bench.Need(t, "node"), append(flags, "-e", "WebSocket")...).Run(); err != nil {
					t.Skip("this Node has no WebSocket of its own")
				}
			}
			for _, g := range gateways {
				s := w.node(t, "websocket.mjs", map[string]any{
					"url": strings.Replace(g.url, "http", "ws", 1) + "/ws", "client": client, "largest": largest,
					"tokens": map[string]string{"agent": w.token("agent-1"), "other": w.token("agent-2"), "expired": w.token("expired:agent-1")},
				}, flags...)
				if got := s.hear("open"); got.Text != "chat.v1" || got.Kind != "" {
					t.Errorf("%s: the subprotocol is %q, the extension %q", g.name, got.Text, got.Kind)
				}
				s.hear("echoed")
				if got := s.hear("closed"); got.Status != 4001 || got.Text != "because" {
					t.Errorf("%s: closed with %d %q", g.name, got.Status, got.Text)
				}
				for who, want := range map[string]int{"other": 403, "expired": 401} {
					s.say(map[string]string{"who": who})
					if got := s.hear("error"); got.Status != want && client == "ws" || got.Kind == "none" {
						t.Errorf("%s: the %s agent got %+v, want %d", g.name, who, got, want)
					}
				}
			}
		})
	}
}
