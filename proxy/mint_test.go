package proxy_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn/devidp"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// ofTrace are the records of one request.
func ofTrace(events []audit.Event, trace string) []audit.Event {
	return slices.DeleteFunc(slices.Clone(events), func(e audit.Event) bool { return e.Trace != trace })
}

// Promise 1: the exchange of a secret for a token is an attempt of its own, with
// an intent before the secret leaves, its own destination and its own span; and
// the attempt that wears the token says so. The upstream never sees the secret.
func TestAMintingIsAnAttemptOfItsOwn(t *testing.T) {
	for name, change := range map[string]func(*minter, *vault.OAuth2, *proxy.Route){
		"basic": nil,
		"post":  func(a *minter, o *vault.OAuth2, _ *proxy.Route) { a.post, o.Auth = true, "post" },
		"scope": func(_ *minter, o *vault.OAuth2, _ *proxy.Route) { o.Scopes = []string{"charges:read"} },
	} {
		t.Run(name, func(t *testing.T) {
			b, a, _ := newMintingBench(t, change)
			alice := b.token(t, "alice")
			var traces []string
			for range 2 {
				res, body := b.do(t, "GET", "https://mint.gw.test/x?q=1", alice, func(r *http.Request) { r.Header.Set("X-Mine", "callers") })
				if res.StatusCode != 200 || body != "charged" {
					t.Fatalf("%d %s", res.StatusCode, body)
				}
				traces = append(traces, res.Header.Get("X-Request-Id"))
			}
			asked := a.requests()
			if len(asked) != 1 {
				t.Fatalf("%d tokens were minted", len(asked))
			}
			var sent []string
			for name := range asked[0].Header {
				sent = append(sent, name)
			}
			slices.Sort(sent)
			if want := "Accept Authorization Content-Length Content-Type User-Agent X-Request-Id"; strings.Join(sent, " ") != want && strings.Join(sent, " ") != strings.Replace(want, "Authorization ", "", 1) {
				t.Errorf("the token endpoint was sent %s", sent)
			}
			for _, r := range b.u1.requests() {
				if got := r.Header["Authorization"]; !slices.Equal(got, []string{"Bearer CANARY-minted-d41c9e07-1"}) {
					t.Errorf("the upstream got %q", got)
				}
			}
			spans := b.spansOf(t, traces[1])
			if got := attributes(spans["mint"]); fmt.Sprint(got) != fmt.Sprintf("map[vaultspan.minted:%s-1]", traces[0]) {
				t.Errorf("the second request's span mint: %v", got)
			}
			var clients []string
			for _, s := range b.spans.GetSpans() {
				if got := attributes(s); s.SpanContext.TraceID().String() == traces[0] && s.SpanKind == trace.SpanKindClient {
					clients = append(clients, s.Name+" "+got["vaultspan.attempt"]+" "+got["http.response.status_code"])
					if s.Parent.SpanID() == (trace.SpanID{}) || got["vaultspan.secret.version"] == "" || strings.Contains(fmt.Sprint(got), "/v1/tokens") {
						t.Errorf("%s: %v", s.Name, got)
					}
				}
			}
			if want := []string{"POST 127.0.0.1 " + traces[0] + "-1 200", "GET 127.0.0.1 " + traces[0] + "-2 200"}; !slices.Equal(clients, want) {
				t.Errorf("client spans %q, want %q", clients, want)
			}

			events := b.records(t)
			first, second := ofTrace(events, traces[0]), ofTrace(events, traces[1])
			if len(first) != 4 || len(second) != 2 {
				t.Fatalf("records: %+v\n%+v", first, second)
			}
			for i, want := range []struct{ kind, attempt, upstream string }{
				{audit.KindIntent, traces[0] + "-1", a.URL}, {audit.KindOutcome, traces[0] + "-1", a.URL},
				{audit.KindIntent, traces[0] + "-2", b.u1.URL}, {audit.KindOutcome, traces[0] + "-2", b.u1.URL},
				{audit.KindIntent, traces[1] + "-1", b.u1.URL}, {audit.KindOutcome, traces[1] + "-1", b.u1.URL},
			} {
				e := append(first, second...)[i]
				if e.Kind != want.kind || e.Attempt != want.attempt || e.Upstream != want.upstream || e.Minted != traces[0]+"-1" || e.Secret != "prod/team-dev/CLIENT" ||
					e.Version != first[0].Version || e.Version == "" || e.Subject != "alice" || e.Role != "dev" || e.Path != "/x" {
					t.Errorf("record %d: %+v, want %+v", i, e, want)
				}
				if e.Kind == audit.KindOutcome && (e.Code != "completed" || e.Status != 200 || e.Received == 0 || (i == 1) != (e.Sent > 0)) {
					t.Errorf("outcome %d: %+v", i, e)
				}
			}
		})
	}
}

