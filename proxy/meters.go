package proxy

import (
	"cmp"
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// meters counts requests: rate, errors and duration by route. No attribute
// takes a value that a caller makes up.
type meters struct {
	requests    metric.Int64Counter
	duration    metric.Float64Histogram
	uses        metric.Int64Counter
	unavailable metric.Int64Counter
}

func newMeters(provider metric.MeterProvider) (*meters, error) {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	meter := provider.Meter(attr.Scope)
	m, errs := &meters{}, [4]error{}
	m.requests, errs[0] = meter.Int64Counter(attr.MetricRequests, metric.WithDescription("Requests answered."))
	m.duration, errs[1] = meter.Float64Histogram(attr.MetricRequestDuration, metric.WithUnit("s"),
		metric.WithDescription("Duration of requests, until the last byte."),
		metric.WithExplicitBucketBoundaries(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60))
	m.uses, errs[2] = meter.Int64Counter(attr.MetricLeaseUses, metric.WithDescription("Uses of secrets, by attempt."))
	m.unavailable, errs[3] = meter.Int64Counter(attr.MetricAuditUnavailable, metric.WithDescription("Requests refused because they could not be recorded."))
	return m, errors.Join(errs[:]...)
}

// request counts one, with its span as exemplar.
func (m *meters) request(x *exchange) {
	route := "none"
	if x.route != nil {
		route = x.route.Name
	}
	set := metric.WithAttributeSet(attribute.NewSet(
		attr.Route.String(route),
		attr.HTTPResponseStatusCode.Int(x.out.status),
		attr.Refusal.String(cmp.Or(x.out.refusal, "none")),
	))
	m.requests.Add(x.ctx, 1, set)
	m.duration.Record(x.ctx, time.Since(x.started).Seconds(), set)
}

// leaseUsed counts a secret put on an attempt.
func (m *meters) leaseUsed(x *exchange) {
	if x.lease != nil {
		m.uses.Add(x.ctx, 1, metric.WithAttributes(attr.Route.String(x.route.Name), attr.SecretStale.Bool(x.lease.Stale())))
	}
}

func (m *meters) auditUnavailable(ctx context.Context) { m.unavailable.Add(ctx, 1) }
