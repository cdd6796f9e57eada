package audit

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// The values of attr.AuditResult.
const (
	resultWritten = "written"
	resultLost    = "lost"
)

type metrics struct {
	records     metric.Int64Counter
	unavailable metric.Int64Counter
	aggregated  metric.Int64Counter
	checkpoints metric.Int64Counter
	failures    metric.Int64Counter
	wait        metric.Float64Histogram
	sync        metric.Float64Histogram
	size        metric.Int64Gauge
	watching    metric.Registration
	written     map[string]metric.AddOption
}

func newMetrics(provider metric.MeterProvider, l *Log) (metrics, error) {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	var errs [11]error
	var m metrics
	meter := provider.Meter(attr.Scope)
	seconds := metric.WithExplicitBucketBoundaries(.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10)
	m.records, errs[0] = meter.Int64Counter(attr.MetricAuditRecords, metric.WithUnit("{record}"))
	m.unavailable, errs[1] = meter.Int64Counter(attr.MetricAuditUnavailable, metric.WithUnit("{request}"))
	m.aggregated, errs[2] = meter.Int64Counter(attr.MetricAuditAggregated, metric.WithUnit("{refusal}"))
	m.checkpoints, errs[3] = meter.Int64Counter(attr.MetricAuditCheckpoints, metric.WithUnit("{checkpoint}"))
	m.failures, errs[4] = meter.Int64Counter(attr.MetricAuditFailures, metric.WithUnit("{failure}"))
	m.wait, errs[5] = meter.Float64Histogram(attr.MetricAuditWait, metric.WithUnit("s"), seconds)
	m.sync, errs[6] = meter.Float64Histogram(attr.MetricAuditSync, metric.WithUnit("s"), seconds)
	m.size, errs[7] = meter.Int64Gauge(attr.MetricAuditSize, metric.WithUnit("By"))
	queued, err := meter.Int64ObservableGauge(attr.MetricAuditQueue, metric.WithUnit("{record}"))
	errs[8] = err
	writable, err := meter.Int64ObservableGauge(attr.MetricAuditWritable)
	errs[9] = err
	m.watching, errs[10] = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(queued, int64(l.queue.depth()))
		o.ObserveInt64(writable, btoi(l.Err() == nil))
		return nil
	}, queued, writable)
	m.written = map[string]metric.AddOption{}
	for _, kind := range []string{KindIntent, KindOutcome, KindRefusal, KindChange, KindCheckpoint} {
		m.written[kind] = metric.WithAttributeSet(attribute.NewSet(attr.AuditKind.String(kind), attr.AuditResult.String(resultWritten)))
	}
	if err := errors.Join(errs[:]...); err != nil {
		return metrics{}, fmt.Errorf("audit metrics: %w", err)
	}
	return m, nil
}

func (m *metrics) lost(kind string) {
	m.records.Add(context.Background(), 1,
		metric.WithAttributes(attr.AuditKind.String(kind), attr.AuditResult.String(resultLost)))
}

func (m *metrics) close() error { return m.watching.Unregister() }

func btoi(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
