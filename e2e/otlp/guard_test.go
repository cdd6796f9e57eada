package otlp_test

import (
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/vaultspan/vaultspan/e2e/otlp"
)

func TestAReceiverRefusesWrongHeaders(t *testing.T) {
	r, err := otlp.Open(t.Context(), otlp.Config{Accept: func(h http.Header) bool { return h.Get("Lightstep-Access-Token") == "right" }})
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]int{"": 0, "wrong": 0, "right": 2} {
		headers := map[string]string{"lightstep-access-token": token}
		grpc, err1 := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpointURL(r.GRPC), otlptracegrpc.WithHeaders(headers))
		web, err2 := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(r.HTTP+"/v1/traces"), otlptracehttp.WithHeaders(headers))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		before := len(r.Spans())
		for _, exporter := range []sdktrace.SpanExporter{grpc, web} {
			provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
			_, span := provider.Tracer("test").Start(t.Context(), "probe")
			span.End()
			if err := provider.ForceFlush(t.Context()); (err == nil) != (want > 0) {
				t.Errorf("token %q: %v", token, err)
			}
			provider.Shutdown(t.Context())
		}
		if got := len(r.Spans()) - before; got != want {
			t.Errorf("token %q: %d spans arrived, want %d", token, got, want)
		}
	}
}
