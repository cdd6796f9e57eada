package authn_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/authn"
)

// TestTelemetry: tokens and fetches are counted by issuer and result, each fetch
// is a trace of its own, and none of it holds a token.
func TestTelemetry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := fakeIDP("a.test", public("k1", rsaKey()))
		reader, recorder, log := sdkmetric.NewManualReader(), tracetest.NewSpanRecorder(), new(bytes.Buffer)
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
		ctx, request := tracer.Tracer("test").Start(t.Context(), "request")
		a, err := authn.New(ctx, authn.Config{
			Issuers: []authn.IssuerConfig{p.config("corp")}, Transport: p, Tracer: tracer,
			Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Logger: slog.New(slog.NewTextHandler(log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		token := fresh(t, p, rsaKey(), "k1")
		for range 3 {
			if _, err := a.Bearer(ctx, token); err != nil {
				t.Fatal(err)
			}
		}
		reason(t, a, fresh(t, p, otherRSA(), "k1"))
		reason(t, a, "opaque")
		time.Sleep(9 * time.Second)
		p.set(func(p *idp) { p.jwks = raw(500, "text/plain", "PAGE") })
		time.Sleep(6 * time.Minute)
		synctest.Wait()

		var metrics metricdata.ResourceMetrics
		if err := reader.Collect(ctx, &metrics); err != nil {
			t.Fatal(err)
		}
		got := points(metrics)
		for name, want := range map[string]int64{
			"vaultspan.tokens corp ok":             3,
			"vaultspan.tokens corp invalid":        1,
			"vaultspan.tokens  malformed":          1,
			"vaultspan.tokens.cache.hits  ":        2,
			"vaultspan.issuer.key_fetches corp ok": 1,
		} {
			if got[name] != want {
				t.Errorf("%s: got %d, want %d of %v", name, got[name], want, got)
			}
		}
		for _, name := range []string{"vaultspan.issuer.key_fetches corp failed", "vaultspan.issuer.key_age corp ", "vaultspan.tokens.cache.size  "} {
			if got[name] <= 0 {
				t.Errorf("%s: got %d, want more than 0", name, got[name])
			}
		}

		a.Close()
		var after metricdata.ResourceMetrics
		if err := reader.Collect(ctx, &after); err != nil {
			t.Fatal(err)
		}
		if _, ok := points(after)["vaultspan.issuer.key_age corp "]; ok {
			t.Error("observed after Close")
		}

		own, hops := 0, 0
		for _, span := range recorder.Ended() {
			if span.SpanContext().TraceID() == request.SpanContext().TraceID() {
				t.Errorf("span %s is in the request's trace", span.Name())
			}
			switch span.SpanKind() {
			case trace.SpanKindClient:
				hops++
			default:
				own++
			}
			if all := fmt.Sprint(span.Name(), span.Attributes(), span.Status(), span.Events()); strings.Contains(all, "PAGE") {
				t.Errorf("a span quotes the issuer: %s", all)
			}
		}
		if own == 0 || hops != 2*own {
			t.Errorf("%d fetches and %d hops; want two hops each", own, hops)
		}
		if s := log.String(); !strings.Contains(s, "issuer=corp") || strings.Contains(s, "PAGE") {
			t.Errorf("log: %s", s)
		}
	})
}

// points flattens metrics to "name issuer result" → value.
func points(metrics metricdata.ResourceMetrics) map[string]int64 {
	got := map[string]int64{}
	key := func(name string, set attribute.Set) string {
		issuer, _ := set.Value("vaultspan.identity.issuer")
		result, _ := set.Value("vaultspan.result")
		return name + " " + issuer.AsString() + " " + result.AsString()
	}
	for _, scope := range metrics.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, point := range data.DataPoints {
					got[key(m.Name, point.Attributes)] += point.Value
				}
			case metricdata.Gauge[int64]:
				for _, point := range data.DataPoints {
					got[key(m.Name, point.Attributes)] = point.Value
				}
			case metricdata.Gauge[float64]:
				for _, point := range data.DataPoints {
					got[key(m.Name, point.Attributes)] = int64(point.Value)
				}
			}
		}
	}
	return got
}
