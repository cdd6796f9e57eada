package telemetry_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/telemetry"
	"github.com/vaultspan/vaultspan/telemetry/attr"
)

const canary = "CANARY-ls-0123456789abcdef"

// emit makes one of everything.
func emit(t *testing.T, tel *telemetry.Telemetry) {
	t.Helper()
	ctx, root := tel.TracerProvider.Tracer(attr.Scope).Start(t.Context(), "POST stripe")
	_, child := tel.TracerProvider.Tracer(attr.Scope).Start(ctx, attr.SpanDecide)
	child.End()
	requests, err := tel.MeterProvider.Meter(attr.Scope).Int64Counter(attr.MetricRequests)
	if err != nil {
		t.Fatal(err)
	}
	requests.Add(ctx, 1, metric.WithAttributes(attr.Route.String("stripe")))
	tel.Logger.InfoContext(ctx, "a line")
	root.End()
}

// The first collector is the shape of Lightstep's: an https endpoint and a token
// in a header of its own.
func TestAllThreeSignalsReachTheCollectorWithTheHeader(t *testing.T) {
	sections := map[string]func(c *collector) telemetry.Setup{
		"by the config": func(c *collector) telemetry.Setup {
			return telemetry.Setup{Config: telemetry.Config{OTLP: telemetry.OTLP{
				Endpoint: c.url, CA: c.ca, Protocol: c.protocol,
				Headers: map[string]func() string{"lightstep-access-token": secret(canary)},
			}}}
		},
		"by the environment": func(c *collector) telemetry.Setup {
			return telemetry.Setup{Getenv: env(map[string]string{
				"OTEL_EXPORTER_OTLP_ENDPOINT":    c.url,
				"OTEL_EXPORTER_OTLP_PROTOCOL":    map[string]string{"grpc": "grpc", "http": "http/protobuf"}[c.protocol],
				"OTEL_EXPORTER_OTLP_CERTIFICATE": c.ca,
				"OTEL_EXPORTER_OTLP_HEADERS":     "lightstep-access-token=" + canary,
			})}
		},
	}
	collectors := map[string]func(*testing.T) *collector{"http": overHTTPS, "grpc": overGRPC}
	for protocol, collect := range collectors {
		for source, setup := range sections {
			t.Run(protocol+" "+source, func(t *testing.T) {
				c := collect(t)
				s := setup(c)
				s.Version = "1.2.3"
				tel, log := start(t, s)
				emit(t, tel)
				if err := tel.Shutdown(t.Context()); err != nil {
					t.Fatal(err, log)
				}
				if got := c.names(); !slices.Contains(got, "POST stripe") || !slices.Contains(got, "decide") {
					t.Errorf("spans %q", got)
				}
				if !slices.Contains(c.metrics, attr.MetricRequests) || !slices.Contains(c.metrics, attr.MetricTelemetryDropped) {
					t.Errorf("metrics %q", c.metrics)
				}
				if !slices.Contains(c.logs, "a line") {
					t.Errorf("logs %q", c.logs)
				}
				for _, h := range c.headers {
					if h.Get("Lightstep-Access-Token") != canary {
						t.Errorf("a request without the token: %v", h)
					}
				}
				resource := fmt.Sprint(c.resource)
				if !strings.Contains(resource, `"vaultspan"`) || !strings.Contains(resource, `"1.2.3"`) {
					t.Errorf("resource %s", resource)
				}
				if strings.Contains(log.String(), canary) {
					t.Error("the token is in the log")
				}
			})
		}
	}
}

func env(m map[string]string) func(string) string {
	return func(name string) string { return m[name] }
}

func TestTheResourceNamesNothingOfTheHost(t *testing.T) {
	c := overHTTPS(t)
	tel, _ := start(t, telemetry.Setup{Config: telemetry.Config{
		OTLP:     telemetry.OTLP{Endpoint: c.url + "/base/", Protocol: "http", CA: c.ca},
		Resource: map[string]string{"deployment.environment.name": "test"}, ServiceName: "edge",
	}, Getenv: env(map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "team=pay%20ments,service.name=lost", "OTEL_SERVICE_NAME": "lost too"})})
	emit(t, tel)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, kv := range c.resource.Attributes {
		got[kv.Key] = kv.Value.GetStringValue()
	}
	if got["service.name"] != "edge" || got["team"] != "pay ments" || got["deployment.environment.name"] != "test" || len(got["service.instance.id"]) != 36 {
		t.Errorf("resource %v", got)
	}
	for key := range got { // M18: a detector would have looked, or run a program
		if prefix, _, _ := strings.Cut(key, "."); slices.Contains([]string{"host", "os", "process", "container"}, prefix) {
			t.Errorf("%s=%s", key, got[key])
		}
	}
	if !slices.Contains(c.paths, "/base/v1/traces") {
		t.Errorf("paths %q", c.paths)
	}
}

