package otlp_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/e2e/otlp"
)

func start(t *testing.T) *otlp.Receiver {
	t.Helper()
	r, err := otlp.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// exporters are real ones, over both protocols.
func exporters(t *testing.T, r *otlp.Receiver) map[string]trace.SpanExporter {
	t.Helper()
	token := map[string]string{"lightstep-access-token": "LS-TOKEN"}
	grpc, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpointURL(r.GRPC), otlptracegrpc.WithHeaders(token))
	if err != nil {
		t.Fatal(err)
	}
	http, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(r.HTTP+"/v1/traces"), otlptracehttp.WithHeaders(token))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]trace.SpanExporter{"grpc": grpc, "http": http}
}

// sample makes a trace like the gateway's, which links to one of its own.
func sample(ctx context.Context, tp api.TracerProvider) (traceID string) {
	tracer := tp.Tracer("test")
	_, sync := tracer.Start(ctx, "bitwarden sync")
	sync.End()
	ctx, root := tracer.Start(ctx, "POST stripe", api.WithSpanKind(api.SpanKindServer),
		api.WithAttributes(attribute.String("vaultspan.route", "stripe"), attribute.String("client.address", "127.0.0.1")))
	_, decide := tracer.Start(ctx, "decide", api.WithAttributes(attribute.Bool("vaultspan.decision.allow", true)))
	decide.End()
	_, lease := tracer.Start(ctx, "lease", api.WithLinks(api.Link{SpanContext: sync.SpanContext()}, api.Link{SpanContext: decide.SpanContext()}),
		api.WithAttributes(attribute.String("vaultspan.secret.version", "2026-01-01"), attribute.Int("vaultspan.secret.age", 7)))
	lease.AddEvent("stale")
	ctx, upstream := tracer.Start(ctx, "POST api.stripe.com", api.WithSpanKind(api.SpanKindClient))
	_, connect := tracer.Start(ctx, "connect")
	connect.SetStatus(codes.Error, "refused")
	connect.End()
	upstream.End()
	lease.End()
	root.End()
	return root.SpanContext().TraceID().String()
}

const golden = `POST stripe SERVER
│   vaultspan.route=stripe
├─ decide INTERNAL
│      vaultspan.decision.allow=true
├─ lease INTERNAL
│      vaultspan.secret.age …
│      vaultspan.secret.version=2026-01-01
│      event stale
│      link → bitwarden sync
│      link → decide
└─ POST api.stripe.com CLIENT
   └─ connect INTERNAL
          error: refused
`

func TestTraceArrivesOverBothProtocols(t *testing.T) {
	r := start(t)
	for protocol, exporter := range exporters(t, r) {
		t.Run(protocol, func(t *testing.T) {
			tp := trace.NewTracerProvider(trace.WithBatcher(exporter))
			id := sample(t.Context(), tp)
			if err := tp.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			spans, err := r.WaitTrace(t.Context(), id, "lease", "connect")
			if err != nil {
				t.Fatal(err)
			}
			view := otlp.View{Show: []string{"vaultspan.*"}, Volatile: []string{"vaultspan.secret.age"}}
			if got := view.Tree(spans, r.Spans()); got != golden {
				t.Errorf("got\n%s\nwant\n%s", got, golden)
			}
		})
	}
	exports := r.Exports(otlp.Traces)
	if len(exports) != 2 {
		t.Fatalf("%d exports", len(exports))
	}
	for _, e := range exports {
		if got := e.Header.Get("lightstep-access-token"); got != "LS-TOKEN" {
			t.Errorf("lightstep-access-token = %q of %v", got, e.Header)
		}
	}
	if dump := r.Dump(); !bytes.Contains(dump, []byte("2026-01-01")) || bytes.Contains(dump, []byte("LS-TOKEN")) {
		t.Errorf("dump: %s", dump)
	}
}

func TestMetricsAndLogsArrive(t *testing.T) {
	r := start(t)
	toMetrics, err := otlpmetricgrpc.New(t.Context(), otlpmetricgrpc.WithEndpointURL(r.GRPC))
	if err != nil {
		t.Fatal(err)
	}
	mp := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(toMetrics)))
	counter, err := mp.Meter("test").Int64Counter("uses")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 3)
	toLogs, err := otlploghttp.New(t.Context(), otlploghttp.WithEndpointURL(r.HTTP+"/v1/logs"))
	if err != nil {
		t.Fatal(err)
	}
	lp := log.NewLoggerProvider(log.WithProcessor(log.NewBatchProcessor(toLogs)))
	var record otellog.Record
	record.SetBody(attribute.StringValue("secret rotated"))
	lp.Logger("test").Emit(t.Context(), record)
	if err := errors.Join(mp.Shutdown(t.Context()), lp.Shutdown(t.Context())); err != nil {
		t.Fatal(err)
	}
	for signal, text := range map[otlp.Signal]string{otlp.Metrics: `"uses"`, otlp.Logs: "secret rotated"} {
		exports := r.Exports(signal)
		if len(exports) != 1 || !strings.Contains(string(exports[0].JSON), text) {
			t.Errorf("%s: %q", signal, exports)
		}
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	r := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := r.WaitTrace(ctx, "0123", "lease")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "0123") {
		t.Errorf("%v", err)
	}
}
