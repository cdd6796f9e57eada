package telemetry_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/telemetry"
	"github.com/vaultspan/vaultspan/telemetry/attr"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// trees runs telemetry whose only processor is a Tree.
func trees(t *testing.T, o telemetry.TreeOptions) (trace.Tracer, *output) {
	t.Helper()
	out := new(output)
	tel, _ := start(t, telemetry.Setup{Processors: []sdktrace.SpanProcessor{telemetry.NewTree(out, o)}})
	return tel.TracerProvider.Tracer(attr.Scope), out
}

// request makes the spans of one request as design has them.
func request(ctx context.Context, tracer trace.Tracer, fetched trace.SpanContext) {
	span := func(ctx context.Context, name string, opts ...trace.SpanStartOption) trace.Span {
		_, s := tracer.Start(ctx, name, opts...)
		return s
	}
	ctx, root := tracer.Start(ctx, "POST stripe", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithLinks(trace.Link{SpanContext: trace.SpanContextFromContext(remoteParent(ctx))}))
	root.SetAttributes(attr.Route.String("stripe"), attr.UserID.String("u-0123"), attr.URLPath.String("/"+canary))
	s := span(ctx, attr.SpanAuthenticate)
	s.SetAttributes(attr.IdentityIssuer.String("corp"), attr.IdentityKind.String("human"), attr.IdentityMethod.String("bearer"))
	s.End()
	s = span(ctx, attr.SpanDecide)
	s.SetAttributes(attr.DecisionAllow.Bool(true), attr.DecisionRole.String("payments-engineer\x1b[2J"), attr.DecisionCached.Bool(false))
	s.End()
	s = span(ctx, attr.SpanLease, trace.WithLinks(trace.Link{SpanContext: fetched}))
	s.SetAttributes(attr.SecretName.String("STRIPE_API_KEY"), attr.SecretVersion.String("2026-01-02.aa"), attr.SecretStale.Bool(false))
	s.End()
	attempt, client := tracer.Start(ctx, "POST api.stripe.com", trace.WithSpanKind(trace.SpanKindClient))
	s = span(attempt, "connect")
	s.SetStatus(codes.Error, "refused")
	s.End()
	client.SetAttributes(attr.ErrorType.String("upstream-reset"))
	client.SetStatus(codes.Error, "")
	client.End()
	root.SetAttributes(attr.HTTPResponseStatusCode.Int(502), attr.Refusal.String("upstream-reset"))
	root.SetStatus(codes.Error, "")
	root.End()
}

func TestATreeIsDrawnWhenTheRequestEnds(t *testing.T) {
	for name, options := range map[string]telemetry.TreeOptions{
		"tree.txt":       {Stable: true},
		"tree-color.txt": {Stable: true, Color: true},
	} {
		tracer, out := trees(t, options)
		_, sync := tracer.Start(t.Context(), attr.SpanSync, trace.WithNewRoot())
		sync.End()
		if out.String() != "" {
			t.Errorf("a trace that is no request was drawn: %s", out)
		}
		request(t.Context(), tracer, sync.SpanContext())
		golden(t, name, out.String())
		if strings.Contains(out.String(), canary) {
			t.Error("an attribute that is not on the list was drawn")
		}
	}
}

func TestATreeNamesTheFetchByItsTrace(t *testing.T) {
	tracer, out := trees(t, telemetry.TreeOptions{})
	_, sync := tracer.Start(t.Context(), attr.SpanSync, trace.WithNewRoot())
	request(t.Context(), tracer, sync.SpanContext())
	if want := "⇢ fetched by " + sync.SpanContext().TraceID().String()[:8]; !strings.Contains(out.String(), want) {
		t.Errorf("want %s in\n%s", want, out)
	}
}

func TestATreeForgetsTracesThatDoNotEnd(t *testing.T) {
	tracer, out := trees(t, telemetry.TreeOptions{Stable: true})
	first, root := tracer.Start(t.Context(), "GET first", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer))
	child := func(ctx context.Context) {
		_, s := tracer.Start(ctx, "child")
		s.End()
	}
	child(first)
	for range 300 {
		abandoned, _ := tracer.Start(t.Context(), "GET abandoned", trace.WithNewRoot())
		child(abandoned)
	}
	for range 500 { // all but some of one trace's own, too
		child(first)
	}
	root.End()
	if lines := strings.Count(out.String(), "\n"); lines != 1+128 {
		t.Errorf("%d lines", lines)
	}
}
