//go:build cgo

package bitwarden_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/telemetry/attr"
	"github.com/vaultspan/vaultspan/vault"
	"github.com/vaultspan/vaultspan/vault/bitwarden"
	"github.com/vaultspan/vaultspan/vault/bwemu"
)

func TestOneTraceForAFetch(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	w := newWorld(t, func(w *world) { w.setup.Tracer = provider })

	ctx, outer := provider.Tracer("test").Start(t.Context(), "a request")
	snapshot, err := w.client.Fetch(ctx, time.Time{}, everything)
	outer.End()
	if err != nil {
		t.Fatal(err)
	}
	spans := recorder.Ended()
	var names []string
	for _, s := range spans {
		names = append(names, s.SpanKind().String()+" "+s.Name())
	}
	want := []string{
		"client POST /connect/token",
		"client GET /organizations/{organization}/projects",
		"client GET /organizations/{organization}/secrets/sync",
		"internal bitwarden sync",
		"internal a request",
	}
	if !slices.Equal(names, want) {
		t.Fatalf("spans = %q, want %q", names, want)
	}
	root := spans[3]
	if root.Parent().IsValid() || root.SpanContext().TraceID() == outer.SpanContext().TraceID() {
		t.Error("a fetch must be a trace of its own")
	}
	if !snapshot.Span.Equal(root.SpanContext()) {
		t.Error("the snapshot does not name the span that brought it")
	}
	for _, hop := range spans[:3] {
		if hop.Parent().SpanID() != root.SpanContext().SpanID() {
			t.Errorf("%s is not a child of the fetch", hop.Name())
		}
		if got := attribute(hop, attr.HTTPResponseStatusCode); got != "200" {
			t.Errorf("%s: status %q", hop.Name(), got)
		}
		if got := attribute(hop, attr.ServerAddress); got != "127.0.0.1" {
			t.Errorf("%s: server %q", hop.Name(), got)
		}
	}
	if got := attribute(root, attr.Vault); got != "prod" {
		t.Errorf("vault %q", got)
	}

	w.emulator.Fault(bwemu.Fault{Endpoint: bwemu.Sync, Status: 503, Body: "leaked-canary"})
	w.fails(vault.Unusable)
	failed := recorder.Ended()
	for _, s := range failed[len(failed)-2:] {
		if s.Status().Code != codes.Error || attribute(s, attr.ErrorType) != "unusable" {
			t.Errorf("%s: status %v, error.type %q", s.Name(), s.Status(), attribute(s, attr.ErrorType))
		}
	}

	all := fmt.Sprintf("%+v", tracetest.SpanStubsFromReadOnlySpans(recorder.Ended()))
	for part := range strings.FieldsFuncSeq(w.account.AccessToken(), func(r rune) bool { return r == '.' || r == ':' }) {
		if len(part) > 1 && strings.Contains(all, part) {
			t.Errorf("a span holds a part of the access token")
		}
	}
	if strings.Contains(all, "canary") {
		t.Errorf("a span holds a secret or a body: %s", all)
	}
}

func TestProbeIsALogin(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	w := newWorld(t)
	w.setup.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	if _, err := bitwarden.Probe(t.Context(), w.setup); err != nil {
		t.Fatal(err)
	}
	if spans := recorder.Ended(); spans[len(spans)-1].Name() != attr.SpanLogin || spans[0].SpanKind() != trace.SpanKindClient {
		t.Errorf("the last span is %q", spans[len(spans)-1].Name())
	}
}

func attribute[K ~string](s sdktrace.ReadOnlySpan, key K) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == string(key) {
			return a.Value.String()
		}
	}
	return ""
}