func TestNothingIsSentUnasked(t *testing.T) {
	tel, log := start(t, telemetry.Setup{})
	ctx, span := tel.TracerProvider.Tracer(attr.Scope).Start(t.Context(), "GET wiki")
	if !span.SpanContext().TraceID().IsValid() || span.SpanContext().IsSampled() {
		t.Errorf("want a trace id of an unsampled trace, got %+v", span.SpanContext())
	}
	tel.Logger.InfoContext(ctx, "hello", "n", 1)
	line := log.lines(t)[0]
	if line["trace_id"] != span.SpanContext().TraceID().String() || line["span_id"] != span.SpanContext().SpanID().String() ||
		line["msg"] != "hello" || line["level"] != "INFO" || line["time"] == nil {
		t.Errorf("line %v", line)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTheConfigWinsOverTheEnvironment(t *testing.T) {
	wanted, other := overHTTPS(t), overHTTPS(t)
	// The exporters would read these of the process by themselves.
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", other.url)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-other="+canary)
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", other.ca)
	t.Setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
	tel, _ := start(t, telemetry.Setup{Getenv: os.Getenv, Config: telemetry.Config{
		OTLP: telemetry.OTLP{Endpoint: wanted.url, CA: wanted.ca, Protocol: "http"},
	}})
	emit(t, tel)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(wanted.names()) != 2 || len(other.names()) != 0 {
		t.Errorf("wanted got %q, other %q", wanted.names(), other.names())
	}
	for _, h := range wanted.headers {
		if h.Get("X-Other") != "" {
			t.Error("a header of the environment went along")
		}
	}
}

func TestSamplingAsksNoCallerAndKeepsEveryFetch(t *testing.T) {
	c := overHTTPS(t)
	none := 0.0
	tel, _ := start(t, telemetry.Setup{Config: telemetry.Config{Sample: &none, OTLP: telemetry.OTLP{Endpoint: c.url, CA: c.ca, Protocol: "http"}}})
	tracer := tel.TracerProvider.Tracer(attr.Scope)
	sync, root := tracer.Start(t.Context(), attr.SpanSync)
	_, hop := tracer.Start(sync, "GET bitwarden")
	hop.End()
	root.End()
	_, request := tracer.Start(remoteParent(t.Context()), "GET wiki")
	request.SetAttributes(attribute.Bool("x", true))
	request.End()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := c.names()
	slices.Sort(got)
	if !slices.Equal(got, []string{"GET bitwarden", attr.SpanSync}) {
		t.Errorf("spans %q", got)
	}
}

func TestAStartThatCannotBeFollowedSaysWhichVariableAndQuotesNothing(t *testing.T) {
	for name, vars := range map[string]map[string]string{
		"OTEL_EXPORTER_OTLP_HEADERS":       {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS": canary},
		"OTEL_EXPORTER_OTLP_LOGS_HEADERS":  {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://collector:4318", "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "a=" + canary},
		"OTEL_EXPORTER_OTLP_ENDPOINT":      {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:" + canary + "@127.0.0.1:1"},
		"OTEL_EXPORTER_OTLP_TIMEOUT":       {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": canary},
		"OTEL_EXPORTER_OTLP_PROTOCOL":      {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": canary},
		"OTEL_EXPORTER_OTLP_CERTIFICATE":   {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:1", "OTEL_EXPORTER_OTLP_CERTIFICATE": os.DevNull},
		"OTEL_TRACES_EXPORTER":             {"OTEL_TRACES_EXPORTER": canary},
		"OTEL_TRACES_SAMPLER:":             {"OTEL_TRACES_SAMPLER": canary},
		"OTEL_TRACES_SAMPLER_ARG":          {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": canary},
		"OTEL_RESOURCE_ATTRIBUTES":         {"OTEL_RESOURCE_ATTRIBUTES": canary},
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIF": {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:1", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": os.DevNull},
	} {
		_, err := telemetry.Start(t.Context(), telemetry.Setup{Getenv: env(vars)})
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// remoteParent is a context as a traceparent of a caller would make it.
func remoteParent(ctx context.Context) context.Context {
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled, Remote: true,
	}))
}
