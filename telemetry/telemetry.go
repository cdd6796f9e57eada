// Package telemetry sets up OpenTelemetry and the process log.
//
// Traces, metrics and logs go to one collector over OTLP when the telemetry
// section names one, or else where the standard OTEL_* variables say; without
// either, no exporter exists and nothing is sent. Metrics are always there to be
// scraped, and every request has a trace id whether its trace is sent or not.
//
// It trusts nobody with more than telemetry is worth. A collector that is dead,
// slow, or not the one it should be costs a bounded queue and a counter, never a
// request: nothing falls back to plaintext, no redirect is followed, answers are
// capped and what they say is not logged. A caller's traceparent has no say in
// sampling. No detector looks at the host, so no program is run. A metric's
// labels and the values in a log line come from lists of what may be there.
//
// The variables that are read: OTEL_SDK_DISABLED, OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER and its _ARG,
// OTEL_{TRACES,METRICS,LOGS}_EXPORTER (otlp, none), OTEL_EXPORTER_OTLP_ and its
// three signals' ENDPOINT, PROTOCOL, HEADERS, CERTIFICATE, CLIENT_CERTIFICATE,
// CLIENT_KEY, INSECURE and TIMEOUT. The SDK itself reads the process's
// OTEL_BSP_*, OTEL_BLRP_*, OTEL_METRIC_EXPORT_* and the attribute limits.
package telemetry

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	lognoop "go.opentelemetry.io/otel/log/noop"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// flush is how long Shutdown waits for collectors.
const flush = 5 * time.Second

// Setup is what Start needs to know.
type Setup struct {
	Config  Config
	Getenv  func(string) string // nil: an empty environment
	Stderr  io.Writer           // where the log is written; nil: nowhere
	Text    bool                // log text in place of JSON
	Version string              // service.version
	// Processors receive every sampled span besides the exporter, such as a
	// Tree. With one, spans are recorded even if they are sent nowhere.
	Processors []sdktrace.SpanProcessor
}

// Telemetry is what the rest of the program observes itself with.
type Telemetry struct {
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	LoggerProvider log.LoggerProvider // does nothing unless logs are sent
	Logger         *slog.Logger
	Metrics        http.Handler // /metrics, for Prometheus; put it on the admin listener only

	pseudonym pseudonym
	lanes     []*lane
	report    *reporter
	stop      []func(context.Context) error
	end       context.CancelFunc
}

// Start makes everything and connects nowhere yet: a collector that is down is
// no reason not to serve. It fails on a setting that it cannot follow.
func Start(ctx context.Context, s Setup) (*Telemetry, error) {
	if s.Getenv == nil {
		s.Getenv = func(string) string { return "" }
	}
	share, err := ratio(s.Config, s.Getenv)
	if err != nil {
		return nil, fmt.Errorf("start telemetry: %w", err)
	}
	list, err := targets(s.Config, s.Getenv)
	if err != nil {
		return nil, fmt.Errorf("start telemetry: %w", err)
	}
	res, err := s.resource()
	if err != nil {
		return nil, fmt.Errorf("start telemetry: %w", err)
	}
	stderr := writer(cmp.Or[io.Writer](s.Stderr, io.Discard), s.Text, s.Config.LogLevel)
	t := &Telemetry{
		LoggerProvider: lognoop.NewLoggerProvider(),
		Logger:         slog.New(stderr),
		pseudonym:      newPseudonym(s.Config),
		// The troubles of an exporter are not sent to the exporter.
		report: &reporter{log: slog.New(stderr)},
	}
	// The SDK has two global doors for its own troubles, and no other. Left as
	// they are they print what they could not parse, such as the value of a
	// header, to stderr.
	otel.SetErrorHandler(t.report)
	otel.SetLogger(logr.Discard())

	life, end := context.WithCancel(context.WithoutCancel(ctx))
	t.end = end
	if err := t.start(life, s, list, res, share); err != nil {
		return nil, errors.Join(fmt.Errorf("start telemetry: %w", err), t.Shutdown(ctx))
	}
	return t, nil
}

// start makes the providers.
func (t *Telemetry) start(life context.Context, s Setup, list []target, res *resource.Resource, share float64) error {
	processors := s.Processors
	var push sdkmetric.Reader
	for _, target := range list {
		l, err := target.open(life, t.report)
		if err != nil {
			return err
		}
		t.lanes = append(t.lanes, l)
		switch target.signal {
		case traces:
			p, err := l.spans(life)
			if err != nil {
				return errors.New("the exporter of traces refuses its settings")
			}
			processors = append(processors[:len(processors):len(processors)], p)
		case metrics:
			if push, err = l.metrics(life); err != nil {
				return errors.New("the exporter of metrics refuses its settings")
			}
		case logs:
			p, err := l.logs(life)
			if err != nil {
				return errors.New("the exporter of logs refuses its settings")
			}
			provider := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(p))
			t.stop = append(t.stop, provider.Shutdown)
			t.LoggerProvider = provider
			t.Logger = slog.New(slog.NewMultiHandler(t.Logger.Handler(), bridge(provider, s.Config.LogLevel)))
		}
	}

	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(res), sdktrace.WithSampler(newSampler(share))}
	if len(processors) == 0 {
		opts = append(opts, sdktrace.WithSampler(sdktrace.NeverSample())) // ids, and the cost of ids
	}
	for _, p := range processors {
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	tracers := sdktrace.NewTracerProvider(opts...)
	t.TracerProvider, t.stop = tracers, append(t.stop, tracers.Shutdown)

	meters, handler, err := meters(res, s.Config.MaxSeries, push, len(processors) > 0, t.report)
	if err != nil {
		return err
	}
	t.MeterProvider, t.Metrics, t.stop = meters, handler, append(t.stop, meters.Shutdown)
	return countDrops(meters, t.lanes)
}

// Shutdown sends what is queued, for at most five seconds or until ctx is done,
// then gives up on the rest.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flush)
	defer cancel()
	errs := make([]error, len(t.stop))
	var wg sync.WaitGroup
	for i, stop := range t.stop {
		wg.Go(func() { errs[i] = stop(ctx) })
	}
	wg.Wait()
	t.end()
	for _, l := range t.lanes {
		l.abandon()
		l.close()
	}
	if err := errors.Join(errs...); err != nil {
		return errors.New("stop telemetry: not everything could be sent in time")
	}
	return nil
}

// resource says who sends. It names what it is told to; it looks at nothing.
func (s Setup) resource() (*resource.Resource, error) {
	id := make([]byte, 16)
	rand.Read(id)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562, version 4
	attrs := []attribute.KeyValue{
		semconv.ServiceInstanceID(fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])),
		semconv.ServiceVersion(cmp.Or(s.Version, "unknown")),
		semconv.ServiceName("vaultspan"),
	}
	err := pairs(s.Getenv("OTEL_RESOURCE_ATTRIBUTES"), func(key, value string) {
		attrs = append(attrs, attribute.String(key, value))
	})
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	for key, value := range s.Config.Resource {
		attrs = append(attrs, attribute.String(key, value))
	}
	if name := cmp.Or(s.Config.ServiceName, s.Getenv("OTEL_SERVICE_NAME")); name != "" {
		attrs = append(attrs, semconv.ServiceName(name))
	}
	// The last of equal keys wins.
	return resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithSchemaURL(semconv.SchemaURL), resource.WithAttributes(attrs...))
}
