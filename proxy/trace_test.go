package proxy_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/proxy"
)

// spansOf returns the spans of a trace, by name.
func (b *bench) spansOf(t *testing.T, id string) map[string]tracetest.SpanStub {
	t.Helper()
	found := map[string]tracetest.SpanStub{}
	for _, s := range b.spans.GetSpans() {
		if s.SpanContext.TraceID().String() == id {
			if _, twice := found[s.Name]; twice {
				t.Errorf("two spans %q", s.Name)
			}
			found[s.Name] = s
		}
	}
	return found
}

// attributes prints what is known of a span, sorted.
func attributes(s tracetest.SpanStub) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

func TestSpanTree(t *testing.T) {
	b := newBench(t)
	const theirs = "0af7651916cd43dd8448eb211c80319c"
	for _, secure := range []bool{false, true} {
		url, version := "http://pay.gw.test/charge?amount=1", "1.1"
		if secure {
			url, version = "https://pay.gw.test/charge?amount=1", "2.0"
		}
		res, body := b.do(t, "POST", url, b.token(t, "carol"), func(r *http.Request) {
			r.Header.Set("Traceparent", "00-"+theirs+"-b7ad6b7169203331-01")
			r.Header.Set("Tracestate", "a=b")
			r.Header.Set("Baggage", "secret=baggage")
		})
		if res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
		b.gateway.Wait()
		id := res.Header.Get("X-Request-Id")
		if id == theirs {
			t.Error("the caller chose our trace")
		}
		seen := b.u2.last(t).Header
		if b := seen.Get("Baggage") + seen.Get("Tracestate"); b != "" {
			t.Errorf("the upstream was sent %q", b)
		}
		spans := b.spansOf(t, id)
		client := "POST 127.0.0.1"
		kinds := map[string]trace.SpanKind{
			"POST R2": trace.SpanKindServer, "authenticate": trace.SpanKindInternal, "decide": trace.SpanKindInternal,
			"lease": trace.SpanKindInternal, "record": trace.SpanKindInternal, client: trace.SpanKindClient,
		}
		if len(spans) != len(kinds) {
			t.Fatalf("the spans are %v", spans)
		}
		root := spans["POST R2"]
		if root.Parent.IsValid() || len(root.Links) != 1 || root.Links[0].SpanContext.TraceID().String() != theirs {
			t.Errorf("the root has parent %v and links %v", root.Parent, root.Links)
		}
		for name, kind := range kinds {
			s, ok := spans[name]
			if !ok || s.SpanKind != kind || name != "POST R2" && s.Parent.SpanID() != root.SpanContext.SpanID() {
				t.Errorf("%s: there %v, kind %v, parent %v", name, ok, s.SpanKind, s.Parent.SpanID())
			}
			if len(s.Events) != 0 || s.EndTime.Before(s.StartTime) {
				t.Errorf("%s has events %v, or does not end", name, s.Events)
			}
		}
		if links := spans["lease"].Links; len(links) != 1 || !b.fetched(links[0].SpanContext) {
			t.Errorf("the lease is linked to %v", links)
		}
		if parent := seen.Get("Traceparent"); parent != "00-"+id+"-"+spans[client].SpanContext.SpanID().String()+"-01" {
			t.Errorf("the upstream was sent traceparent %q", parent)
		}
		lease := attributes(spans["lease"])
		port := b.u2.Listener.Addr().String()[len("127.0.0.1:"):]
		want := map[string]map[string]string{
			"POST R2": {
				"http.request.method": "POST", "http.response.status_code": "200", "http.route": "pay.gw.test/", "vaultspan.route": "R2", "url.scheme": "https",
				"server.address": "pay.gw.test", "network.protocol.version": version, "client.address": "127.0.0.1", "user.id": "idp|carol",
			},
			"authenticate": {"vaultspan.identity.issuer": "idp", "vaultspan.identity.kind": "human", "vaultspan.identity.method": "bearer"},
			"decide": {
				"vaultspan.decision.allow": "true", "vaultspan.decision.role": "pay", "vaultspan.decision.reason": "granted",
				"vaultspan.decision.revision": attributes(spans["decide"])["vaultspan.decision.revision"], "vaultspan.decision.cached": fmt.Sprint(secure),
				"vaultspan.collection": "prod/team-pay",
			},
			"lease": {
				"vaultspan.secret.name": "U2_KEY", "vaultspan.secret.collection": "prod/team-pay", "vaultspan.secret.version": lease["vaultspan.secret.version"],
				"vaultspan.secret.fingerprint": lease["vaultspan.secret.fingerprint"], "vaultspan.secret.age": lease["vaultspan.secret.age"], "vaultspan.secret.stale": "false",
			},
			"record": {"vaultspan.audit.seq": attributes(spans["record"])["vaultspan.audit.seq"], "vaultspan.audit.wait": attributes(spans["record"])["vaultspan.audit.wait"]},
			client: {
				"http.request.method": "POST", "http.response.status_code": "200", "url.scheme": "http", "server.address": "127.0.0.1", "server.port": port,
				"network.protocol.version": "1.1", "vaultspan.attempt": id + "-1", "vaultspan.secret.version": lease["vaultspan.secret.version"],
			},
		}
		for name, attrs := range want {
			if got := attributes(spans[name]); fmt.Sprint(got) != fmt.Sprint(attrs) {
				t.Errorf("%s has\n%v, want\n%v", name, got, attrs)
			}
		}
	}
}

