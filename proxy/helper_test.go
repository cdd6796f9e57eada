package proxy_test

import (
	"context"
	"fmt"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"testing"
)

// withHints sends the header of each informational response to hints.
func withHints(r *http.Request, hints chan<- http.Header) *http.Request {
	return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, header textproto.MIMEHeader) error { hints <- http.Header(header); return nil },
	}))
}

// restart puts another server in the place of the one without TLS.
func (b *bench) restart(t *testing.T, server *http.Server) {
	t.Helper()
	b.plain.CloseClientConnections()
	b.plain.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.plain = &httptest.Server{Config: server, Listener: listener}
	b.plain.Start()
	t.Cleanup(func() { b.plain.CloseClientConnections(); b.plain.Close() })
}

// watched remembers what policy was asked last.
type watched struct {
	proxy.Decider
	in policy.Input
}

func (w *watched) Decide(ctx context.Context, in policy.Input) (policy.Decision, error) {
	w.in = in
	return w.Decider.Decide(ctx, in)
}

// net/http complains about misbehaving upstreams to the standard logger.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// sends says whether a request with that Host gets that status.
func sends(client *http.Client, method, url, host, token string, status int) error {
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		return err
	}
	r.Host = host
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != status {
		return fmt.Errorf("%s %s of %s: %d %s, want %d (%v)", method, url, host, res.StatusCode, body, status, err)
	}
	return nil
}
