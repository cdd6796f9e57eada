package proxy_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
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
