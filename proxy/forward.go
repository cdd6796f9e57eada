package proxy

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/propagation"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// forward sends the request, and records the outcome when it is over: one attempt,
// one record. Redirects are passed on, never followed; nothing is sent twice, but
// what send records as a second attempt.
func (x *exchange) forward() (failure *refused) {
	ctx, cancel := context.WithCancelCause(x.ctx)
	defer cancel(nil)
	flow := newFlow(ctx, x, cancel)
	defer flow.stop()
	x.watch = &watch{x: x, cancel: cancel}
	defer func() {
		v := recover()
		code := completed
		switch {
		case v == http.ErrAbortHandler: // how httputil says that the copy of a body broke off
			code = flow.failure(ctx, io.ErrUnexpectedEOF).Code
		case v != nil:
			code = panicked
		case failure != nil:
			code = failure.Code
		case x.out.status == http.StatusSwitchingProtocols && context.Cause(ctx) != nil: // httputil does not say why
			code = flow.failure(ctx, io.ErrUnexpectedEOF).Code
		}
		if code != completed {
			x.span.SetAttributes(attr.ErrorType.String(code))
		}
		x.tally(flow)
		x.end(x.attempt, code)
		if v != nil {
			panic(v)
		}
	}()
	ctx = x.open(ctx, x.attempt)

	x.out.inbound = func(h http.Header) {
		x.inbound(h)
		x.watch.informational(h)
	}
	in := x.in.WithContext(ctx)
	in.Body = flow.request(x.in.Body)
	if x.out.carries {
		// Else net/http drains the caller's body when an upstream answers early,
		// and the upstream would take what is left of it for the whole.
		if err := http.NewResponseController(x.out).EnableFullDuplex(); err != nil {
			return internalError.from(err)
		}
	}
	(&httputil.ReverseProxy{
		Rewrite:        x.rewrite,
		Transport:      roundTripper(func(r *http.Request) (*http.Response, error) { return x.send(r, flow) }),
		ModifyResponse: func(r *http.Response) error { return x.accept(r, flow) },
		ErrorHandler:   func(_ http.ResponseWriter, _ *http.Request, err error) { failure = flow.failure(ctx, err) },
		ErrorLog:       silent,
		BufferPool:     buffers{},
	}).ServeHTTP(x.out, in)
	return failure
}

// rewrite makes the outgoing request from the parsed target and from nothing
// else; the raw query travels untouched.
func (x *exchange) rewrite(p *httputil.ProxyRequest) {
	r, out := x.route, p.Out
	out.URL = x.upstreamURL()
	out.Host = authorityOf(r.upstream)
	if r.Route.Host == "preserve" {
		out.Host = x.authority
	}
	upgrade := out.Header["Upgrade"]
	out.Header = x.watch.request(out.Header)
	if x.websocket {
		out.Header["Upgrade"], out.Header["Connection"] = upgrade, []string{"Upgrade"}
	}
	out.Trailer = nil // a trailer field could pass for a header field (RFC 9110 section 6.5.1)
	x.name(out)
	if r.says(r.Forwarded, "send") {
		out.Header.Set("X-Forwarded-For", x.client)
		out.Header.Set("X-Forwarded-Host", x.authority)
		out.Header.Set("X-Forwarded-Proto", x.settings.URL.Scheme)
	}
}

// name puts the attempt's id on a request, and its span where the upstream is
// to see it.
func (x *exchange) name(out *http.Request) {
	out.Header["X-Request-Id"] = []string{x.attempt.id}
	if x.route.says(x.route.Trace, "propagate") {
		propagation.TraceContext{}.Inject(out.Context(), propagation.HeaderCarrier(out.Header))
	}
}

// upstreamURL is where the target lies at the upstream. match made sure that
// strip is a prefix of the path.
func (x *exchange) upstreamURL() *url.URL {
	u := x.route.upstream
	path := strings.TrimSuffix(u.EscapedPath(), "/") + strings.TrimPrefix(x.target.path, x.route.Strip)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	plain, err := url.PathUnescape(path)
	if err != nil { // unreachable: both parts were checked
		plain = path
	}
	return &url.URL{
		Scheme: u.Scheme, Host: u.Host, Path: plain, RawPath: path,
		RawQuery: x.target.raw, ForceQuery: x.target.asks,
	}
}

// accept looks at the upstream's header before it is passed on.
func (x *exchange) accept(res *http.Response, flow *flow) error {
	if res.StatusCode == http.StatusSwitchingProtocols {
		if err := x.acceptUpgrade(res); err != nil {
			return err
		}
	}
	x.inbound(res.Header)
	x.route.headers.caching(res.Header)
	res.Trailer = nil // what it announces; the fields themselves are passed on when they come
	flow.response(res)
	return x.watch.response(res)
}

// acceptUpgrade is the client's part of RFC 6455 section 4.1: a switch that was
// not asked for, or not proven, is not passed on.
func (x *exchange) acceptUpgrade(res *http.Response) error {
	digest := sha1.Sum([]byte(x.in.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	switch {
	case !x.websocket || !strings.EqualFold(res.Header.Get("Upgrade"), "websocket"):
		return errUpgrade
	case res.Header.Get("Sec-Websocket-Accept") != base64.StdEncoding.EncodeToString(digest[:]):
		return errUpgrade
	}
	return nil
}

// authorityOf is a URL's host, with its port unless it is the scheme's own.
func authorityOf(u *url.URL) string {
	if u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
		return strings.TrimSuffix(strings.TrimSuffix(u.Host, u.Port()), ":")
	}
	return u.Host
}

// roundTripper makes a function an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// silent takes what net/http would log: it quotes callers and upstreams, and
// records say it already.
var silent = log.New(io.Discard, "", 0)

// buffers lends the 32 KiB that a body is copied through.
type buffers struct{}

var bufferPool = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func (buffers) Get() []byte  { return bufferPool.Get().(*[32 << 10]byte)[:] }
func (buffers) Put(b []byte) { bufferPool.Put((*[32 << 10]byte)(b)) }
