package proxy

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// forward is step 7, and 8 when it is over: one attempt, one record. Redirects
// are passed on, never followed; nothing is sent twice.
func (x *exchange) forward() (failure *refused) {
	ctx, cancel := context.WithCancelCause(x.ctx)
	defer cancel(nil)
	flow := newFlow(x, cancel)
	defer flow.stop()

	ctx, span := x.gateway.tracer().Start(ctx, methodName(x.in.Method)+" "+x.route.destination.Host,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(x.attemptAttributes()...))
	defer span.End()
	code := aborted // what is recorded if the copy of a body panics half-way
	defer func() {
		if x.status > 0 {
			span.SetAttributes(attr.HTTPResponseStatusCode.Int(x.status))
		}
		x.sent, x.received = flow.sent.Load(), flow.received.Load()
		if code == aborted {
			code = flow.reason(ctx)
		}
		x.outcome(code)
	}()

	in := x.in.WithContext(ctx)
	in.Body = flow.request(x.in.Body)
	(&httputil.ReverseProxy{
		Rewrite:        x.rewrite,
		Transport:      roundTripper(func(r *http.Request) (*http.Response, error) { return x.send(r, span) }),
		ModifyResponse: func(r *http.Response) error { return x.accept(r, flow) },
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			failure = flow.classify(ctx, err)
			span.SetAttributes(attr.ErrorType.String(failure.Code))
		},
		ErrorLog:   silent,
		BufferPool: buffers{},
	}).ServeHTTP(x.out, in)
	code = completed
	if failure != nil {
		code = failure.Code
		if failure.Code == clientAbort.Code {
			x.out.refusal = clientAbort.Code
			failure = nil // there is nobody to tell
		}
	}
	return failure
}

// rewrite makes the outgoing request from the parsed target and from nothing
// else; the raw query travels untouched.
func (x *exchange) rewrite(p *httputil.ProxyRequest) {
	r, out := x.route, p.Out
	path := strings.TrimSuffix(r.upstream.EscapedPath(), "/") + strings.TrimPrefix(x.target.path, strings.TrimSuffix(r.Strip, "/"))
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	plain, err := url.PathUnescape(path)
	if err != nil { // unreachable: both parts were checked
		plain = path
	}
	out.URL = &url.URL{Scheme: r.upstream.Scheme, Host: r.upstream.Host, Path: plain, RawPath: path, RawQuery: x.target.raw}
	out.Host = authorityOf(r.upstream)
	if r.Route.Host == "preserve" {
		out.Host = p.In.Host
	}
	upgrade := out.Header["Upgrade"]
	out.Header = r.headers.outbound(out.Header)
	if x.websocket {
		out.Header["Upgrade"], out.Header["Connection"] = upgrade, []string{"Upgrade"}
	}
	out.Trailer = nil // a trailer field could pass for a header field (RFC 9110 section 6.5.1)
	out.Header.Set("X-Request-Id", x.attempt)
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = nil // else net/http names itself
	}
	if r.says(r.Forwarded, "send") {
		out.Header.Set("X-Forwarded-For", x.client.String())
		out.Header.Set("X-Forwarded-Host", p.In.Host)
		out.Header.Set("X-Forwarded-Proto", x.settings.URL.Scheme)
	}
	if r.says(r.Trace, "propagate") {
		propagation.TraceContext{}.Inject(p.Out.Context(), propagation.HeaderCarrier(out.Header))
	}
}

// send is the one attempt. The span above it holds nothing of the request that
// the Lease puts on it here.
func (x *exchange) send(r *http.Request, span trace.Span) (*http.Response, error) {
	sendOnce(r)
	if x.lease != nil {
		if err := x.lease.Authorize(r); err != nil {
			return nil, &leaseError{err}
		}
	}
	x.meters().leaseUsed(x)
	res, err := x.route.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	x.status = res.StatusCode
	span.SetAttributes(attr.NetworkProtocolVersion.String(strings.TrimPrefix(res.Proto, "HTTP/")))
	return res, nil
}

// sendOnce keeps http.Transport from sending a request a second time on its own
// when a kept connection turns out to be dead: a copy would be an attempt
// without a record. The transport repeats only what has no body or can make
// its body again, so a request without a body gets one that is empty and can
// be read once. For methods that announce a body's length, that length is
// stated, so that nothing changes on the wire.
func sendOnce(r *http.Request) {
	r.GetBody = nil
	if r.Body != nil && r.Body != http.NoBody {
		return
	}
	r.Body = io.NopCloser(strings.NewReader(""))
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodDelete:
	default:
		r.TransferEncoding = []string{"identity"}  // not chunked
		r.Header["content-length"] = []string{"0"} // the canonical key is reserved for the transport
	}
}

// accept looks at the upstream's header before it is passed on.
func (x *exchange) accept(res *http.Response, flow *flow) error {
	if res.StatusCode == http.StatusSwitchingProtocols {
		if err := x.acceptUpgrade(res); err != nil {
			return err
		}
	}
	cleanResponse(res.Header)
	res.Body = flow.response(res.Body)
	return nil
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

var errUpgrade = errors.New("the upstream switched protocols in a way that was not asked for")

// attemptAttributes describes an attempt before it is made. There is no URL:
// paths may hold what callers type, queries may hold keys.
func (x *exchange) attemptAttributes() []attribute.KeyValue {
	d := x.route.destination
	attrs := []attribute.KeyValue{
		attr.HTTPRequestMethod.String(methodName(x.in.Method)),
		attr.URLScheme.String(d.Scheme),
		attr.ServerAddress.String(d.Host),
		attr.ServerPort.Int(d.Port),
		attr.Attempt.String(x.attempt),
	}
	if x.lease != nil {
		attrs = append(attrs, attr.SecretVersion.String(x.lease.Version()))
	}
	return attrs
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

// silent takes what httputil would log: it quotes errors that may quote the
// upstream, and the outcome says it already.
var silent = log.New(io.Discard, "", 0)

// buffers lends the 32 KiB that a body is copied through.
type buffers struct{}

var bufferPool = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func (buffers) Get() []byte  { return *bufferPool.Get().(*[]byte) }
func (buffers) Put(b []byte) { bufferPool.Put(&b) }

// recheckEvery is how often an open exchange is decided again.
const recheckEvery = 10 * time.Second
