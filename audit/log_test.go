package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/audit"
)

// bench is a log's directory and keys, and what a process that owns it would
// have said.
type bench struct {
	t       testing.TB
	setup   audit.Setup
	public  string
	mu      sync.Mutex
	notes   []string
	process bytes.Buffer // the process log
}

func newBench(t testing.TB) *bench {
	t.Helper()
	private, public, err := audit.Keygen("gw.test/audit")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, public: public}
	b.setup = audit.Setup{
		Config:       audit.Config{Dir: filepath.Join(t.TempDir(), "audit"), Key: func() string { return private }, Wait: 10 * time.Second},
		OnCheckpoint: b.keep,
	}
	return b
}

func (b *bench) keep(note string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes = append(b.notes, note)
}

// published are the checkpoints that left the process.
func (b *bench) published() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.notes)
}

func (b *bench) open() *audit.Log {
	b.t.Helper()
	l, err := audit.Open(b.setup)
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

func (b *bench) close(l *audit.Log) {
	b.t.Helper()
	if err := l.Close(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) verify(since ...string) (audit.Report, error) {
	o := audit.VerifyOptions{Dir: b.setup.Config.Dir, PublicKey: b.public}
	if len(since) > 0 {
		o.Since = strings.NewReader(strings.Join(since, "\n"))
	}
	return audit.Verify(o)
}

// whole verifies against every checkpoint that was published.
func (b *bench) whole() audit.Report {
	b.t.Helper()
	r, err := b.verify(b.published()...)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// events reads the log as a user of jq would.
func (b *bench) events() []audit.Event {
	b.t.Helper()
	var out []audit.Event
	for _, name := range b.segments() {
		data, err := os.ReadFile(name)
		if err != nil {
			b.t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			var e audit.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				b.t.Fatalf("%s: %v: %q", name, err, line)
			}
			out = append(out, e)
		}
	}
	return out
}

func (b *bench) segments() []string {
	names, err := filepath.Glob(filepath.Join(b.setup.Config.Dir, "*.jsonl"))
	if err != nil || len(names) == 0 {
		b.t.Fatalf("no segment: %v", err)
	}
	return names
}

func attempt(n int) audit.Event {
	return audit.Event{
		Trace: fmt.Sprintf("%032x", n), Attempt: fmt.Sprintf("%032x-1", n), Route: "stripe", Method: "GET",
		Host: "gw.test", Path: "/v1/charges", Issuer: "corp", Subject: "alice", Role: "dev",
		Secret: "prod/payments/KEY", Version: "v1", Upstream: "https://api.stripe.test:443",
	}
}

func outcome(n int) audit.Event {
	return audit.Event{Trace: fmt.Sprintf("%032x", n), Attempt: fmt.Sprintf("%032x-1", n), Route: "stripe", Status: 200}
}

func (b *bench) intent(l *audit.Log, n int) audit.Receipt {
	b.t.Helper()
	r, err := l.Intent(b.t.Context(), attempt(n))
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func TestALogThatWasWrittenVerifies(t *testing.T) {
	b := newBench(t)
	l := b.open()
	for n := range 100 {
		if r := b.intent(l, n); r.Seq == 0 {
			t.Fatal("an intent without a number")
		}
		l.Outcome(outcome(n))
		l.Refusal(audit.Event{Trace: fmt.Sprintf("%032x", n), Code: "denied", Status: 403, Client: fmt.Sprint(n)})
	}
	l.Change(audit.Event{Code: "stop", Detail: "the process was asked to end"})
	b.close(l)
	r := b.whole()
	if r.Intents != 100 || r.Outcomes != 100 || r.Refusals != 100 || r.Changes != 1 || r.Unsigned != 0 || len(r.Orphans) != 0 {
		t.Errorf("report: %+v", r)
	}
	if notes := b.published(); r.Head != notes[len(notes)-1] {
		t.Errorf("head is %q, published was %q", r.Head, notes)
	}
	for i, e := range b.events() {
		if e.Seq != uint64(i+1) {
			t.Fatalf("record %d has number %d", i+1, e.Seq)
		}
	}
}

func TestARestartContinuesTheChain(t *testing.T) {
	b := newBench(t)
	for n := range 5 {
		l := b.open()
		b.intent(l, n)
		l.Outcome(outcome(n))
		b.close(l)
	}
	if r := b.whole(); r.Segments != 5 || r.Intents != 5 || r.Unknown != 0 {
		t.Errorf("report: %+v", r)
	}
}
