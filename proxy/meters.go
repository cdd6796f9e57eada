package proxy

import (
	"cmp"
	"context"
	"errors"
	"sync"
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
	echoes   metric.Int64Counter

	mu   sync.RWMutex
	sets map[answer]metric.MeasurementOption // made once for each
}

// answer is what a request is counted by.
type answer struct {
	route   string
	status  int
	refusal string
}

// seconds are the buckets of durations.
var seconds = metric.WithExplicitBucketBoundaries(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

// newMeters makes the instruments. inflight is asked at each collection.
func newMeters(provider metric.MeterProvider, inflight func(tell func(r *route, n int64))) (*meters, error) {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	meter := provider.Meter(attr.Scope)
	m, errs := &meters{sets: map[answer]metric.MeasurementOption{}}, [5]error{}
	m.requests, errs[0] = meter.Int64Counter(attr.MetricRequests, metric.WithDescription("Requests answered."))
	m.duration, errs[1] = meter.Float64Histogram(attr.MetricRequestDuration, metric.WithUnit("s"),
		metric.WithDescription("Duration of requests, until the last byte."), seconds)
	m.attempts, errs[2] = meter.Float64Histogram(attr.MetricAttemptDuration, metric.WithUnit("s"),
		metric.WithDescription("Duration of attempts, until the upstream's header."), seconds)
	_, errs[3] = meter.Int64ObservableUpDownCounter(attr.MetricInflight, metric.WithDescription("Requests under way, of those admitted."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			inflight(func(r *route, n int64) { o.Observe(n, r.measured) })
			return nil
		}))
	m.echoes, errs[4] = meter.Int64Counter(attr.MetricSecretReflections, metric.WithDescription("Attempts in which the upstream sent the credential back."))
	return m, errors.Join(errs[:]...)
}

// request counts one, with its span as exemplar.
func (m *meters) request(x *exchange) {
	a := answer{route: "none", status: x.told(), refusal: cmp.Or(x.out.refusal, "none")}
	if x.route != nil {
		a.route = x.route.Name
	}
	set := m.set(a)
	m.requests.Add(x.ctx, 1, set)
	m.duration.Record(x.ctx, time.Since(x.started).Seconds(), set)
}

// set is the attributes of an answer. Routes, statuses and refusals are few.
func (m *meters) set(a answer) metric.MeasurementOption {
	m.mu.RLock()
	set := m.sets[a]
	m.mu.RUnlock()
	if set != nil {
		return set
	}
	set = metric.WithAttributeSet(attribute.NewSet(
		attr.Route.String(a.route), attr.HTTPResponseStatusCode.Int(a.status), attr.Refusal.String(a.refusal)))
	m.mu.Lock()
	m.sets[a] = set
	m.mu.Unlock()
	return set
}

// attempt counts one by its route.
func (m *meters) attempt(x *exchange, took time.Duration) {
	m.attempts.Record(x.ctx, took.Seconds(), x.route.measured)
}

// reflected counts an echo of the credential, by route and by what was done.
func (m *meters) reflected(x *exchange, result string) {
	m.echoes.Add(x.ctx, 1, metric.WithAttributeSet(attribute.NewSet(attr.Route.String(x.route.Name), attr.Result.String(result))))
}
