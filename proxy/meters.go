package proxy

import (
	"cmp"
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
	requests metric.Int64Counter
	duration metric.Float64Histogram
	attempts metric.Float64Histogram
	underway metric.Int64UpDownCounter
}

// seconds are the buckets of durations.
var seconds = metric.WithExplicitBucketBoundaries(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

func newMeters(provider metric.MeterProvider) (*meters, error) {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	meter := provider.Meter(attr.Scope)
	m, errs := &meters{}, [4]error{}
	m.requests, errs[0] = meter.Int64Counter(attr.MetricRequests, metric.WithDescription("Requests answered."))
	m.duration, errs[1] = meter.Float64Histogram(attr.MetricRequestDuration, metric.WithUnit("s"),
		metric.WithDescription("Duration of requests, until the last byte."), seconds)
	m.attempts, errs[2] = meter.Float64Histogram(attr.MetricAttemptDuration, metric.WithUnit("s"),
		metric.WithDescription("Duration of attempts, until the upstream's header."), seconds)
	m.underway, errs[3] = meter.Int64UpDownCounter(attr.MetricInflight, metric.WithDescription("Requests under way, of those admitted."))
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
		attr.HTTPResponseStatusCode.Int(x.told()),
		attr.Refusal.String(cmp.Or(x.out.refusal, "none")),
	))
	m.requests.Add(x.ctx, 1, set)
	m.duration.Record(x.ctx, time.Since(x.started).Seconds(), set)
}

// attempt counts one by its route.
func (m *meters) attempt(x *exchange, took time.Duration) {
	m.attempts.Record(x.ctx, took.Seconds(), x.route.measured)
}

func (m *meters) inflight(x *exchange, n int64) { m.underway.Add(x.ctx, n, x.route.measured) }
