package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// recheckEvery is how often an open exchange is decided again.
const recheckEvery = 10 * time.Second

// lastWords is what a caller has left to take the last bytes of an exchange
// that is over, or to send the rest of a body that nobody will read.
const lastWords = time.Second

// cut is why the gateway itself ended an open exchange.
type cut struct{ Refusal }

func (c cut) Error() string { return c.Code }

// ErrDraining is the cause to cancel a server's context with when the time for
// open exchanges to end by themselves is over.
var ErrDraining error = cut{draining}

// flow watches the bytes of one exchange: it counts them, ends the exchange
// when nothing moved for too long or when the right to it has ended, and
// remembers whose side failed.
type flow struct {
	x        *exchange
	cancel   context.CancelCauseFunc
	sent     atomic.Int64
	received atomic.Int64
	reading  atomic.Bool // the caller's body is being waited for
	answered atomic.Bool // the upstream's header is there
	body     *upload     // the caller's, or nil
	idle     *time.Timer
	detach   func() bool

	mu      sync.Mutex
	recheck *time.Timer
	stopped bool
	bodyErr error // reading the caller's body failed
}

// newFlow starts watching. ctx is the exchange's own, and cancel ends it.
func newFlow(ctx context.Context, x *exchange, cancel context.CancelCauseFunc) *flow {
	f := &flow{x: x, cancel: cancel}
	f.idle = time.AfterFunc(x.route.Timeouts.Connect+f.patience(), f.expire)
	f.detach = context.AfterFunc(ctx, f.release)
	if !x.route.Allow.Open() {
		f.mu.Lock()
		f.recheck = time.AfterFunc(f.nextCheck(), f.check)
		f.mu.Unlock()
	}
	return f
}

// stop ends the watching, and the reading of the caller's body.
func (f *flow) stop() {
	f.detach()
	f.mu.Lock()
	f.stopped = true
	f.idle.Stop()
	if f.recheck != nil {
		f.recheck.Stop()
	}
	f.mu.Unlock()
	if f.body != nil {
		f.body.end()
	}
}

// patience is how long nothing may move before the upstream's header is there.
// The connection bounds by itself how long that header may take.
func (f *flow) patience() time.Duration {
	return max(f.x.route.Timeouts.Idle, f.x.route.Timeouts.Response)
}

// moved begins the allowed silence anew.
func (f *flow) moved() { f.idle.Reset(f.x.route.Timeouts.Idle) }

// expire ends an exchange in which nothing moved for too long, and says who was
// waited for.
func (f *flow) expire() {
	if f.x.out.writing.Load() || f.reading.Load() && !f.answered.Load() {
		f.cancel(cut{callerTimeout})
		return
	}
	f.cancel(cut{upstreamTimeout})
}

// release lets go of the caller of an exchange that is over: without deadlines,
// one that neither sends nor reads would hold it open for ever.
func (f *flow) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return // the connection may be at its next request
	}
	control := http.NewResponseController(f.x.out)
	_ = control.SetReadDeadline(time.Now())
	_ = control.SetWriteDeadline(time.Now().Add(lastWords))
}

// nextCheck is when the right to this exchange is looked at again: at the
// token's exp, if that comes first. A token taken in the tolerance for clocks
// that follows exp is good for one interval.
func (f *flow) nextCheck() time.Duration {
	every := f.x.gateway.recheck()
	if f.x.session != "" {
		every = min(every, recheckSession)
	}
	if left := time.Until(f.x.identity.Expires); left > 0 {
		return min(every, left)
	}
	return every
}

// check decides the exchange again, by the policy of now. One that would not be
// allowed to begin, or would be given another secret, is cut. So is one whose
// caller signed in longer ago than the route allows by now: RFC 9470 speaks of
// requests, but a stream that went on would be the way around it.
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

// stillAllowed returns why the exchange has to end, or nil. A panic ends it too:
// there is no request here that net/http would catch it for.
func (x *exchange) stillAllowed() (cause error) {
	defer func() {
		if recover() != nil {
			cause = cut{policyError}
		}
	}()
	now, identity := x.gateway.settings.Load(), x.identity
	if x.session != "" {
		if now.Sessions == nil {
			return cut{sessionRevoked}
		}
		var err error
		if identity, err = now.Sessions.Recheck(x.ctx, x.session); err != nil {
			return cut{fromSession(err).Refusal}
		}
	}
	if !time.Now().Before(identity.Expires) {
		return cut{tokenExpired}
	}
	route := now.table.byName[x.route.Name]
	if route == nil || route.closed != nil || route.destination != x.route.destination {
		return cut{routeClosed}
	}
	if x.session != "" && !route.Session {
		return cut{sessionRevoked} // the route is not for people any more
	}
	if !route.Authentication.Met(identity, time.Now()) {
		return cut{weakAuthentication}
	}
	decision, err := now.Policy.Decide(x.ctx, x.policyInput(identity, route))
	switch {
	case err != nil:
		return cut{policyError}
	case !decision.Allow || decision.Secret != x.decision.Secret:
		return cut{denied}
	}
	return nil
}

// response watches the upstream's body, or both directions of a WebSocket.
func (f *flow) response(res *http.Response) {
	f.answered.Store(true)
	f.moved()
	d := &download{res.Body, f, res}
	if w, ok := res.Body.(io.Writer); ok {
		res.Body = &duplex{d, w}
		return
	}
	res.Body = d
}

// download is the upstream's body.
type download struct {
	io.ReadCloser
	flow *flow
	of   *http.Response
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	if n > 0 {
		d.flow.received.Add(int64(n))
		d.flow.moved()
	}
	if err == io.EOF {
		d.flow.x.inbound(d.of.Trailer)
	}
	return n, err
}

// duplex is the upstream's side of a switched connection.
type duplex struct {
	*download
	w io.Writer
}

func (d *duplex) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	d.flow.sent.Add(int64(n))
	d.flow.moved()
	return n, err
}

// failure turns what went wrong into a row of the table: first what the gateway
// did, then the caller, then the upstream.
func (f *flow) failure(ctx context.Context, err error) *refused {
	f.mu.Lock()
	bodyErr := f.bodyErr
	f.mu.Unlock()
	if cause, ok := errors.AsType[cut](context.Cause(ctx)); ok {
		return cause.Refusal.because("")
	}
	if _, ok := errors.AsType[*http.MaxBytesError](bodyErr); ok {
		return bodyTooLarge.because("")
	}
	if f.x.in.Context().Err() != nil || f.x.out.failed || errors.Is(bodyErr, io.ErrUnexpectedEOF) {
		return clientAbort.because("")
	}
	if bodyErr != nil {
		return malformedBody.because("")
	}
	return classify(err)
}
