package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The ways an exchange ends that are not refusals, as outcomes name them.
const (
	completed = "completed"
	panicked  = "panic"
	aborted   = "" // not known yet
)

// clientAbort ends an exchange whose caller went away. Nobody is told.
var clientAbort = Refusal{499, "client-abort", "the caller went away"}

// Causes of a cut: the gateway itself ended an open exchange.
type cut struct{ Refusal }

func (c cut) Error() string { return c.Code }

// ErrDraining is the cause to cancel a server's context with when the time for
// open exchanges to end by themselves is over.
var ErrDraining error = cut{draining}

// flow watches the bytes of one exchange: it counts them, bounds the silence
// between them, and ends the exchange when the right to it ends.
type flow struct {
	x        *exchange
	cancel   context.CancelCauseFunc
	sent     atomic.Int64
	received atomic.Int64
	idle     *time.Timer
	recheck  *time.Timer

	mu      sync.Mutex
	stopped bool
	bodyErr error // reading the caller's body failed
}

// newFlow starts watching. Until the response's header is there, the silence
// allowed is the longer of the two timeouts.
func newFlow(x *exchange, cancel context.CancelCauseFunc) *flow {
	f := &flow{x: x, cancel: cancel}
	f.idle = time.AfterFunc(max(x.route.Timeouts.Idle, x.route.Timeouts.Response), func() { cancel(cut{upstreamTimeout}) })
	if !x.route.Allow.Open() {
		f.mu.Lock()
		f.recheck = time.AfterFunc(f.nextCheck(), f.check)
		f.mu.Unlock()
	}
	return f
}

// stop ends the watching.
func (f *flow) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	f.idle.Stop()
	if f.recheck != nil {
		f.recheck.Stop()
	}
}

// nextCheck is when the right to this exchange is looked at again: at the
// token's exp at the latest.
func (f *flow) nextCheck() time.Duration {
	return min(recheckEvery, time.Until(f.x.identity.Expires))
}

// check decides the exchange again, with the policy of now. An exchange that
// would not be allowed to begin, or would be given another secret, is cut.
func (f *flow) check() {
	if cause := f.x.stillAllowed(); cause != nil {
		f.cancel(cause)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.stopped {
		f.recheck.Reset(f.nextCheck())
	}
}

// stillAllowed returns why the exchange has to end, or nil.
func (x *exchange) stillAllowed() error {
	if !time.Now().Before(x.identity.Expires) {
		return cut{tokenExpired}
	}
	now := x.gateway.settings.Load()
	route := now.table.byName[x.route.Name]
	if route == nil || route.closed != nil {
		return cut{routeClosed}
	}
	decision, err := now.Policy.Decide(x.ctx, x.policyInput(route))
	switch {
	case err != nil:
		return cut{policyError}
	case !decision.Allow || decision.Secret != x.decision.Secret:
		return cut{denied}
	}
	return nil
}

// request watches the caller's body.
func (f *flow) request(body io.ReadCloser) io.ReadCloser {
	if body == nil || body == http.NoBody {
		return body
	}
	control := http.NewResponseController(f.x.out)
	limited := http.MaxBytesReader(nil, body, int64(f.x.route.MaxBody))
	return &stream{ReadCloser: limited, count: &f.sent, moved: func() {
		f.moved()
		// a caller that stops sending holds a connection; so much silence and no more
		_ = control.SetReadDeadline(time.Now().Add(f.x.route.Timeouts.Idle))
	}, done: func(err error) {
		_ = control.SetReadDeadline(time.Time{})
		if err != io.EOF {
			f.mu.Lock()
			f.bodyErr = err
			f.mu.Unlock()
		}
	}}
}

// response watches the upstream's body, or both directions of a WebSocket.
func (f *flow) response(body io.ReadCloser) io.ReadCloser {
	f.moved()
	s := &stream{ReadCloser: body, count: &f.received, moved: f.moved, done: func(error) {}}
	if w, ok := body.(io.ReadWriteCloser); ok {
		return &duplex{stream: s, w: w, sent: &f.sent}
	}
	return s
}

// moved pushes the end of the allowed silence back.
func (f *flow) moved() {
	f.idle.Reset(f.x.route.Timeouts.Idle)
	f.x.out.extend(f.x.route.Timeouts.Idle)
}

// stream counts what is read from a body and says when it ends.
type stream struct {
	io.ReadCloser
	count *atomic.Int64
	moved func()
	done  func(error)
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if n > 0 {
		s.count.Add(int64(n))
		s.moved()
	}
	if err != nil {
		s.done(err)
	}
	return n, err
}

// duplex is the upstream's side of a switched connection.
type duplex struct {
	*stream
	w    io.Writer
	sent *atomic.Int64
}

func (d *duplex) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	d.sent.Add(int64(n))
	d.moved()
	return n, err
}

// leaseError says that the Lease refused the outgoing request.
type leaseError struct{ err error }

func (e *leaseError) Error() string { return e.err.Error() }

// reason names why an exchange broke off after its header was passed on.
func (f *flow) reason(ctx context.Context) string {
	return f.classify(ctx, io.ErrUnexpectedEOF).Code
}

// classify turns what went wrong into a row of the table. Only errors whose
// text we know to hold no byte of the upstream's are passed to the operator.
func (f *flow) classify(ctx context.Context, err error) *refused {
	f.mu.Lock()
	bodyErr := f.bodyErr
	f.mu.Unlock()
	if cause, ok := errors.AsType[cut](context.Cause(ctx)); ok {
		return cause.Refusal.because("")
	}
	if _, ok := errors.AsType[*http.MaxBytesError](bodyErr); ok {
		return bodyTooLarge.because("")
	}
	if f.x.in.Context().Err() != nil {
		return clientAbort.because("")
	}
	if bodyErr != nil {
		if _, ok := errors.AsType[net.Error](bodyErr); ok || errors.Is(bodyErr, io.ErrUnexpectedEOF) {
			return clientAbort.because("")
		}
		return malformedBody.because("")
	}
	if lease, ok := errors.AsType[*leaseError](err); ok {
		return secretNotBound.from(lease)
	}
	if errors.Is(err, errForbiddenAddress) {
		return upstreamForbidden.from(err)
	}
	if errors.Is(err, errUpgrade) {
		return upstreamInvalid.from(err)
	}
	return classifyNetwork(err)
}

// classifyNetwork sorts the errors of http.Transport.
func classifyNetwork(err error) *refused {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return upstreamTLS.from(err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return upstreamTLS.from(errors.New("the upstream does not speak TLS on this port"))
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return upstreamTLS.from(err)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return upstreamTLS.from(err)
	}
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		return upstreamTimeout.from(errors.New("timed out"))
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return upstreamUnreachable.from(dns)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return upstreamUnreachable.from(op)
	}
	return upstreamReset.from(fmt.Errorf("exchange broke off (%T)", err))
}
