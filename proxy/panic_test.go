package proxy_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/telemetry/attr"
	"github.com/vaultspan/vaultspan/vault"
)

// bomb takes the place of every part of a gateway in turn, and of the span of an
// attempt. The part that is armed panics, once, with the credential in its hand.
type bomb struct {
	armed atomic.Value // of a part's name
	authn proxy.Authenticator
	proxy.Decider
	proxy.Vault
	proxy.Recorder
}

func (b *bomb) at(part string) {
	if b.armed.CompareAndSwap(part, "") {
		panic(fmt.Errorf("in %s with %s", part, canary1))
	}
}

func (b *bomb) Bearer(ctx context.Context, token string) (authn.Identity, error) {
	b.at("authenticate")
	return b.authn.Bearer(ctx, token)
}

func (b *bomb) Decide(ctx context.Context, in policy.Input) (policy.Decision, error) {
	b.at("decide")
	return b.Decider.Decide(ctx, in)
}

func (b *bomb) Lease(ctx context.Context, route, secret string) (*vault.Lease, error) {
	b.at("lease")
	return b.Vault.Lease(ctx, route, secret)
}

func (b *bomb) Intent(ctx context.Context, e audit.Event) (audit.Receipt, error) {
	b.at("record")
	return b.Recorder.Intent(ctx, e)
}

// tracers make spans of attempts that are the bomb's.
type tracers struct {
	trace.TracerProvider
	*bomb
}

func (t tracers) Tracer(name string, options ...trace.TracerOption) trace.Tracer {
	return tracer{t.TracerProvider.Tracer(name, options...), t.bomb}
}

type tracer struct {
	trace.Tracer
	*bomb
}

func (t tracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	ctx, span := t.Tracer.Start(ctx, name, options...)
	if config := trace.NewSpanStartConfig(options...); config.SpanKind() == trace.SpanKindClient {
		span = attempt{span, t.bomb}
	}
	return ctx, span
}

type attempt struct {
	trace.Span
	*bomb
}

// SetAttributes is called before an attempt is made, and when the upstream has
// answered.
func (a attempt) SetAttributes(attributes ...attribute.KeyValue) {
	a.at("forward")
	if slices.ContainsFunc(attributes, func(kv attribute.KeyValue) bool { return kv.Key == attr.HTTPResponseStatusCode }) {
		a.at("relay")
	}
	a.Span.SetAttributes(attributes...)
}

// J25: whatever stage panics, the caller is told 500 and nothing of it, the log
// has its type and no credential, the record says so, the process lives, and what
// was counted as under way is not any more.
func TestAPanicInAnyStageIsARefusal(t *testing.T) {
	bomb := &bomb{}
	b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		for i := range routes {
			routes[i].MaxInflight = 1 // one that is not given back would show
		}
		return routes
	})
	bomb.authn, bomb.Decider, bomb.Vault, bomb.Recorder = b.settings.Authenticator, b.settings.Policy, b.settings.Vaults["prod"], b.log
	gateway := &proxy.Gateway{
		Audit: bomb, Tracer: tracers{sdktrace.NewTracerProvider(sdktrace.WithSyncer(b.spans)), bomb}, Logger: b.gateway.Logger, UserID: b.gateway.UserID,
	}
	settings := b.settings
	settings.Authenticator, settings.Policy, settings.Vaults = bomb, bomb, map[string]proxy.Vault{"prod": bomb}
	if err := gateway.Swap(settings); err != nil {
		t.Fatal(err)
	}
	b.restart(t, proxy.NewServer(t.Context(), gateway, nil))
	alice := b.token(t, "alice")
	stages := []string{"authenticate", "decide", "lease", "record", "forward", "relay"}
	traces := map[string]string{} // by trace id: the stage
	for _, stage := range stages {
		for _, route := range []string{"http://app.gw.test/", "http://api.gw.test/api/"} {
			bomb.armed.Store(stage)
			res, body := b.do(t, "GET", route+stage, alice)
			refused(t, res, body, 500, "internal")
			if strings.Contains(body, "CANARY") || bomb.armed.Load() != "" {
				t.Errorf("%s: %q is still armed, and the caller is told %s", stage, bomb.armed.Load(), body)
			}
			traces[res.Header.Get("X-Request-Id")] = stage
			if res, body := b.do(t, "GET", route+"after", alice); res.StatusCode != 200 {
				t.Errorf("after a panic in %s: %d %s", stage, res.StatusCode, body)
			}
		}
	}
	gateway.Wait()
	said := map[string][]string{}
	for _, e := range b.records(t) {
		if stage := traces[e.Trace]; stage != "" {
			said[stage] = append(said[stage], string(e.Kind)+" "+e.Code)
		}
	}
	for _, stage := range stages {
		want := []string{"refusal internal", "refusal internal"}
		if stage == "forward" || stage == "relay" { // something may have been sent
			want = []string{"intent ", "intent ", "outcome panic", "outcome panic"}
		}
		if slices.Sort(said[stage]); !slices.Equal(said[stage], want) {
			t.Errorf("of a panic in %s the records say %q, want %q", stage, said[stage], want)
		}
	}
	logs := b.logs.String()
	if n := strings.Count(logs, "panic while serving a request"); n != 2*len(stages) || strings.Contains(logs, "CANARY") {
		t.Errorf("%d panics are in the log, want %d and no credential:\n%.2000s", n, 2*len(stages), logs)
	}
}
