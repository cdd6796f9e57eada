package telemetry_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vaultspan/vaultspan/telemetry"
	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// metricsPage is /metrics as Prometheus asks for it.
func metricsPage(t *testing.T, tel *telemetry.Telemetry) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	w := httptest.NewRecorder()
	tel.Metrics.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("/metrics: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// scrape is /metrics as a map of series to value.
func scrape(t *testing.T, tel *telemetry.Telemetry) map[string]string {
	t.Helper()
	series := make(map[string]string)
	for line := range strings.Lines(metricsPage(t, tel)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		line, _, _ = strings.Cut(line, " # ")
		i := strings.LastIndex(strings.TrimSpace(line), " ")
		series[line[:i]] = strings.TrimSuffix(strings.TrimSpace(line[i:]), ".0")
	}
	return series
}

func TestTheDurationHistogramHasExemplars(t *testing.T) {
	tel, _ := start(t, telemetry.Setup{})
	ctx, span := tel.TracerProvider.Tracer(attr.Scope).Start(t.Context(), "GET wiki")
	duration, err := tel.MeterProvider.Meter(attr.Scope).Float64Histogram(attr.MetricRequestDuration, metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	duration.Record(ctx, 0.003, metric.WithAttributes(attr.Route.String("wiki"), attr.UserID.String("alice"), attribute.String("stray", canary)))
	page := metricsPage(t, tel)
	id := span.SpanContext().TraceID().String()
	if want := `http_server_request_duration_seconds_bucket{vaultspan_route="wiki",le="0.005"} 1 # {`; !strings.Contains(page, want) || !strings.Contains(page, `trace_id="`+id+`"`) {
		t.Errorf("want %s… with trace %s in\n%s", want, id, page)
	}
	for _, hidden := range []string{"alice", canary} { // neither as a label nor on the exemplar
		if strings.Contains(page, hidden) {
			t.Errorf("%s is on the page:\n%s", hidden, page)
		}
	}
}

func TestAHundredThousandPathsMakeFewSeries(t *testing.T) { // M09
	tel, _ := start(t, telemetry.Setup{})
	requests, err := tel.MeterProvider.Meter(attr.Scope).Int64Counter(attr.MetricRequests)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100_000 {
		requests.Add(t.Context(), 1, metric.WithAttributes(
			attr.URLPath.String(fmt.Sprint("/", i)), attr.HTTPRequestMethod.String(fmt.Sprint("M", i)),
			attr.ServerAddress.String(fmt.Sprint(i, ".example.com")), attribute.String("user_agent.original", fmt.Sprint(i))))
	}
	n := 0
	for series := range scrape(t, tel) {
		if strings.HasPrefix(series, "vaultspan_requests_total") {
			n++
		}
	}
	if n == 0 || n > 200 {
		t.Errorf("%d series", n)
	}
}

// The comment in attr says which keys are for spans only. This holds the view
// to it: a key that is neither would be dropped from metrics without a word.
func TestMetricsTakeExactlyTheKeysThatAreNotForSpansOnly(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "attr/attr.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	tel, _ := start(t, telemetry.Setup{})
	counter, err := tel.MeterProvider.Meter(attr.Scope).Int64Counter("all.keys")
	if err != nil {
		t.Fatal(err)
	}
	spansOnly := make(map[string]bool)
	var all []attribute.KeyValue
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if call, ok := spec.Values[0].(*ast.CallExpr); ok { // attribute.Key("…")
			key := strings.Trim(call.Args[0].(*ast.BasicLit).Value, `"`)
			spansOnly[key] = strings.Contains(spec.Comment.Text()+spec.Doc.Text(), "spans only")
			all = append(all, attribute.String(key, "v"))
		}
		return true
	})
	if len(all) < 30 {
		t.Fatalf("found only %d keys", len(all))
	}
	counter.Add(t.Context(), 1, metric.WithAttributes(all...))
	for series := range scrape(t, tel) {
		if !strings.HasPrefix(series, "all_keys_total") {
			continue
		}
		for key, only := range spansOnly {
			label := strings.NewReplacer(".", "_").Replace(key) + `="`
			if has := strings.Contains(series, "{"+label) || strings.Contains(series, ","+label); has == only {
				t.Errorf("%s: spans only is %v, and a label is %v: add it to labels, or write \"spans only\" in its comment", key, only, has)
			}
		}
		return
	}
	t.Error("no series")
}

func TestAMetricThatTwoPackagesDeclareDifferentlyIsSaid(t *testing.T) {
	tel, log := start(t, telemetry.Setup{})
	meter := tel.MeterProvider.Meter(attr.Scope)
	for _, unit := range []string{"{request}", "{record}"} {
		counter, err := meter.Int64Counter(attr.MetricAuditUnavailable, metric.WithUnit(unit))
		if err != nil {
			t.Fatal(err)
		}
		counter.Add(t.Context(), 1)
	}
	scrape(t, tel)
	if lines := log.lines(t); len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["reason"]), "vaultspan_audit_unavailable") {
		t.Errorf("log %s", log)
	}
}
