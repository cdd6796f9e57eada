package session

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// How a login or a refresh went, on spans and metrics.
const (
	wentWell     = "ok"
	wasDenied    = "denied"       // by the provider, or given up there
	wasUnasked   = "unasked"      // an answer that this browser did not ask for, or that is spent
	wasRefused   = "refused"      // the provider's answer was not accepted, or it accepts the login no more
	insufficient = "insufficient" // the provider passed over what the route demands
	unavailable  = "unavailable"  // the provider cannot be asked
	noSessions   = "no-store"     // the store does not answer
)

// nobody stands for the issuer of an answer that belongs to no login.
const nobody = "none"

// meter counts logins, refreshes and ends, by issuer; never by person.
type meter struct {
	logins    metric.Int64Counter
	refreshes metric.Int64Counter
	ends      metric.Int64Counter
	errors    metric.Int64Counter
	took      metric.Float64Histogram
}

// newMeter makes the instruments. Each count begins at 0: one that began at 1
// would not have increased, to whoever watches.
func newMeter(provider metric.MeterProvider, issuers []string) (*meter, error) {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	from := provider.Meter(attr.Scope)
	m, errs := &meter{}, [5]error{}
	m.logins, errs[0] = from.Int64Counter(attr.MetricSessionLogins, metric.WithDescription("Logins that came back from an issuer, or could not begin."))
	m.refreshes, errs[1] = from.Int64Counter(attr.MetricSessionRefreshes, metric.WithDescription("Sessions whose issuer was asked whether they still stand."))
	m.ends, errs[2] = from.Int64Counter(attr.MetricSessionsEnded, metric.WithDescription("Sessions that were ended here."))
	m.errors, errs[3] = from.Int64Counter(attr.MetricSessionStoreErrors, metric.WithDescription("Operations that the session store failed."))
	m.took, errs[4] = from.Float64Histogram(attr.MetricSessionStoreDuration, metric.WithUnit("s"),
		metric.WithDescription("Duration of operations of the session store."),
		metric.WithExplicitBucketBoundaries(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 10))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	ctx := context.Background()
	m.logins.Add(ctx, 0, labels(nobody, wasUnasked))
	for _, issuer := range issuers {
		for _, how := range []string{wentWell, wasDenied, wasUnasked, wasRefused, insufficient, unavailable, noSessions} {
			m.logins.Add(ctx, 0, labels(issuer, how))
		}
		for _, how := range []string{wentWell, wasRefused, unavailable} {
			m.refreshes.Add(ctx, 0, labels(issuer, how))
		}
	}
	for _, why := range []string{WhyLogout, WhyBackChannel, WhyRevoked, WhyRefused, WhyReplaced, WhyIdle} {
		m.ends.Add(ctx, 0, metric.WithAttributes(attr.SessionEnd.String(why)))
	}
	for _, operation := range operations {
		m.errors.Add(ctx, 0, metric.WithAttributes(attr.Operation.String(operation)))
	}
	return m, nil
}

func labels(issuer, how string) metric.AddOption {
	return metric.WithAttributeSet(attribute.NewSet(attr.IdentityIssuer.String(issuer), attr.Result.String(how)))
}

// login counts one, and says on the span how it went.
func (m *meter) login(ctx context.Context, issuer, how string) {
	trace.SpanFromContext(ctx).SetAttributes(attr.Result.String(how))
	m.logins.Add(ctx, 1, labels(issuer, how))
}

func (m *meter) refresh(ctx context.Context, issuer, how string) {
	trace.SpanFromContext(ctx).SetAttributes(attr.Result.String(how))
	m.refreshes.Add(ctx, 1, labels(issuer, how))
}

func (m *meter) end(ctx context.Context, why string) {
	m.ends.Add(ctx, 1, metric.WithAttributes(attr.SessionEnd.String(why)))
}

// store notes how long an operation took, and whether it failed. A caller who
// went away is no failure of the store's.
func (m *meter) store(ctx context.Context, operation string, began time.Time, err error) {
	set := metric.WithAttributeSet(attribute.NewSet(attr.Operation.String(operation)))
	m.took.Record(ctx, time.Since(began).Seconds(), set)
	if err != nil && !errors.Is(err, errUnknown) && !errors.Is(ctx.Err(), context.Canceled) {
		m.errors.Add(ctx, 1, set)
	}
}

// outcome is the word for what went wrong with a login or a refresh.
func outcome(err error) string {
	if err == nil {
		return wentWell
	}
	if refusal, ok := errors.AsType[*authn.Error](err); ok {
		switch refusal.Reason {
		case authn.Unavailable:
			return unavailable
		case authn.NoStore:
			return noSessions
		case authn.Insufficient:
			return insufficient
		}
	}
	return wasRefused
}

// span begins a span of what is done with an issuer, below the one in ctx. Nothing
// of a person, a code or a token has a place on it.
func span(ctx context.Context, name, issuer string) (context.Context, trace.Span) {
	tracer := trace.SpanFromContext(ctx).TracerProvider().Tracer(attr.Scope)
	return tracer.Start(ctx, name, trace.WithAttributes(attr.IdentityIssuer.String(issuer)))
}
