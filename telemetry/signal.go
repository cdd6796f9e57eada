package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// The options below say again what the lane's connection does already, because
// an exporter reads the process's environment for what it is not told.

// spans makes the processor that sends spans along the lane.
func (l *lane) spans(ctx context.Context) (sdktrace.SpanProcessor, error) {
	exporter, err := sdktrace.SpanExporter(nil), error(nil)
	if l.conn != nil {
		exporter, err = otlptracegrpc.New(ctx, otlptracegrpc.WithGRPCConn(l.conn),
			otlptracegrpc.WithHeaders(nil), otlptracegrpc.WithTimeout(l.target.timeout))
	} else {
		exporter, err = otlptracehttp.New(ctx, otlptracehttp.WithHTTPClient(l.client),
			otlptracehttp.WithEndpointURL(l.target.url.String()), otlptracehttp.WithTLSClientConfig(nil),
			otlptracehttp.WithHeaders(nil), otlptracehttp.WithTimeout(l.target.timeout),
			otlptracehttp.WithEncoding(otlptracehttp.EncodingProtobuf),
			otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	}
	if err != nil {
		return nil, err
	}
	return spanGate{sdktrace.NewBatchSpanProcessor(spanExporter{exporter, l}, sdktrace.WithMaxQueueSize(queue)), l}, nil
}

// metrics makes the reader that sends metrics along the lane.
func (l *lane) metrics(ctx context.Context) (sdkmetric.Reader, error) {
	exporter, err := sdkmetric.Exporter(nil), error(nil)
	if l.conn != nil {
		exporter, err = otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithGRPCConn(l.conn),
			otlpmetricgrpc.WithHeaders(nil), otlpmetricgrpc.WithTimeout(l.target.timeout))
	} else {
		exporter, err = otlpmetrichttp.New(ctx, otlpmetrichttp.WithHTTPClient(l.client),
			otlpmetrichttp.WithEndpointURL(l.target.url.String()), otlpmetrichttp.WithTLSClientConfig(nil),
			otlpmetrichttp.WithHeaders(nil), otlpmetrichttp.WithTimeout(l.target.timeout),
			otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression))
	}
	if err != nil {
		return nil, err
	}
	return sdkmetric.NewPeriodicReader(metricExporter{exporter, l}), nil
}

// logs makes the processor that sends log records along the lane.
func (l *lane) logs(ctx context.Context) (sdklog.Processor, error) {
	exporter, err := sdklog.Exporter(nil), error(nil)
	if l.conn != nil {
		exporter, err = otlploggrpc.New(ctx, otlploggrpc.WithGRPCConn(l.conn),
			otlploggrpc.WithHeaders(nil), otlploggrpc.WithTimeout(l.target.timeout))
	} else {
		exporter, err = otlploghttp.New(ctx, otlploghttp.WithHTTPClient(l.client),
			otlploghttp.WithEndpointURL(l.target.url.String()), otlploghttp.WithTLSClientConfig(nil),
			otlploghttp.WithHeaders(nil), otlploghttp.WithTimeout(l.target.timeout),
			otlploghttp.WithCompression(otlploghttp.GzipCompression))
	}
	if err != nil {
		return nil, err
	}
	return logGate{sdklog.NewBatchProcessor(logExporter{exporter, l}, sdklog.WithMaxQueueSize(queue)), l}, nil
}

// spanGate and logGate let in what the lane admits. The batch processors behind
// them would drop without telling anyone.
type spanGate struct {
	sdktrace.SpanProcessor
	lane *lane
}

func (g spanGate) OnEnd(s sdktrace.ReadOnlySpan) {
	if s.SpanContext().IsSampled() && g.lane.admit() {
		g.SpanProcessor.OnEnd(s)
	}
}

type logGate struct {
	sdklog.Processor
	lane *lane
}

func (g logGate) OnEmit(ctx context.Context, r *sdklog.Record) error {
	if !g.lane.admit() {
		return nil
	}
	return g.Processor.OnEmit(ctx, r)
}

// The exporters below are the real ones on a lane.
type spanExporter struct {
	sdktrace.SpanExporter
	lane *lane
}

func (e spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	defer e.lane.pending.Add(-int64(len(spans)))
	e.lane.export(ctx, len(spans), func(ctx context.Context) error { return e.SpanExporter.ExportSpans(ctx, spans) })
	return nil
}

type metricExporter struct {
	sdkmetric.Exporter
	lane *lane
}

func (e metricExporter) Export(ctx context.Context, data *metricdata.ResourceMetrics) error {
	e.lane.export(ctx, 1, func(ctx context.Context) error { return e.Exporter.Export(ctx, data) })
	return nil
}

type logExporter struct {
	sdklog.Exporter
	lane *lane
}

func (e logExporter) Export(ctx context.Context, records []sdklog.Record) error {
	defer e.lane.pending.Add(-int64(len(records)))
	e.lane.export(ctx, len(records), func(ctx context.Context) error { return e.Exporter.Export(ctx, records) })
	return nil
}
