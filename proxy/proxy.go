// Package proxy is the life of a request, from the caller to the upstream and
// back, as one straight line: front, own, match, authenticate, assure, decide,
// admit, borrow, mint, record, forward (and record how it ended). See
// [exchange.serve].
//
// It trusts nothing of a request until the step that checked it. It refuses
// whatever it cannot read in exactly one way, and answers every refusal from
// one table. A credential is put on a request only by a vault.Lease, which
// exists only for a policy.Grant, which exists only for an allowing
// policy.Decision; and it leaves only after audit has made the intent durable.
//
// proxy decides the order and translates between the packages below it, field
// by field; it knows no protocol of theirs.
package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/telemetry/attr"
	"github.com/vaultspan/vaultspan/vault"
)

// exchange is one request and what has been found out about it so far.
type exchange struct {
	gateway  *Gateway
	settings *Settings
	in       *http.Request
	out      *recorder // the response, observed
	ctx      context.Context
	span     trace.Span
	started  time.Time
	trace    string // the trace id: also X-Request-Id

	target    target
	host      string // as matched and decided: lower case, without a port
	authority string // host, and the port if the caller named one
	client    string // the caller's address
	websocket bool

	route    *route
	admitted bool // counted in route.inflight
	identity authn.Identity
	session  string // names the browser session that says so, if one does
	decision policy.Decision
	vault    Vault // of the granted secret
	lease    *vault.Lease

	watch    *watch   // for the credential, in what the upstream answers
	attempts int      // begun so far
	attempt  *attempt // the last: its intent was recorded, so an outcome is owed
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.count(+1)
	defer g.count(-1)
	x := g.begin(w, r)
	defer x.finish()
	defer x.rescue()
	if refused := x.serve(); refused != nil {
		x.refuse(refused)
	}
}

// serve is the life of a request. Each step either refuses or leaves in x what
// the next one needs.
func (x *exchange) serve() *refused {
	for _, step := range []func() *refused{
		x.front,
		x.own,
		x.match,
		x.authenticate,
		x.assure,
		x.decide,
		x.admit,
		x.borrow,
		x.mint,
		x.record,
	} {
		switch refused := step(); refused {
		case nil:
		case answered:
			return nil
		default:
			return x.ended(refused)
		}
	}
	return x.forward()
}

// begin opens the root span. A caller does not choose our trace: what it sent
// becomes a link.
func (g *Gateway) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{gateway: g, settings: g.settings.Load(), in: r, out: &recorder{ResponseWriter: w}, started: time.Now()}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot(), trace.WithTimestamp(x.started)}
	if link, ok := callersTrace(r); ok {
		options = append(options, trace.WithLinks(link))
	}
	x.ctx, x.span = g.tracer().Start(r.Context(), methodName(r.Method), options...)
	id := x.span.SpanContext().TraceID()
	if !id.IsValid() { // tracing is off: records still need an id each
		rand.Read(id[:])
	}
	x.trace = id.String()
	x.out.trace = x.trace
	x.out.carries = r.ProtoMajor == 1 && r.ContentLength != 0
	if x.settings == nil { // before the first Swap: the zero Gateway serves nobody
		x.settings = &Settings{URL: &url.URL{}, table: &table{mux: http.NewServeMux()}}
	}
	return x
}

