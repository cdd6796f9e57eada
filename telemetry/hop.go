package telemetry

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
)

// maxReply is what a collector may answer: a success is a few bytes.
const maxReply = 64 << 10

// hop is the last step to a collector over HTTP. It puts the headers on, so
// that no exporter's configuration holds them, and keeps what a collector
// answers out of the exporter's errors.
type hop struct {
	headers map[string]func() string
	next    *http.Transport
	status  atomic.Int64 // of the last answer
}

// RoundTrip implements http.RoundTripper.
func (h *hop) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, value := range h.headers {
		r.Header.Set(name, value())
	}
	h.status.Store(0)
	resp, err := h.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	h.status.Store(int64(resp.StatusCode))
	// The reason phrase and the body of a failure end up in the exporter's
	// error. Either may repeat our headers.
	resp.Status = fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		resp.Body.Close()
		resp.Body = http.NoBody
		return resp, nil
	}
	resp.Body = capped{io.LimitReader(resp.Body, maxReply), resp.Body}
	return resp, nil
}

type capped struct {
	io.Reader
	io.Closer
}

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (h *hop) CloseIdleConnections() {
	h.next.CloseIdleConnections()
}

// client is an HTTP client for the target. It follows no redirect: that would
// take the headers to whatever host a collector, or who poses as it, names.
func (t target) client() (*http.Client, *hop) {
	h := &hop{headers: t.headers, next: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        t.tls,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // so that maxReply is what arrives, not what unpacks
		TLSHandshakeTimeout:    t.timeout,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxReply,
	}}
	return &http.Client{
		Transport:     h,
		Timeout:       t.timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, h
}

// conn is a gRPC connection to the target. It connects when first used, and
// without TLS only where the URL says http.
func (t target) conn(handshake *atomic.Pointer[error]) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if t.tls != nil {
		creds = witness{credentials.NewTLS(t.tls.Clone()), handshake}
	}
	address := t.url.Host
	if t.url.Port() == "" {
		address += map[bool]string{true: ":443", false: ":4317"}[t.tls != nil]
	}
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(creds),
		grpc.WithDisableServiceConfig(), // a DNS record must not configure retries
		grpc.WithMaxHeaderListSize(maxReply),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply), grpc.UseCompressor(gzip.Name)),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			for name, value := range t.headers {
				ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(name), value())
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}))
}

// witness keeps why the last TLS handshake failed.
type witness struct {
	credentials.TransportCredentials
	failure *atomic.Pointer[error]
}

func (w witness) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if w.failure.Store(nil); err != nil {
		w.failure.Store(&err)
	}
	return conn, info, err
}

func (w witness) Clone() credentials.TransportCredentials {
	return witness{w.TransportCredentials.Clone(), w.failure}
}
