// Command send sends one span with the OpenTelemetry SDK, as a service that is
// instrumented does. It knows nothing of gateways: the SDK reads where to send,
// and with which headers, from the standard OTEL_* variables.
package main

import (
	"context"
	"fmt"
	"os"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func main() {
	ctx := context.Background()
	name := "hello"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "send:", err)
		os.Exit(2)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	_, span := provider.Tracer("send").Start(ctx, name)
	span.End()
	if err := provider.ForceFlush(ctx); err != nil {
		fmt.Println("not sent:", err)
		os.Exit(1)
	}
	fmt.Println("sent", name)
}
