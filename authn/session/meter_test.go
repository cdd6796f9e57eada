package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/authn/session"
)

// counts are the counters by name and the values of their attributes, those at 0
// left out.
func counts(t *testing.T, reader *sdkmetric.ManualReader) (all map[string]int64, series int) {
	t.Helper()
	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &metrics); err != nil {
		t.Fatal(err)
	}
	all = map[string]int64{}
	for _, scope := range metrics.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok {
				continue
			}
			for _, point := range sum.DataPoints {
				var name strings.Builder
				name.WriteString(strings.TrimPrefix(m.Name, "vaultspan.sessions."))
				for _, kv := range point.Attributes.ToSlice() {
					name.WriteString(" " + kv.Value.AsString())
				}
				if series++; point.Value != 0 {
					all[name.String()] = point.Value
				}
			}
		}
	}
	return all, series
}

// broken is a store that fails when it is told to.
type broken struct {
	session.Store
	fails atomic.Bool
}

func (b *broken) Find(ctx context.Context, k session.Key) (session.Record, error) {
	if b.fails.Load() {
		return session.Record{}, errors.New("the disk is gone")
	}
	return b.Store.Find(ctx, k)
}

func (b *broken) Once(ctx context.Context, k session.Key, now, until time.Time) (bool, error) {
	if b.fails.Load() {
		return false, errors.New("the disk is gone")
	}
	return b.Store.Once(ctx, k, now, until)
}

// TestMetrics: each login, refresh and end is counted by how it went, and every
// count is there before it happens.
func TestMetrics(t *testing.T) {
	reader, store := sdkmetric.NewManualReader(), &broken{Store: openStore(t)}
	p, _, b := start(t, options{store: store, meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), config: session.Config{Refresh: time.Minute}})
	got, series := counts(t, reader)
	if len(got) != 0 || series != 1+7+3+6+10 {
		t.Errorf("before anything happened: %v of %d series", got, series)
	}
	answer := func(asked url.Values, pairs ...string) {
		query := url.Values{"state": {asked.Get("state")}}
		for i := 0; i < len(pairs); i += 2 {
			query.Set(pairs[i], pairs[i+1])
		}
		b.get("/.vaultspan/callback?" + query.Encode())
	}
	answer(b.begin("/x"), "error", "access_denied")
	answer(b.begin("/x"), "error", "temporarily_unavailable")
	answer(b.begin("/x"), "error", "unauthorized_client")
	answer(b.begin("/x"), "code", "x", "iss", "https://evil.test")
	answer(b.begin("/x"), "code", "of another")
	answer(url.Values{"state": {"nobody's"}}, "code", "x")
	b.finish(p, b.stepUp("acr_values=urn%3Amfa"), "alice")
	asked := b.begin("/x")
	p.set(func(p *provider) {
		p.fault = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusGatewayTimeout) }
	})
	b.finish(p, asked, "alice")
	p.set(func(p *provider) { p.fault = nil })
	asked = b.begin("/x")
	store.fails.Store(true)
	if at := b.finish(p, asked, "alice"); at.status != 503 {
		t.Errorf("a store that fails: %d, want 503", at.status)
	}
	store.fails.Store(false)
	b.login(p, "/x", "alice")
	p.clock.advance(2 * time.Minute)
	b.reads("/x", "alice") // refreshed
	p.clock.advance(3 * time.Second)
	store.fails.Store(true)
	b.api("/x")
	store.fails.Store(false)
	p.clock.advance(2 * time.Minute)
	p.set(func(p *provider) { p.refresh = map[string]grant{} })
	b.out("/x")
	b.login(p, "/x", "alice")
	b.do("POST", "/.vaultspan/logout", url.Values{}, nil)

	got, _ = counts(t, reader)
	want := map[string]int64{
		"logins corp ok": 2, "logins corp denied": 1, "logins corp unavailable": 2, "logins corp refused": 2, "logins corp unasked": 1, "logins none unasked": 1,
		"logins corp insufficient": 1, "logins corp no-store": 1, "refreshes corp ok": 1, "refreshes corp refused": 1, "ended logout": 1, "ended refresh refused": 1,
		"store.errors find": 1, "store.errors once": 1,
	}
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s: %d, want %d", name, got[name], n)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("counted too: %v", got)
	}
}

// TestSpans: a login and a refresh are spans of the request they are part of, with
// the token endpoint below; a session is named by its keyed hash; no code, state,
// token or cookie is on any of them (F19).
func TestSpans(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	p, g, b := start(t, options{tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)), config: session.Config{Refresh: time.Minute}})
	refused := b.begin("/x")
	b.get("/.vaultspan/callback?" + url.Values{"state": {refused.Get("state")}, "code": {"CANARY-CODE"}}.Encode())
	b.login(p, "/x", "alice")
	p.clock.advance(2 * time.Minute)
	b.reads("/x", "alice")
	listed, err := g.List(t.Context(), session.Filter{})
	if err != nil || len(listed) != 1 {
		t.Fatal(listed, err)
	}
	handle := listed[0].ID

	byID, children := map[trace.SpanID]sdktrace.ReadOnlySpan{}, map[string][]string{}
	for _, s := range recorder.Ended() {
		byID[s.SpanContext().SpanID()] = s
	}
	for _, s := range recorder.Ended() {
		var name strings.Builder
		name.WriteString(s.Name() + " " + s.Status().Code.String())
		for _, kv := range s.Attributes() {
			if key := string(kv.Key); strings.HasPrefix(key, "vaultspan.") || key == "url.path" || key == "http.response.status_code" {
				name.WriteString(" " + kv.Value.String())
			}
		}
		parent := "none"
		if above := byID[s.Parent().SpanID()]; above != nil {
			parent = above.Name()
			if s.SpanContext().TraceID() != above.SpanContext().TraceID() {
				t.Errorf("%s is in another trace", name.String())
			}
		}
		children[parent] = append(children[parent], name.String())
	}
	all := strings.Join(children["request"], "\n") + "\n" + strings.Join(children["login"], "\n") + "\n" + strings.Join(children["refresh"], "\n")
	for _, want := range []string{
		"login Error corp unasked", "login Unset corp " + handle + " ok", "refresh Unset corp ok", "POST Unset /token 200", "POST Error /token 400",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no span %q in\n%s", want, all)
		}
	}
	if len(children["login"]) != 2 || len(children["refresh"]) != 1 {
		t.Errorf("below a login %q, below a refresh %q", children["login"], children["refresh"])
	}
	named := false
	for _, s := range recorder.Ended() {
		text := fmt.Sprint(s.Name(), s.Attributes(), s.Status(), s.Events())
		named = named || s.Name() == "request" && strings.Contains(text, handle)
		for _, secret := range []string{"CANARY-CODE", refused.Get("state"), refused.Get("nonce"), refused.Get("code_challenge"), b.cookie(), "web-secret", "eyJ", "alice"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is on the span %s", secret, text)
			}
		}
		if s.Status().Code == codes.Error && s.Name() == "request" {
			t.Errorf("the request's own span is for its handler to judge: %s", text)
		}
	}
	if !named {
		t.Error("no request's span names the session")
	}
}