// fetched says whether a span of this context was exported by the vault.
func (b *bench) fetched(c trace.SpanContext) bool {
	return slices.ContainsFunc(b.spans.GetSpans(), func(s tracetest.SpanStub) bool {
		return s.SpanContext.SpanID() == c.SpanID() && strings.HasPrefix(s.Name, "bitwarden")
	})
}

func TestSpanTreeOfARefusal(t *testing.T) {
	b := newBench(t)
	res, _ := b.do(t, "GET", "https://app.gw.test/x", b.token(t, "mallory"))
	b.gateway.Wait()
	spans := b.spansOf(t, res.Header.Get("X-Request-Id"))
	root, decide := attributes(spans["GET R1"]), attributes(spans["decide"])
	if len(spans) != 3 || root["vaultspan.refusal"] != "denied" || root["http.response.status_code"] != "403" || decide["vaultspan.decision.allow"] != "false" {
		t.Errorf("the spans are %v", spans)
	}
}

// Promise 2, M08, M13, M14, M19: no output of the gateway, at its most talkative,
// holds a credential, a token, a query, a header, a body or an address of mail.
func TestNothingLeaksIntoTelemetry(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		b.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		return append(routes, proxy.Route{
			Name: "gone", Match: []string{"gone.gw.test/"}, Upstream: "http://" + address(t), Secret: "prod/team-dev/U1_KEY", Inject: routes[0].Inject,
		})
	})
	tokens := map[string]string{"alice": b.token(t, "alice"), "carol": b.token(t, "carol"), "mallory": b.token(t, "mallory")}
	for _, url := range []string{"http://app.gw.test", "https://app.gw.test", "https://pay.gw.test", "http://gone.gw.test", "http://app.gw.test/public", "https://app.gw.test//x"} {
		for _, token := range tokens {
			b.do(t, "POST", url+"/x?q=QUERYVALUE", token, withBody("BODYVALUE", true), func(r *http.Request) {
				r.Header.Set("X-Mine", "HEADERVALUE")
				r.Header.Set("Cookie", "c=COOKIEVALUE")
				r.Header.Set("Baggage", "b=BAGGAGEVALUE")
				r.Header.Set("User-Agent", "AGENTVALUE")
			})
		}
	}
	b.do(t, "GET", "https://app.gw.test/x", "not.a.TOKENVALUE")
	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &metrics); err != nil {
		t.Fatal(err)
	}
	outputs := map[string]string{"logs": b.logs.String(), "spans": fmt.Sprintf("%+v", b.spans.GetSpans()), "metrics": fmt.Sprintf("%+v", metrics), "records": fmt.Sprintf("%+v", b.records(t))}
	never := []string{"QUERYVALUE", "BODYVALUE", "HEADERVALUE", "COOKIEVALUE", "BAGGAGEVALUE", "AGENTVALUE", "TOKENVALUE", "@example.com"}
	for _, secret := range []string{canary1, canary2, tokens["alice"], tokens["carol"], tokens["mallory"]} {
		never = append(never, secret, base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret)), url.QueryEscape(secret))
	}
	never = append(never, "5f0c2a77b1", "91d3e8004c", strings.Split(tokens["alice"], ".")[2])
	for name, output := range outputs {
		for _, word := range never {
			if strings.Contains(output, word) {
				t.Errorf("the %s hold %q", name, word)
			}
		}
	}
}

// M09: nothing a caller makes up becomes a series of a metric, or a span's name.
func TestMetricsStayFew(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		b.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		return routes
	})
	client := b.client()
	defer client.CloseIdleConnections()
	alice := b.token(t, "alice")
	for i := range 2000 {
		r, err := http.NewRequest([]string{"GET", fmt.Sprintf("M%d", i)}[i%2], fmt.Sprintf("http://app.gw.test/%d", i), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("User-Agent", fmt.Sprint(i))
		r.Header.Set("Authorization", []string{"Bearer " + alice, "Bearer x", fmt.Sprintf("Bearer %d.a.b", i)}[i%3])
		if i%5 == 0 {
			r.Host = fmt.Sprintf("h%d.test", i)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	b.gateway.Wait()
	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &metrics); err != nil {
		t.Fatal(err)
	}
	requests := int64(0)
	for _, scope := range metrics.ScopeMetrics {
		for _, m := range scope.Metrics {
			series := 0
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				series = len(data.DataPoints)
				for _, p := range data.DataPoints {
					if m.Name == "vaultspan.requests" {
						requests += p.Value
					}
					if m.Name == "vaultspan.requests.inflight" && p.Value != 0 {
						t.Errorf("%d requests are under way", p.Value)
					}
				}
			case metricdata.Histogram[float64]:
				series = len(data.DataPoints)
				if m.Name == "http.server.request.duration" && !slices.ContainsFunc(data.DataPoints, func(p metricdata.HistogramDataPoint[float64]) bool { return len(p.Exemplars) > 0 }) {
					t.Error("durations have no exemplars")
				}
			}
			if series > 40 {
				t.Errorf("%s has %d series", m.Name, series)
			}
		}
	}
	if requests != 2000 {
		t.Errorf("%d requests were counted", requests)
	}
	names := map[string]bool{}
	for _, s := range b.spans.GetSpans() {
		names[s.Name] = true
	}
	if len(names) > 30 {
		t.Errorf("there are %d names of spans", len(names))
	}
}
