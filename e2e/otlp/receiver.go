// Package otlp is a real OTLP receiver, the collector's own, that keeps what it
// gets: spans, metrics and logs over gRPC and HTTP, with the headers they came
// with. Tests wait for a trace in it, read it as a tree, and search everything it
// got for secrets.
//
// It listens on loopback without TLS and believes every exporter.
package otlp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// Receiver is a running OTLP receiver. It embeds what it got.
type Receiver struct {
	*Store
	GRPC string // http://host:port
	HTTP string // http://host:port, for OTEL_EXPORTER_OTLP_ENDPOINT

	parts []component.Component
}

// Config is a receiver to be. The zero Config listens on two free ports of
// 127.0.0.1 and takes everything.
type Config struct {
	GRPC, HTTP string                 // host:port. Default: 127.0.0.1:0
	Accept     func(http.Header) bool // says of an export whether its headers will do
}

// Start opens a receiver of the zero Config.
func Start(ctx context.Context) (*Receiver, error) { return Open(ctx, Config{}) }

// Open starts a receiver.
func Open(ctx context.Context, c Config) (*Receiver, error) {
	r := &Receiver{Store: newStore()}
	factory := otlpreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig().(*otlpreceiver.Config)
	grpc := cfg.Protocols.GRPC.GetOrInsertDefault()
	grpc.NetAddr.Endpoint = cmp.Or(c.GRPC, "127.0.0.1:0")
	grpc.IncludeMetadata = true
	web := cfg.Protocols.HTTP.GetOrInsertDefault()
	web.ServerConfig.NetAddr.Endpoint = cmp.Or(c.HTTP, "127.0.0.1:0")
	web.ServerConfig.IncludeMetadata = true
	host := componenttest.NewNopHost()
	if c.Accept != nil {
		host = guarded(cfg, c.Accept)
	}

	// The receiver tells the ports it got in its log, and nowhere else.
	core, log := observer.New(zap.InfoLevel)
	set := receiver.Settings{
		ID:                component.NewID(factory.Type()),
		TelemetrySettings: componenttest.NewNopTelemetrySettings(),
		BuildInfo:         component.NewDefaultBuildInfo(),
	}
	set.Logger = zap.New(core)
	if err := r.assemble(ctx, factory, set, cfg); err != nil {
		return nil, fmt.Errorf("otlp receiver: %w", err)
	}
	for _, part := range r.parts {
		if err := part.Start(ctx, host); err != nil {
			return nil, errors.Join(fmt.Errorf("otlp receiver: %w", err), r.Close(ctx))
		}
	}
	for message, url := range map[string]*string{"Starting GRPC server": &r.GRPC, "Starting HTTP server": &r.HTTP} {
		entries := log.FilterMessage(message).All()
		if len(entries) != 1 {
			return nil, errors.Join(fmt.Errorf("otlp receiver: it logged %q %d times", message, len(entries)), r.Close(ctx))
		}
		*url = fmt.Sprintf("http://%v", entries[0].ContextMap()["endpoint"])
	}
	return r, nil
}

// assemble makes the receivers of the three signals, which share their servers.
func (r *Receiver) assemble(ctx context.Context, factory receiver.Factory, set receiver.Settings, cfg component.Config) error {
	toTraces, err1 := consumer.NewTraces(func(ctx context.Context, td ptrace.Traces) error {
		r.traces(td, headers(ctx))
		return nil
	})
	toMetrics, err2 := consumer.NewMetrics(func(ctx context.Context, md pmetric.Metrics) error {
		r.metrics(md, headers(ctx))
		return nil
	})
	toLogs, err3 := consumer.NewLogs(func(ctx context.Context, ld plog.Logs) error {
		r.logs(ld, headers(ctx))
		return nil
	})
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	traces, err1 := factory.CreateTraces(ctx, set, cfg, toTraces)
	metrics, err2 := factory.CreateMetrics(ctx, set, cfg, toMetrics)
	logs, err3 := factory.CreateLogs(ctx, set, cfg, toLogs)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	r.parts = []component.Component{traces, metrics, logs}
	return nil
}

// headers are those of the export under way: gRPC metadata or HTTP headers.
func headers(ctx context.Context) http.Header {
	h := http.Header{}
	metadata := client.FromContext(ctx).Metadata
	for key := range metadata.Keys() {
		for _, value := range metadata.Get(key) {
			h.Add(key, value)
		}
	}
	return h
}

// Close stops listening and waits for exports under way. What the receiver got
// stays readable.
func (r *Receiver) Close(ctx context.Context) error {
	var err error
	for _, part := range r.parts {
		err = errors.Join(err, part.Shutdown(ctx))
	}
	return err
}
