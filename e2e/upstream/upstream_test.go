package upstream_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/e2e/upstream"
)

func TestCredentialIsDemandedAndRequestsAreKept(t *testing.T) {
	u, err := upstream.Start(t.Context(), "X-Api-Key", "CANARY-U2")
	if err != nil {
		t.Fatal(err)
	}
	send := func(target string, keys ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", u.URL+target, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header["X-Api-Key"] = keys
		req.Header.Set("X-Request-Id", "attempt-1")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, ""
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	u.Accept("CANARY-U2-next")
	for _, c := range []struct {
		target string
		keys   []string
		status int
		answer string
	}{
		{"/v1/x?b;c&a=%20", []string{"CANARY-U2"}, 200, `{"bytes":4,"method":"POST","target":"/v1/x?b;c\u0026a=%20"}` + "\n"},
		{"/v1/x", []string{"CANARY-U2-next"}, 200, `{"bytes":4,"method":"POST","target":"/v1/x"}` + "\n"},
		{"/v1/x", []string{"guess"}, 401, "wrong credential\n"},
		{"/v1/x", nil, 401, "wrong credential\n"},
		{"/v1/x", []string{"CANARY-U2", "CANARY-U2"}, 401, "wrong credential\n"},
		{"/status/503", []string{"CANARY-U2"}, 503, `{"bytes":4,"method":"POST","target":"/status/503"}` + "\n"},
		{"/reflect", []string{"CANARY-U2"}, 200, "you sent CANARY-U2"},
		{"/stream", []string{"CANARY-U2"}, 200, "data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4\n\n"},
		{"/close", []string{"CANARY-U2"}, 0, ""},
	} {
		if status, answer := send(c.target, c.keys...); status != c.status || answer != c.answer {
			t.Errorf("%s with %q: %d %q", c.target, c.keys, status, answer)
		}
	}
	u.Retire()
	if status, _ := send("/", "CANARY-U2"); status != 401 {
		t.Errorf("a retired credential: %d", status)
	}
	if err := u.Wait(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	uses := u.Uses()
	if got := uses[1].String(); got != "POST /v1/x credential=2 status=200" {
		t.Errorf("%s", got)
	}
	if uses[0].Attempt != "attempt-1" || string(uses[0].Body) != "body" || uses[0].Target != "/v1/x?b;c&a=%20" {
		t.Errorf("%+v", uses[0])
	}
	if raw := u.Raw(); !bytes.HasPrefix(raw, []byte("POST /v1/x?b;c&a=%20 HTTP/1.1\r\n")) || !bytes.Contains(raw, []byte("\r\n\r\nbody")) {
		t.Errorf("raw: %q", raw)
	}
}

func TestWithoutAHeaderNothingIsDemanded(t *testing.T) {
	u, err := upstream.Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(u.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

func TestHeldRequestsEndAtTheirRelease(t *testing.T) {
	u, err := upstream.Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	stream, err := http.Get(u.URL + "/hold")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	first := make([]byte, len("data: first\n\n"))
	if _, err := io.ReadFull(stream.Body, first); err != nil || string(first) != "data: first\n\n" {
		t.Fatalf("%q, %v", first, err)
	}
	slow := make(chan int)
	go func() {
		resp, err := http.Get(u.URL + "/wait")
		if err != nil {
			t.Error(err)
			close(slow)
			return
		}
		resp.Body.Close()
		slow <- resp.StatusCode
	}()
	if err := u.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	u.Release()
	if rest, err := io.ReadAll(stream.Body); err != nil || string(rest) != "data: last\n\n" {
		t.Errorf("%q, %v", rest, err)
	}
	if status := <-slow; status != 200 {
		t.Errorf("the slow answer has status %d", status)
	}
}

func TestWebSocketSendsBack(t *testing.T) {
	u, err := upstream.Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", u.URL+"/ws", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	req.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==") // RFC 6455 section 1.3
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("%s, %v", resp.Status, resp.Header)
	}
	conn := resp.Body.(io.ReadWriter)
	if _, err := io.WriteString(conn, "to and fro"); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, 2+len("to and fro"))
	if _, err := io.ReadFull(conn, back); err != nil || string(back) != "\x81\x0ato and fro" {
		t.Errorf("%q, %v", back, err)
	}
}
