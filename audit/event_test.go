package audit_test

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// full sets every field that a caller may.
func full() audit.Event {
	return audit.Event{
		Trace: "t", Attempt: "a-1", Route: "r", Method: "GET", Host: "h", Path: "/p?", Client: "192.0.2.1",
		Issuer: "i", Subject: "s", Actors: []string{"agent-1", "agent-2"}, Role: "role", Reason: "because",
		Revision: "rev", Secret: "v/c/n", Version: "ver", Fingerprint: "f", Minted: "a-1", Stale: true, Upstream: "https://u:443",
		Code: "c", Status: 200, Sent: 1, Received: -2, Duration: time.Second, Detail: "d",
	}
}

// What is written is what encoding/json reads back.
func TestARecordReadsBackAsTheEvent(t *testing.T) {
	b := newBench(t)
	l := b.open()
	e := full()
	if v := reflect.ValueOf(e); v.NumField() != 35 {
		t.Fatalf("Event has %d fields: extend full, appendBody and scan", v.NumField())
	}
	if _, err := l.Intent(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	l.Outcome(e)
	b.close(l)
	got := b.events()[1]
	if got.Seq != 2 || got.Time.IsZero() || len(got.Prev) != 64 {
		t.Errorf("place: %+v", got)
	}
	e.Kind, e.Seq, e.Time, e.Prev = audit.KindIntent, got.Seq, got.Time, got.Prev
	if !reflect.DeepEqual(got, e) {
		t.Errorf("got  %+v\nwant %+v", got, e)
	}
}

// A11 and its class: whatever a caller puts into a path, a record stays a line.
func TestHostileStringsStayOnOneLine(t *testing.T) {
	b := newBench(t)
	l := b.open()
	hostile := []string{
		"/a\r\nX-Evil: 1", "\n", "\x00\x1b[2J", "\u0085\u2028\u2029\u009b", `"},"seq":1,{"`, `\`, "\xff\xfe\xc3",
		"</script>", "日本語 ü", strings.Repeat("x", 70<<10), "\ufffd",
	}
	for _, s := range hostile {
		l.Refusal(audit.Event{Code: "target-noncanonical", Path: s, Client: s, Subject: s})
	}
	b.close(l)
	data, err := os.ReadFile(b.segments()[0])
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.FieldsFunc(string(data), func(r rune) bool {
		return r < 0x20 && r != '\n' || r == '\n' || r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029
	}); len(lines) != len(hostile)+2 {
		t.Errorf("%d lines", len(lines))
	}
	for i, e := range b.events()[1 : len(hostile)+1] {
		want := strings.ToValidUTF8(hostile[i], "\ufffd")
		if i == 6 {
			want = "\ufffd\ufffd\ufffd" // one for each byte, as encoding/json does
		}
		if len(want) > 64<<10 {
			want = want[:64<<10] + fmt.Sprintf("…[%d bytes cut]", len(want)-64<<10)
		}
		if e.Path != want || e.Client != want || e.Subject != want {
			t.Errorf("%q came back as %q", hostile[i], e.Path)
		}
	}
	b.whole()
}

// An intent is never recorded otherwise than it was judged.
func TestAnIntentThatDoesNotFitIsRefused(t *testing.T) {
	b := newBench(t)
	l := b.open()
	defer b.close(l)
	for name, change := range map[string]func(*audit.Event){
		"path":       func(e *audit.Event) { e.Path = strings.Repeat("x", 64<<10+1) },
		"actor":      func(e *audit.Event) { e.Actors = []string{strings.Repeat("x", 64<<10+1)} },
		"actors":     func(e *audit.Event) { e.Actors = make([]string, 65) },
		"no attempt": func(e *audit.Event) { e.Attempt = "" },
	} {
		e := full()
		change(&e)
		if _, err := l.Intent(t.Context(), e); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// N04: seq, time, prev, kind and what belongs to checkpoints and aggregates are
// the log's own.
func TestACallerCannotChooseItsPlace(t *testing.T) {
	b := newBench(t)
	l := b.open()
	e := full()
	e.Seq, e.Prev, e.Kind, e.Time = 1, "00", audit.KindCheckpoint, time.Unix(0, 0)
	e.Note, e.Range, e.Open, e.Sealed = "n", []string{"r"}, []string{"o"}, 1
	if _, err := l.Intent(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	l.Outcome(e)
	e.Count = 1000
	l.Refusal(e)
	l.Change(e)
	b.close(l)
	for i, got := range b.events()[1:5] {
		want := []string{audit.KindIntent, audit.KindOutcome, audit.KindRefusal, audit.KindChange}[i]
		if got.Kind != want || got.Seq != uint64(i+2) || time.Since(got.Time) > time.Hour || got.Note != "" || got.Sealed != 0 {
			t.Errorf("record %d: %+v", i+2, got)
		}
	}
	if r := b.whole(); r.Refusals != 1 {
		t.Errorf("report: %+v", r)
	}
}

// Each attempt has one intent and one outcome, whoever asks.
func TestAnAttemptHasOneIntentAndOneOutcome(t *testing.T) {
	b := newBench(t)
	l := b.open()
	b.intent(l, 1)
	if _, err := l.Intent(t.Context(), attempt(1)); err == nil {
		t.Error("a second intent for one attempt")
	}
	l.Outcome(outcome(1))
	l.Outcome(outcome(1))
	l.Outcome(outcome(2))
	b.close(l)
	if r := b.whole(); r.Intents != 1 || r.Outcomes != 1 {
		t.Errorf("report: %+v", r)
	}
}

// N21: one record for each thing that happens to the gateway.
func TestEveryChangeIsOneRecord(t *testing.T) {
	b := newBench(t)
	l := b.open()
	kinds := []string{"start", "login", "logout", "refresh", "revoke", "policy", "reload", "secret-version", "admin", "stop"}
	for _, code := range kinds {
		l.Change(audit.Event{Code: code, Detail: "as it says"})
	}
	b.close(l)
	var got []string
	for _, e := range b.events() {
		if e.Kind == audit.KindChange {
			got = append(got, e.Code)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(kinds) {
		t.Errorf("got %v", got)
	}
	b.whole()
}

// N17: a hundred rotations under load lose and double nothing.
func TestRotationLosesNothing(t *testing.T) {
	b := newBench(t)
	b.setup.Config.SegmentSize = 16 << 10
	l := b.open()
	var wg sync.WaitGroup
	const writers, each = 32, 160
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				n := w*each + i
				b.intent(l, n)
				l.Refusal(audit.Event{Code: "denied", Status: 403, Client: fmt.Sprint(w)})
				l.Outcome(outcome(n))
			}
		})
	}
	wg.Wait()
	b.close(l)
	r := b.whole()
	if r.Segments < 100 || r.Intents != writers*each || r.Outcomes != writers*each || r.Refusals != writers*each {
		t.Errorf("report: %+v", r)
	}
}

func TestAfterCloseNothingIsAccepted(t *testing.T) {
	b := newBench(t)
	l := b.open()
	b.intent(l, 1)
	b.close(l)
	if _, err := l.Intent(t.Context(), attempt(2)); err == nil || l.Err() == nil {
		t.Error("a closed log takes intents")
	}
	l.Outcome(outcome(1))
	l.Refusal(audit.Event{Code: "denied"})
	l.Change(audit.Event{Code: "stop"})
	b.close(l)
	if r := b.whole(); r.Outcomes != 0 || len(r.Orphans) != 1 {
		t.Errorf("report: %+v", r)
	}
}

func TestMetricsCountWhatWasWritten(t *testing.T) {
	b := newBench(t)
	reader := metric.NewManualReader()
	b.setup.Meter = metric.NewMeterProvider(metric.WithReader(reader))
	l := b.open()
	for n := range 7 {
		b.intent(l, n)
	}
	for range 25 {
		l.Refusal(audit.Event{Code: "denied", Client: "c"})
	}
	l.Intent(context.Background(), audit.Event{})
	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		t.Fatal(err)
	}
	values := map[string]int64{}
	for _, m := range data.ScopeMetrics[0].Metrics {
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range d.DataPoints {
				kind, _ := p.Attributes.Value(attr.AuditKind)
				values[m.Name+" "+kind.AsString()] += p.Value
			}
		case metricdata.Gauge[int64]:
			values[m.Name] = d.DataPoints[0].Value
		case metricdata.Histogram[float64]:
			values[m.Name] = int64(d.DataPoints[0].Count)
		}
	}
	b.close(l)
	for name, want := range map[string]int64{
		attr.MetricAuditRecords + " intent": 7, attr.MetricAuditWait: 7, attr.MetricAuditWritable: 1,
		attr.MetricAuditAggregated + " ": 15, attr.MetricAuditUnavailable + " ": 1,
	} {
		if values[name] != want {
			t.Errorf("%s is %d, want %d", name, values[name], want)
		}
	}
	if values[attr.MetricAuditSync] == 0 || values[attr.MetricAuditSize] == 0 {
		t.Errorf("metrics: %v", values)
	}
}
