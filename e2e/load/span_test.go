package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// BenchmarkSpanTree is the six spans of a request with their attributes, as
// proxy makes them, or the one that it makes of a trace that is not kept.
func BenchmarkSpanTree(b *testing.B) {
	for _, sample := range []float64{0, 0.1, 1} {
		b.Run(fmt.Sprintf("sample=%g", sample), func(b *testing.B) {
			provider := sdktrace.NewTracerProvider(
				sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(sample))),
				sdktrace.WithBatcher(nowhere{}),
			)
			defer provider.Shutdown(context.WithoutCancel(b.Context()))
			tracer := provider.Tracer(attr.Scope)
			b.ReportAllocs()
			for b.Loop() {
				spanTree(b.Context(), tracer)
			}
		})
	}
}

// nowhere is a collector that costs nothing.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (nowhere) Shutdown(context.Context) error                             { return nil }

func spanTree(ctx context.Context, tracer trace.Tracer) {
	ctx, root := tracer.Start(ctx, "GET", trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot(), trace.WithTimestamp(time.Now()))
	defer root.End()
	if !root.IsRecording() {
		return
	}
	for _, child := range []struct {
		name  string
		attrs []attribute.KeyValue
	}{
		{attr.SpanAuthenticate, []attribute.KeyValue{
			attr.IdentityIssuer.String("corp"), attr.IdentityKind.String("human"), attr.IdentityMethod.String("bearer"),
		}},
		{attr.SpanDecide, []attribute.KeyValue{
			attr.DecisionAllow.Bool(true), attr.DecisionRole.String("payments-engineer"), attr.DecisionReason.String("granted"),
			attr.DecisionRevision.String("0123456789ab"), attr.DecisionCached.Bool(true), attr.Collection.String("prod/payments"),
		}},
		{attr.SpanLease, []attribute.KeyValue{
			attr.SecretName.String("STRIPE_API_KEY"), attr.SecretCollection.String("prod/payments"), attr.SecretVersion.String("2026-01-01T00:00:00Z.0123456789abcdef"),
			attr.SecretFingerprint.String("0123456789abcdef"), attr.SecretAge.Float64(12.5), attr.SecretStale.Bool(false),
		}},
		{attr.SpanRecord, []attribute.KeyValue{attr.AuditSeq.Int64(12), attr.AuditWait.Float64(0.0009)}},
		{"GET api.stripe.com", []attribute.KeyValue{
			attr.HTTPRequestMethod.String("GET"), attr.URLScheme.String("https"), attr.ServerAddress.String("api.stripe.com"),
			attr.ServerPort.Int(443), attr.Attempt.String("0123456789abcdef0123456789abcdef-1"),
			attr.HTTPResponseStatusCode.Int(200), attr.NetworkProtocolVersion.String("2"),
		}},
	} {
		_, span := tracer.Start(ctx, child.name)
		span.SetAttributes(child.attrs...)
		span.End()
	}
	root.SetName("GET stripe")
	root.SetAttributes(
		attr.UserID.String("0123456789abcdef0123456789abcdef"), attr.HTTPRequestMethod.String("GET"), attr.HTTPResponseStatusCode.Int(200), attr.URLScheme.String("https"),
		attr.ServerAddress.String("gw.example.com"), attr.NetworkProtocolVersion.String("1.1"), attr.ClientAddress.String("192.0.2.1"),
		attr.HTTPRoute.String("/stripe/"), attr.Route.String("stripe"),
	)
}
