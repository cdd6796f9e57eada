package telemetry

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// labels is every attribute a metric may have. Each has few values, which the
// configuration or a closed list bounds, and none names a caller or a secret.
var labels = attribute.NewAllowKeysFilter(
	attr.Route, attr.Refusal,
	attr.IdentityIssuer, attr.IdentityKind, attr.IdentityMethod,
	attr.DecisionAllow, attr.DecisionRole, attr.DecisionCached,
	attr.Collection, attr.SecretID, attr.SecretCollection, attr.SecretStale, attr.Vault,
	attr.AuditKind, attr.AuditResult,
	attr.Result, attr.Signal, attr.SessionEnd, attr.Operation,
	attr.HTTPRequestMethod, attr.HTTPResponseStatusCode, attr.HTTPRoute,
	attr.URLScheme, attr.ServerAddress, attr.ServerPort, attr.NetworkProtocolVersion,
	attr.ErrorType,
)

// seconds are the buckets of every histogram of time: from a cached decision to
// a slow upstream.
var seconds = []float64{
	0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
	0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
}

// view gives an instrument the labels it may have and exemplars that hold a
// trace id and nothing else: the SDK would put what the filter drops there.
func view(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	s := sdkmetric.Stream{
		Name: i.Name, Description: i.Description, Unit: i.Unit,
		AttributeFilter: labels,
		ExemplarReservoirProviderSelector: func(a sdkmetric.Aggregation) exemplar.ReservoirProvider {
			provide := sdkmetric.DefaultExemplarReservoirProviderSelector(a)
			return func(set attribute.Set) exemplar.Reservoir { return bare{provide(set)} }
		},
	}
	if i.Kind == sdkmetric.InstrumentKindHistogram && i.Unit == "s" {
		s.Aggregation = sdkmetric.AggregationExplicitBucketHistogram{Boundaries: seconds}
	}
	return s, true
}

type bare struct{ exemplar.Reservoir }

func (b bare) Offer(ctx context.Context, t time.Time, v exemplar.Value, _ []attribute.KeyValue) {
	b.Reservoir.Offer(ctx, t, v, nil)
}

// meters makes the meter provider, read by /metrics and by the given reader.
// Exemplars point to traces that are sent somewhere. When none is, the trace id
// still finds the request in the audit log, so all are offered.
func meters(res *resource.Resource, maxSeries int, push sdkmetric.Reader, tracing bool, report *reporter) (*sdkmetric.MeterProvider, http.Handler, error) {
	registry := prometheus.NewRegistry()
	pull, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo())
	if err != nil {
		return nil, nil, err
	}
	filter := exemplar.Filter(func(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsValid() })
	if tracing {
		filter = exemplar.TraceBasedFilter
	}
	opts := []sdkmetric.Option{
		sdkmetric.WithResource(res), sdkmetric.WithReader(pull), sdkmetric.WithView(view),
		sdkmetric.WithExemplarFilter(filter), sdkmetric.WithCardinalityLimit(cmp.Or(maxSeries, 200)),
	}
	if push != nil {
		opts = append(opts, sdkmetric.WithReader(push))
	}
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics:   true, // the only text format with exemplars
		ErrorHandling:       promhttp.ContinueOnError,
		ErrorLog:            report,
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	})
	return sdkmetric.NewMeterProvider(opts...), handler, nil
}

// countDrops makes the losses of the lanes a metric.
func countDrops(provider metric.MeterProvider, lanes []*lane) error {
	_, err := provider.Meter(attr.Scope).Int64ObservableCounter(attr.MetricTelemetryDropped,
		metric.WithDescription("Spans, log records and metric exports that no collector took."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for _, l := range lanes {
				o.Observe(l.dropped.Load(), metric.WithAttributes(attr.Signal.String(l.target.signal)))
			}
			return nil
		}))
	return err
}
