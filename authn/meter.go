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
	tokens   metric.Int64Counter
	fetches  metric.Int64Counter
	good     map[string][]metric.AddOption // by issuer
	observed metric.Registration           // of what is read off when it is asked for
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
	var errs [6]error
	m.tokens, errs[0] = from.Int64Counter(attr.MetricTokens,
		metric.WithDescription("Bearer tokens judged."))
	m.fetches, errs[1] = from.Int64Counter(attr.MetricKeyFetches,
		metric.WithDescription("Fetches of an issuer's keys."))
	age, err := from.Float64ObservableGauge(attr.MetricKeyAge, metric.WithUnit("s"),
		metric.WithDescription("Time since an issuer's keys were last fetched."))
	errs[2] = err
	hits, err := from.Int64ObservableCounter(attr.MetricTokenCacheHits,
		metric.WithDescription("Bearer tokens accepted from memory."))
	errs[3] = err
	size, err := from.Int64ObservableGauge(attr.MetricTokenCacheSize, metric.WithUnit("By"),
		metric.WithDescription("Memory of verified tokens."))
	errs[4] = err
	m.observed, errs[5] = from.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, s := range a.Status() {
			o.ObserveFloat64(age, s.KeysAge.Seconds(), metric.WithAttributes(attr.IdentityIssuer.String(s.Name)))
		}
		o.ObserveInt64(hits, a.cache.hits.Load())
		o.ObserveInt64(size, int64(a.cache.size()))
		return nil
	}, age, hits, size)
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