// rescue answers a panic of any step with 500, or cuts the response that has
// begun. What a panic says may hold anything, so only its type and the stack
// are logged.
func (x *exchange) rescue() {
	v := recover()
	if v == nil {
		return
	}
	if v != http.ErrAbortHandler {
		x.gateway.Logger.ErrorContext(x.ctx, "panic while serving a request", "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
		if !x.out.started() {
			x.refuse(internalError.because(""))
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// ended says that a step failed because the request's own context did.
func (x *exchange) ended(r *refused) *refused {
	cause := context.Cause(x.ctx)
	if cause == nil || r.Status < 500 {
		return r
	}
	if c, ok := errors.AsType[cut](cause); ok {
		return c.Refusal.because("")
	}
	return clientAbort.because("")
}

// admit bounds what one route may hold at once. Callers that the route would
// not serve anyway do not count.
func (x *exchange) admit() *refused {
	if x.route.inflight.Add(1) > int64(x.route.MaxInflight) {
		x.route.inflight.Add(-1)
		return overloaded.because("")
	}
	x.admitted = true
	return nil
}

// authenticate finds out who is calling, on a route that is not open to anyone.
func (x *exchange) authenticate() *refused {
	if x.route.Allow.Open() {
		return nil
	}
	ctx, span := x.start(attr.SpanAuthenticate)
	defer span.End()
	identity, refused := x.identify(ctx, x.route.TokenFrom, x.route.Session)
	if refused != nil {
		return refused
	}
	x.identity = identity
	if !span.IsRecording() {
		return x.guarded()
	}
	span.SetAttributes(
		attr.IdentityIssuer.String(identity.Issuer),
		attr.IdentityKind.String(string(identity.Kind)),
		attr.IdentityMethod.String(identity.Method),
	)
	if len(identity.Actors) > 0 {
		span.SetAttributes(attr.IdentityActor.String(x.gateway.UserID(identity.Issuer, identity.Actors[0])))
	}
	x.span.SetAttributes(attr.UserID.String(x.gateway.UserID(identity.Issuer, identity.Subject)))
	return x.guarded()
}

// decide asks policy whether the caller may. A route open to anyone has no
// decision to make: it has no secret either.
func (x *exchange) decide() *refused {
	if x.route.Allow.Open() {
		return nil
	}
	ctx, span := x.start(attr.SpanDecide)
	defer span.End()
	decision, err := x.settings.Policy.Decide(ctx, x.policyInput(x.identity, x.route))
	if err != nil {
		return policyError.from(err)
	}
	x.decision = decision
	if span.IsRecording() {
		span.SetAttributes(
			attr.DecisionAllow.Bool(decision.Allow),
			attr.DecisionRole.String(decision.Role),
			attr.DecisionReason.String(decision.Reason),
			attr.DecisionRevision.String(decision.Revision),
			attr.DecisionCached.Bool(decision.Cached),
		)
		if decision.Secret != "" {
			span.SetAttributes(attr.Collection.String(collectionOf(decision.Secret)))
		}
	}
	if !decision.Allow {
		return denied.because(decision.Reason)
	}
	return nil
}

// borrow leases the granted secret: only a Grant yields a Lease.
func (x *exchange) borrow() *refused {
	grant, ok := x.decision.Grant(x.route.Name)
	if !ok {
		if x.route.wears() {
			return denied.because("no secret was granted")
		}
		return nil
	}
	ctx, span := x.start(attr.SpanLease)
	defer span.End()
	v := x.settings.Vaults[vaultOf(grant.Secret())]
	if v == nil {
		return vaultUnavailable.from(errors.New("the granted secret's vault is not configured"))
	}
	lease, refused := x.lend(ctx, v, grant)
	if refused != nil {
		return refused
	}
	if lease.Destination() != x.route.destination {
		return secretNotBound.because("")
	}
	x.vault, x.lease = v, lease
	describe(span, lease)
	return nil
}

// start opens a child of the request's span. Most traces are not kept, and a
// span that nobody will see is not worth making.
func (x *exchange) start(name string) (context.Context, trace.Span) {
	if !x.span.IsRecording() {
		return x.ctx, noop.Span{}
	}
	return x.gateway.tracer().Start(x.ctx, name)
}

func (g *Gateway) tracer() trace.Tracer { return g.Tracer.Tracer(attr.Scope) }

func (x *exchange) meters() *meters { return x.gateway.meters.Load() }

// refuse answers with a row of the table and records it.
func (x *exchange) refuse(r *refused) {
	x.out.refusal = r.Code
	x.span.SetAttributes(attr.Refusal.String(r.Code))
	level := slog.LevelInfo
	if r.Status >= 500 {
		level = slog.LevelWarn
	}
	args := []any{"code", r.Code, "status", r.Status, "method", x.method(), "detail", r.detail}
	if x.route != nil {
		args = append(args, "route", x.route.Name)
	}
	if r.err != nil {
		args = append(args, "error", r.err.Error())
	}
	x.gateway.Logger.Log(x.ctx, level, "refused", args...)
	if x.attempt == nil { // else the outcome says it
		x.gateway.Audit.Refusal(x.refusalEvent(r))
	}
	if r.Code == clientAbort.Code || x.out.started() {
		panic(http.ErrAbortHandler) // never a clean end to what is not whole
	}
	if x.forPeople(r) {
		return
	}
	r.write(x.out, x.in.Method, x.trace)
}

// describe says on a span which version of which secret was lent, never its
// value, and links to the fetch that brought it.
func describe(span trace.Span, l *vault.Lease) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attr.SecretName.String(l.Name()),
		attr.SecretCollection.String(l.Collection()),
		attr.SecretVersion.String(l.Version()),
		attr.SecretFingerprint.String(l.Fingerprint()),
		attr.SecretAge.Float64(l.Age().Seconds()),
		attr.SecretStale.Bool(l.Stale()),
	)
	if fetched := l.Fetched(); fetched.IsValid() {
		span.AddLink(trace.Link{SpanContext: fetched})
	}
}
