package vault

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// metrics counts refreshes as they happen, and reads ages and uses from the
// view when they are collected, so that a lease costs none of it.
type metrics struct {
	vault    attribute.KeyValue
	syncs    metric.Int64Counter
	renewals metric.Int64Counter
	duration metric.Float64Histogram
	stop     func() error
}

func (v *Vault) measure(p metric.MeterProvider) (*metrics, error) {
	if p == nil {
		p = noop.NewMeterProvider()
	}
	meter := p.Meter(attr.Scope)
	m := &metrics{vault: attr.Vault.String(v.name)}
	var failed [10]error
	m.syncs, failed[0] = meter.Int64Counter(attr.MetricSyncs,
		metric.WithDescription("Refreshes of a vault, by how they ended."))
	m.renewals, failed[6] = meter.Int64Counter(attr.MetricRenewals,
		metric.WithDescription("Times a version was looked for because an upstream refused the one before, by how it ended."))
	m.duration, failed[1] = meter.Float64Histogram(attr.MetricSyncDuration,
		metric.WithUnit("s"), metric.WithDescription("Time of one refresh of a vault."))
	vaultAge, err := meter.Float64ObservableGauge(attr.MetricVaultAge,
		metric.WithUnit("s"), metric.WithDescription("Time since the last good refresh of a vault."))
	failed[2] = err
	secretAge, err := meter.Float64ObservableGauge(attr.MetricSecretAge,
		metric.WithUnit("s"), metric.WithDescription("Time since the value of a bound secret was last confirmed."))
	failed[3] = err
	uses, err := meter.Int64ObservableCounter(attr.MetricLeaseUses,
		metric.WithDescription("Times the credential of a bound secret was put on a request."))
	failed[4] = err
	valueAge, err := meter.Float64ObservableGauge(attr.MetricSecretValueAge,
		metric.WithUnit("s"), metric.WithDescription("Time since the value of a bound secret last changed."))
	failed[9] = err
	staleness, err := meter.Int64ObservableGauge(attr.MetricSecretStaleness,
		metric.WithDescription("How a bound secret stands to max_age and expires: 0, 1 from warn on, 2 stale, 3 refused."))
	failed[7] = err
	expires, err := meter.Int64ObservableGauge(attr.MetricSecretExpires,
		metric.WithUnit("s"), metric.WithDescription("Unix time from which a bound secret is not used any more, by its note."))
	failed[8] = err

	observe := func(_ context.Context, o metric.Observer) error {
		now, view := v.now(), v.view.Load()
		if !view.refreshed.IsZero() {
			o.ObserveFloat64(vaultAge, elapsed(view.refreshed, now).Seconds(), metric.WithAttributes(m.vault))
		}
		// By id: names of secrets stay out of metrics. Two references may name
		// one secret; it is observed once.
		for id, h := range view.byID() {
			with := metric.WithAttributes(m.vault, attr.SecretID.String(id))
			o.ObserveFloat64(secretAge, elapsed(h.confirmed, now).Seconds(), with)
			o.ObserveFloat64(valueAge, now.Sub(h.version.changed).Seconds(), with)
			o.ObserveInt64(staleness, int64(h.limits.due(now)), with)
			if !h.limits.expires.IsZero() {
				o.ObserveInt64(expires, h.limits.expires.Unix(), with)
			}
		}
		for u, n := range view.uses {
			route, id := attr.Route.String(u.route), attr.SecretID.String(u.secret)
			o.ObserveInt64(uses, n.fresh.Load(), metric.WithAttributes(route, id, attr.SecretStale.Bool(false)))
			o.ObserveInt64(uses, n.stale.Load(), metric.WithAttributes(route, id, attr.SecretStale.Bool(true)))
		}
		return nil
	}
	registration, err := meter.RegisterCallback(observe, vaultAge, secretAge, uses, valueAge, staleness, expires)
	failed[5] = err
	if err := errors.Join(failed[:]...); err != nil {
		return nil, err
	}
	m.stop = registration.Unregister
	return m, nil
}

func (m *metrics) fetched(ctx context.Context, err error, took time.Duration) {
	result := "ok"
	if e, ok := errors.AsType[*SourceError](err); ok {
		result = string(e.Reason)
	}
	with := metric.WithAttributes(m.vault, attr.Result.String(result))
	m.syncs.Add(ctx, 1, with)
	m.duration.Record(ctx, took.Seconds(), with)
}

// renewed counts by a word of Renew's.
func (m *metrics) renewed(ctx context.Context, result string) {
	m.renewals.Add(ctx, 1, metric.WithAttributes(m.vault, attr.Result.String(result)))
}

func (m *metrics) close() { _ = m.stop() } // what it can fail on is not ours to mend
