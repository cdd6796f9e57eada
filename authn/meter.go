package authn

import (
	"context"
	"errors"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// meter counts what an Authenticator does. The attributes of the counter that
// every request touches are built once.
type meter struct {
	tokens  metric.Int64Counter
	fetches metric.Int64Counter
	good    map[string][]metric.AddOption // by issuer
}

func newMeter(provider metric.MeterProvider, a *Authenticator) (*meter, error) {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	from := provider.Meter(attr.Scope)
	m := &meter{good: map[string][]metric.AddOption{}}
	for _, i := range a.issuers {
		m.good[i.name] = labels(i.name, "ok")
	}
	var errs [5]error
	m.tokens, errs[0] = from.Int64Counter(attr.MetricTokens,
		metric.WithDescription("Bearer tokens judged."))
	m.fetches, errs[1] = from.Int64Counter(attr.MetricKeyFetches,
		metric.WithDescription("Fetches of an issuer's keys."))
	_, errs[2] = from.Float64ObservableGauge(attr.MetricKeyAge, metric.WithUnit("s"),
		metric.WithDescription("Time since an issuer's keys were last fetched."),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			for _, s := range a.Status() {
				o.Observe(s.KeysAge.Seconds(), metric.WithAttributes(attr.IdentityIssuer.String(s.Name)))
			}
			return nil
		}))
	_, errs[3] = from.Int64ObservableCounter(attr.MetricTokenCacheHits,
		metric.WithDescription("Bearer tokens accepted from memory."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(a.cache.hits.Load())
			return nil
		}))
	_, errs[4] = from.Int64ObservableGauge(attr.MetricTokenCacheSize, metric.WithUnit("By"),
		metric.WithDescription("Memory of verified tokens."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(a.cache.size()))
			return nil
		}))
	return m, errors.Join(errs[:]...)
}

func labels(issuer, result string) []metric.AddOption {
	return []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(
		attr.IdentityIssuer.String(issuer), attr.Result.String(result)))}
}

func (m *meter) accepted(issuer string) {
	m.tokens.Add(context.Background(), 1, m.good[issuer]...)
}

func (m *meter) refused(e *Error) {
	m.tokens.Add(context.Background(), 1, labels(e.Issuer, string(e.Reason))...)
}

// watch returns what an issuer's keySet tells of its fetches.
func (m *meter) watch(issuer string, logger *slog.Logger) func(change bool, err error) {
	logger = logger.With("issuer", issuer)
	return func(change bool, err error) {
		result := "ok"
		switch {
		case errors.Is(err, errMoved):
			result = "moved"
		case err != nil:
			result = "failed"
		}
		m.fetches.Add(context.Background(), 1, labels(issuer, result)...)
		if err != nil {
			logger.Warn("issuer's keys could not be fetched as they should", "error", err)
		}
		if change {
			logger.Info("issuer's keys changed")
		}
	}
}