// An OpenID provider of another make mints as well.
func TestATokenOfARealProvider(t *testing.T) {
	idp, err := devidp.Start(t.Context(), devidp.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b, _, _ := newMintingBench(t, func(a *minter, o *vault.OAuth2, r *proxy.Route) {
		*o = vault.OAuth2{TokenURL: idp.Issuer() + "/token", ClientID: "ci-deployer", Scopes: []string{"openid"}}
		r.Secret = "prod/team-dev/CI"
		a.bench.secret("CI", "ci-deployer-dev-secret")
	})
	b.u1.handler = func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, strings.Count(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), "."))
	}
	if res, body := b.do(t, "GET", "https://mint.gw.test/x", b.token(t, "alice")); res.StatusCode != 200 || body != "2" {
		t.Errorf("%d %s, want a JWT with two dots", res.StatusCode, body)
	}
}

// Q09: whoever comes while a token is minted waits for it, and nobody mints a
// second one.
func TestManyCallersMintOneToken(t *testing.T) {
	b, a, _ := newMintingBench(t, func(a *minter, _ *vault.OAuth2, r *proxy.Route) {
		r.Upstream, a.bench.u2.handler, r.Timeouts.Connect = a.bench.u2.URL, a.resource, patience
	})
	alice := b.token(t, "alice")
	b.do(t, "GET", "https://app.gw.test/x", alice) // the vault has read its secrets
	client := b.client()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 500
	defer client.CloseIdleConnections()
	var callers sync.WaitGroup
	for range 500 {
		callers.Go(func() {
			if err := sends(client, "POST", "http://mint.gw.test/x", "mint.gw.test", alice, 200); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if n := len(a.requests()); n != 1 {
		t.Errorf("%d tokens were minted", n)
	}
	minted := map[string]int{}
	for _, e := range b.records(t) {
		if e.Kind == audit.KindIntent && e.Route == "mint" {
			minted[e.Minted]++
		}
	}
	if len(minted) != 1 {
		t.Errorf("intents by who minted: %v", minted)
	}
	for attempt, n := range minted {
		if n != 501 || !strings.HasSuffix(attempt, "-1") {
			t.Errorf("%d intents say they wear the token of %q", n, attempt)
		}
	}
}

// FB12: a token that the upstream refuses is replaced, once, and the request is
// sent again with the next one. Each has records of its own.
func TestARefusedTokenIsReplaced(t *testing.T) {
	b, a, ahead := newMintingBench(t, nil)
	alice := b.token(t, "alice")
	b.do(t, "GET", "https://mint.gw.test/x", alice)
	ahead.Add(int64(11 * time.Second))
	a.set(func() { clear(a.good) }) // revoked
	res, body := b.do(t, "POST", "https://mint.gw.test/x", alice, withBody("BODY", true))
	if res.StatusCode != 200 || body != "charged" {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	trace := res.Header.Get("X-Request-Id")
	a.set(func() { clear(a.good) })
	res, body = b.do(t, "GET", "https://mint.gw.test/x", alice) // the new token is young
	if res.StatusCode != 401 || body != "who are you?\n" {
		t.Errorf("a second refusal: %d %s", res.StatusCode, body)
	}
	if n := len(a.requests()); n != 2 {
		t.Errorf("%d tokens were minted, want 2", n)
	}
	var got []string
	for _, e := range ofTrace(b.records(t), trace) {
		got = append(got, strings.Join([]string{e.Kind, e.Attempt[33:], e.Minted[len(e.Minted)-1:], e.Code, fmt.Sprint(e.Status)}, " "))
		if (e.Minted[:32] == trace) != (e.Attempt[33:] != "1") {
			t.Errorf("%+v", e)
		}
	}
	want := []string{
		"intent 1 1  0", "intent 2 2  0", "outcome 2 2 completed 200",
		"outcome 1 1 credential-refused 401", "intent 3 2  0", "outcome 3 2 completed 200",
	}
	slices.Sort(got) // outcomes are queued
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("records %q, want %q", got, want)
	}
}

// J21: a secret that was rotated at both ends is noticed when the token endpoint
// refuses the old one.
func TestARotatedClientSecretIsNoticedByItsRefusal(t *testing.T) {
	b, a, ahead := newMintingBench(t, func(a *minter, _ *vault.OAuth2, _ *proxy.Route) { a.life = 300 })
	alice := b.token(t, "alice")
	first, _ := b.do(t, "GET", "https://mint.gw.test/x", alice)
	const next = "CANARY-AS-rotated-81d2"
	a.stored.Rotate(next)
	a.set(func() { a.secret = next })
	ahead.Add(int64(290 * time.Second)) // the token is still good
	if res, body := b.do(t, "GET", "https://mint.gw.test/x", alice); res.StatusCode != 200 {
		t.Errorf("while the token lives: %d %s", res.StatusCode, body)
	}
	ahead.Add(int64(time.Minute))
	res, body := b.do(t, "GET", "https://mint.gw.test/x", alice)
	if res.StatusCode != 200 || body != "charged" {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	events := b.records(t)
	was, seen := ofTrace(events, first.Header.Get("X-Request-Id")), ofTrace(events, res.Header.Get("X-Request-Id"))
	versions := map[string]string{}
	for _, e := range seen {
		versions[e.Attempt[33:]] = e.Version
		if e.Kind == audit.KindOutcome && e.Attempt[33:] == "1" && e.Status != 401 {
			t.Errorf("the old secret: %+v", e)
		}
	}
	if len(versions) != 3 || versions["1"] != was[0].Version || versions["2"] == versions["1"] || versions["3"] != versions["2"] {
		t.Errorf("versions by attempt: %v; before: %s", versions, was[0].Version)
	}
}

// What a token endpoint does wrong is told by two codes: one when somebody has
// to act, one when it may pass. Nothing is sent to the upstream, and no secret
// is in anything that comes out.
func TestTokenEndpointFaults(t *testing.T) {
	gone := address(t)
	silent := silentTLS(t)
	for name, c := range map[string]struct {
		change func(*minter, *vault.OAuth2, *proxy.Route)
		status int
		code   string
		ends   string // the minting's outcome, and its status
		asked  int
	}{
		"another client": {func(a *minter, _ *vault.OAuth2, _ *proxy.Route) { a.client = "other" }, 502, "no-credential", "completed 401", 1},
		"another scope":  {func(_ *minter, o *vault.OAuth2, _ *proxy.Route) { o.Scopes = []string{"admin"} }, 502, "no-credential", "completed 400", 1},
		"down": {func(a *minter, _ *vault.OAuth2, _ *proxy.Route) {
			a.answer = func(w http.ResponseWriter) { http.Error(w, canary3, http.StatusServiceUnavailable) }
		}, 503, "token-unavailable", "completed 503", 1},
		"a page": {func(a *minter, _ *vault.OAuth2, _ *proxy.Route) {
			a.answer = func(w http.ResponseWriter) { fmt.Fprint(w, "<html>"+canary3) }
		}, 503, "token-unavailable", "completed 200", 1},
		"too much": {func(a *minter, _ *vault.OAuth2, _ *proxy.Route) {
			a.answer = func(w http.ResponseWriter) { fmt.Fprint(w, strings.Repeat(canary3, 10000)) }
		}, 503, "token-unavailable", "completed 200", 1},
		"elsewhere": {func(a *minter, _ *vault.OAuth2, _ *proxy.Route) {
			a.answer = func(w http.ResponseWriter) {
				w.Header().Set("Location", a.URL+"/other?"+url.QueryEscape(canary3))
				w.WriteHeader(307)
			}
		}, 502, "no-credential", "completed 307", 1},
		"breaks off": {func(a *minter, _ *vault.OAuth2, _ *proxy.Route) {
			a.answer = func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
		}, 503, "token-unavailable", "upstream-reset 0", 1},
		"unverified":   {func(_ *minter, o *vault.OAuth2, _ *proxy.Route) { o.CA = "" }, 503, "token-unavailable", "upstream-tls 0", 0},
		"nobody there": {func(_ *minter, o *vault.OAuth2, _ *proxy.Route) { o.TokenURL = "http://" + gone + "/v1/tokens" }, 503, "token-unavailable", "upstream-unreachable 0", 0},
		"silent": {func(_ *minter, o *vault.OAuth2, r *proxy.Route) {
			o.TokenURL, r.Timeouts.Response = "http://"+silent+"/token", soon
		}, 503, "token-unavailable", "upstream-timeout 0", 0},
		"in a forbidden place": {func(_ *minter, o *vault.OAuth2, _ *proxy.Route) { o.TokenURL = "https://[fe80::1]/v1/tokens" }, 503, "token-unavailable", "upstream-forbidden 0", 0},
	} {
		t.Run(name, func(t *testing.T) {
			reader := sdkmetric.NewManualReader()
			b, a, ahead := newMintingBench(t, func(a *minter, o *vault.OAuth2, r *proxy.Route) {
				a.bench.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
				c.change(a, o, r)
			})
			alice := b.token(t, "alice")
			var trace string
			for range 3 { // the clock stands: all but the first are of the same failure
				ahead.Store(0)
				res, body := b.do(t, "GET", "https://mint.gw.test/x", alice)
				refused(t, res, body, c.status, c.code)
				if (res.Header.Get("Retry-After") != "") != (c.status == 503) || strings.Contains(body, "CANARY") {
					t.Errorf("%v %s", res.Header, body)
				}
				if trace == "" {
					trace = res.Header.Get("X-Request-Id")
				}
			}
			if n := len(a.requests()); n != c.asked {
				t.Errorf("the endpoint was asked %d times, want %d", n, c.asked)
			}
			if n := len(b.u1.requests()); n != 0 {
				t.Errorf("the upstream received %d requests", n)
			}
			var metrics metricdata.ResourceMetrics
			if err := reader.Collect(t.Context(), &metrics); err != nil {
				t.Fatal(err)
			}
			events := b.records(t)
			var ends []string
			refusals := 0
			for _, e := range events {
				switch {
				case e.Kind == audit.KindOutcome && e.Trace == trace:
					ends = append(ends, e.Code+" "+fmt.Sprint(e.Status))
				case e.Kind == audit.KindOutcome:
					t.Errorf("another attempt: %+v", e)
				case e.Kind == audit.KindRefusal && e.Code == c.code:
					refusals += max(1, int(e.Count))
				}
			}
			if !slices.Equal(ends, []string{c.ends}) || refusals != 3 {
				t.Errorf("the minting ended %q, want %q; %d refusals", ends, c.ends, refusals)
			}
			silentAbout(t, map[string]string{"logs": b.logs.String(), "spans": fmt.Sprintf("%+v", b.spans.GetSpans()), "metrics": fmt.Sprintf("%+v", metrics), "records": fmt.Sprintf("%+v", events)})
		})
	}
}

// silentAbout says which outputs hold a secret, a token, or where it was minted.
func silentAbout(t *testing.T, outputs map[string]string) {
	t.Helper()
	never := []string{"2be0c177", "d41c9e07", "/v1/tokens", "gate way"}
	for _, secret := range []string{canary3, "CANARY-minted-d41c9e07-1"} {
		never = append(never, secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret)))
	}
	for name, output := range outputs {
		for _, word := range never {
			if i := strings.Index(output, word); i >= 0 {
				t.Errorf("the %s hold %q: …%s", name, word, output[max(0, i-200):i+len(word)])
			}
		}
	}
}

// Promise 1: what cannot be recorded is not sent, not to a token endpoint either.
func TestNothingIsMintedThatCannotBeRecorded(t *testing.T) {
	b, a, _ := newMintingBench(t, nil)
	if err := b.log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	res, body := b.do(t, "GET", "https://mint.gw.test/x", b.token(t, "alice"))
	refused(t, res, body, 503, "audit-unavailable")
	if n := len(a.requests()); n != 0 {
		t.Errorf("the secret was sent %d times", n)
	}
}

// The bench of a good day tells nobody the secret or the token.
func TestNothingLeaksOfAToken(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	b, a, ahead := newMintingBench(t, func(a *minter, _ *vault.OAuth2, _ *proxy.Route) {
		a.bench.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	})
	alice := b.token(t, "alice")
	for range 3 {
		b.do(t, "GET", "https://mint.gw.test/x", alice)
		ahead.Add(int64(11 * time.Second))
		a.set(func() { clear(a.good) })
	}
	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &metrics); err != nil {
		t.Fatal(err)
	}
	silentAbout(t, map[string]string{"logs": b.logs.String(), "spans": fmt.Sprintf("%+v", b.spans.GetSpans()), "metrics": fmt.Sprintf("%+v", metrics), "records": fmt.Sprintf("%+v", b.records(t))})
}

// A minted token is a credential too: an upstream that echoes it is masked.
func TestAnEchoOfATokenIsMasked(t *testing.T) {
	b, a, _ := newMintingBench(t, nil)
	var echoed string
	b.u1.handler = func(w http.ResponseWriter, r *http.Request) {
		echoed = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		w.Header().Set("X-Debug", hex.EncodeToString([]byte(echoed)))
		fmt.Fprintf(w, "you sent %s", echoed)
	}
	res, body := b.do(t, "GET", "https://mint.gw.test/x", b.token(t, "alice"))
	if res.StatusCode != 200 || len(a.requests()) != 1 || echoed == "" {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if want := "you sent " + strings.Repeat("*", len(echoed)); body != want || strings.Trim(res.Header.Get("X-Debug"), "*") != "" {
		t.Errorf("the caller was told %q and %q", body, res.Header.Get("X-Debug"))
	}
	last := ofTrace(b.records(t), res.Header.Get("X-Request-Id"))
	if e := last[len(last)-1]; e.Code != "secret-reflected" || e.Attempt[33:] != "2" {
		t.Errorf("the outcome: %+v", e)
	}
}
