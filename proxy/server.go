package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// NewServer returns an HTTP server with the limits that the first step of the
// life of a request relies on. Requests live in ctx: cancelling it ends the
// streams and WebSockets that Shutdown leaves open. config is nil for a
// listener without TLS, which then speaks HTTP/1 only: h2c is off.
func NewServer(ctx context.Context, handler http.Handler, config *tls.Config) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(config != nil)
	return &http.Server{
		Handler:   handler,
		TLSConfig: config,
		Protocols: protocols,
		// net/http answers OPTIONS * by itself otherwise, past every step.
		DisableGeneralOptionsHandler: true,
		MaxHeaderBytes:               60 << 10, // 64 KiB with net/http's own slack; more is 431
		ReadHeaderTimeout:            10 * time.Second,
		IdleTimeout:                  2 * time.Minute,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 100,
			SendPingTimeout:      30 * time.Second, // a caller that is gone without a word is found out
			PingTimeout:          15 * time.Second,
		},
		BaseContext: func(net.Listener) context.Context { return ctx },
		// what net/http logs quotes what callers sent
		ErrorLog: silent,
	}
}
