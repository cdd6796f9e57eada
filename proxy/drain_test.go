package proxy_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/proxy"
)

// What is under way when the gateway drains ends by itself; what comes later
// goes elsewhere; and when Wait returns, every outcome is recorded.
func TestDrainLetsRequestsEnd(t *testing.T) {
	b := newBench(t)
	release := make(chan struct{})
	b.u1.handler = func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first ")
		w.(http.Flusher).Flush()
		<-release
		io.WriteString(w, "last")
	}
	alice := b.token(t, "alice")
	open := []*http.Response{b.open(t, "GET", "http://app.gw.test/1", alice), b.open(t, "GET", "https://app.gw.test/2", alice)}
	b.gateway.Drain()
	ended := make(chan error, 2)
	for _, server := range []*http.Server{b.plain.Config, b.tls.Config} {
		go func() { ended <- server.Shutdown(t.Context()) }()
	}
	close(release)
	for _, res := range open {
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "first last" {
			t.Errorf("what was under way got %q %v", body, err)
		}
	}
	for range 2 {
		if err := received(t, ended, "the listeners to end"); err != nil {
			t.Error(err)
		}
	}
	b.gateway.Wait()
	events := b.records(t)
	for _, path := range []string{"/1", "/2"} {
		if e := outcome(t, events, path); e.Code != "completed" || e.Received != 10 {
			t.Errorf("%s ended as %+v", path, e)
		}
	}
}

// Requests that begin and end while somebody waits do no harm.
func TestWaitWhileRequestsArrive(t *testing.T) {
	b := newBench(t)
	b.gateway.Drain()
	done, client := make(chan struct{}), b.client()
	go func() {
		defer close(done)
		for range 200 {
			if err := sends(client, "GET", "http://app.gw.test/x", "app.gw.test", "", 503); err != nil {
				t.Error(err)
			}
		}
	}()
	for waiting := true; waiting; {
		b.gateway.Wait()
		select {
		case <-done:
			waiting = false
		default:
		}
	}
}

// N22: an open WebSocket is cut when the time to drain is over.
func TestDrainCutsWebSockets(t *testing.T) {
	b := newBench(t)
	b.u2.handler = echo
	ctx, end := context.WithCancelCause(t.Context())
	server := proxy.NewServer(ctx, b.gateway, nil)
	b.restart(t, server)
	c, _, err := b.socket(t, "ws://ws.gw.test/open", b.token(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	b.gateway.Drain()
	res, body := b.do(t, "GET", "http://app.gw.test/late", b.token(t, "alice"))
	refused(t, res, body, 503, "draining")
	if !res.Close {
		t.Error("a caller is not told to go elsewhere")
	}
	end(proxy.ErrDraining)
	if _, _, err := c.Read(t.Context()); err == nil {
		t.Error("the WebSocket was not cut")
	}
	done := make(chan struct{})
	go func() { b.gateway.Wait(); close(done) }()
	received(t, done, "the last request")
	if e := outcome(t, b.records(t), "/open"); e.Code != "draining" || e.Duration > time.Minute {
		t.Errorf("ended as %+v", e)
	}
}
