package proxy

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/telemetry/attr"
	"github.com/vaultspan/vaultspan/vault"
)

// attempt is one request to an upstream: one intent before it, one outcome
// after it, one span around it, and at most one version of a secret on it.
type attempt struct {
	id          string // trace "-" n
	lease       *vault.Lease
	destination vault.Destination
	method      string // of the request; empty: the caller's
	mints       bool   // the request exchanges the secret for a token
	started     time.Time
	span        trace.Span // CLIENT; nil until it is sent

	status         int   // the upstream's
	sent, received int64 // bytes of bodies
	closed         bool  // the outcome was recorded
}

// record writes the intent down: it is durable before the first byte leaves.
func (x *exchange) record() *refused {
	return x.intend(x.lease, x.route.destination)
}

// intend begins an attempt for the caller with its intent. Only one is open at
// a time.
func (x *exchange) intend(lease *vault.Lease, to vault.Destination) *refused {
	x.attempt = nil // the one before is closed
	a := &attempt{lease: lease, destination: to}
	if refused := x.begin(x.ctx, a); refused != nil {
		return refused
	}
	x.attempt = a
	return nil
}

// begin gives an attempt its id and its intent, within ctx.
func (x *exchange) begin(ctx context.Context, a *attempt) *refused {
	started, span := x.start(attr.SpanRecord)
	defer span.End()
	ctx = trace.ContextWithSpan(ctx, trace.SpanFromContext(started))
	x.attempts++
	a.id, a.started = x.trace+"-"+strconv.Itoa(x.attempts), time.Now()
	receipt, err := x.gateway.Audit.Intent(ctx, x.intentEvent(a))
	if errors.Is(err, audit.ErrOverloaded) {
		return overloaded.from(err)
	}
	if err != nil {
		return auditUnavailable.from(err)
	}
	span.SetAttributes(attr.AuditSeq.Int64(int64(receipt.Seq)), attr.AuditWait.Float64(receipt.Wait.Seconds()))
	return nil
}

// open starts the attempt's span, beside those of the steps before it. There is
// no URL on it: paths may hold what callers type, queries may hold keys.
func (x *exchange) open(ctx context.Context, a *attempt) context.Context {
	method := cmp.Or(a.method, x.method())
	ctx = trace.ContextWithSpan(ctx, x.span)
	if !x.span.IsRecording() { // an upstream that is told of the trace is told of its root
		a.span = noop.Span{}
		return ctx
	}
	ctx, a.span = x.gateway.tracer().Start(ctx, method+" "+a.destination.Host, trace.WithSpanKind(trace.SpanKindClient))
	a.span.SetAttributes(
		attr.HTTPRequestMethod.String(method),
		attr.URLScheme.String(a.destination.Scheme),
		attr.ServerAddress.String(a.destination.Host),
		attr.ServerPort.Int(a.destination.Port),
		attr.Attempt.String(a.id),
	)
	if a.lease != nil {
		a.span.SetAttributes(attr.SecretVersion.String(a.lease.Version()))
	}
	return ctx
}

// end closes the attempt, once.
func (x *exchange) end(a *attempt, code string) {
	if a == nil || a.closed {
		return
	}
	a.closed = true
	code, detail := x.watch.outcome(a, code)
	x.gateway.Audit.Outcome(x.outcomeEvent(a, code, detail))
	if detail != "" {
		x.span.SetAttributes(attr.ErrorType.String(code))
	}
	if a.span == nil {
		return
	}
	if code != completed {
		a.span.SetAttributes(attr.ErrorType.String(code))
		a.span.SetStatus(codes.Error, code)
	}
	a.span.End()
}

// send makes the attempt, and a second one where the upstream refuses the
// credential, the vault has another version of it or another token, and the
// request can be sent again. What is traced of a request is above this; what
// the Lease puts on it is not.
func (x *exchange) send(r *http.Request, flow *flow) (*http.Response, error) {
	again := x.copyOf(r)
	res, err := x.try(r)
	if err != nil || again == nil || !slices.Contains(x.route.Rotation.Refused, res.StatusCode) {
		return res, err
	}
	lease := x.another(r.Context())
	if lease == nil {
		return res, nil
	}
	body, ok := flow.resend()
	if !ok {
		return res, nil
	}
	again.Body = body
	discard(res)
	x.tally(flow)
	x.end(x.attempt, credentialRefused)
	if refused := x.intend(lease, x.route.destination); refused != nil {
		return nil, &refusedError{refused}
	}
	x.lease = lease
	again = again.WithContext(x.open(r.Context(), x.attempt))
	x.name(again)
	return x.try(again)
}

// copyOf is the request as it is before a credential is on it, or nil where it
// will not be sent again.
func (x *exchange) copyOf(r *http.Request) *http.Request {
	if x.lease == nil || len(x.route.Rotation.Refused) == 0 {
		return nil
	}
	again := r.WithContext(r.Context())
	again.Header = maps.Clone(r.Header) // values are replaced, never edited
	return again
}

// try sends one request, with who is calling and what the Lease puts on it.
func (x *exchange) try(r *http.Request) (*http.Response, error) {
	a := x.attempt
	x.watch.begin(a)
	if err := x.vouch(r.Header); err != nil {
		return nil, err
	}
	if a.lease != nil {
		if err := a.lease.Authorize(r); err != nil {
			return nil, err
		}
	}
	started := time.Now()
	res, err := x.route.connections(a.lease).RoundTrip(r)
	x.meters().attempt(x, time.Since(started))
	if err != nil {
		return nil, err
	}
	a.status = res.StatusCode
	a.answered(res)
	return res, nil
}

// answered says on the attempt's span what came back.
func (a *attempt) answered(res *http.Response) {
	if a.span.IsRecording() {
		a.span.SetAttributes(
			attr.HTTPResponseStatusCode.Int(res.StatusCode),
			attr.NetworkProtocolVersion.String(strings.TrimPrefix(res.Proto, "HTTP/")),
		)
	}
}

// renew looks for another version of the credential that the upstream refused,
// or returns nil.
func (x *exchange) renew(ctx context.Context) *vault.Lease {
	ctx, span := x.gateway.tracer().Start(trace.ContextWithSpan(ctx, x.span), attr.SpanLease)
	defer span.End()
	lease, err := x.vault.Renew(ctx, x.lease)
	switch {
	case errors.Is(err, vault.ErrUnchanged):
		return nil
	case err != nil:
		span.SetStatus(codes.Error, "")
		x.gateway.Logger.WarnContext(x.ctx, "an upstream refused a credential, and no other version was to be had", "route", x.route.Name, "error", err.Error())
		return nil
	case lease.Destination() != x.route.destination:
		return nil
	}
	describe(span, lease)
	return lease
}

// tally notes what the exchange has moved, as the attempt's, and begins to
// count anew.
func (x *exchange) tally(flow *flow) {
	if x.attempt == nil || x.attempt.closed {
		return
	}
	x.attempt.sent, x.attempt.received = flow.sent.Swap(0), flow.received.Swap(0)
}

// discarded is how much of an answer is read to keep its connection.
const discarded = 16 << 10

// discard lets go of an answer that nobody will see.
func discard(res *http.Response) {
	if res.ContentLength >= 0 && res.ContentLength <= discarded {
		_, _ = io.CopyN(io.Discard, res.Body, discarded)
	}
	res.Body.Close()
}

// refusedError carries a refusal through an http.RoundTripper.
type refusedError struct{ refused *refused }

func (e *refusedError) Error() string { return e.refused.Code }
