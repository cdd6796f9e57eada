package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/audit"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("AUDIT_TEST_DIR"); dir != "" {
		writeUntilKilled(dir, os.Getenv("AUDIT_TEST_KEY"), os.Getenv("AUDIT_TEST_RUN"))
	}
	os.Exit(m.Run())
}

// writeUntilKilled is a gateway: it says on stdout what it would have sent.
func writeUntilKilled(dir, key, run string) {
	l, err := audit.Open(audit.Setup{Config: audit.Config{
		Dir: dir, Key: func() string { return key }, SegmentSize: 32 << 10,
	}})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var n atomic.Int64
	for range 4 {
		go func() {
			for {
				e := attempt(0)
				e.Attempt = fmt.Sprintf("%s-%d", run, n.Add(1))
				if _, err := l.Intent(context.Background(), e); err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				os.Stdout.WriteString("used " + e.Attempt + "\n")
				l.Outcome(audit.Event{Attempt: e.Attempt, Status: 200})
			}
		}()
	}
	select {}
}

// FA05, FA06: whatever the moment, what was used is in the log, and the next
// start closes what was open. 200 kills, each met by the recovery of the next.
func TestAfterSIGKILLEveryUseHasItsIntent(t *testing.T) {
	if testing.Short() {
		t.Skip("200 processes")
	}
	b := newBench(t)
	used := map[string]bool{}
	for run := range 200 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "AUDIT_TEST_DIR="+b.setup.Config.Dir,
			"AUDIT_TEST_KEY="+b.setup.Config.Key(), fmt.Sprintf("AUDIT_TEST_RUN=%032x", run))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// A number of uses, then a moment within the next write.
		after, moment := rand.IntN(40), time.Duration(rand.IntN(2000))*time.Microsecond
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			id, ok := strings.CutPrefix(lines.Text(), "used ")
			if !ok {
				t.Fatalf("run %d: %s", run, lines.Text())
			}
			used[id] = true
			if n == after {
				time.AfterFunc(moment, func() { cmd.Process.Kill() })
			}
		}
		cmd.Wait()
	}
	begun := time.Now()
	b.close(b.open())
	t.Logf("%d uses; the last start took %s", len(used), time.Since(begun))
	r := b.whole()
	unknown := 0
	for _, e := range b.events() {
		if e.Kind == audit.KindIntent {
			delete(used, e.Attempt)
		}
		if e.Code == audit.CodeUnknown {
			unknown++
		}
	}
	if len(used) > 0 || len(r.Orphans) > 0 || r.Outcomes != r.Intents || unknown == 0 {
		t.Errorf("%d uses have no intent; report: %+v", len(used), r)
	}
}

// FA04: a torn tail is cut, kept, and accounted for.
func TestATornTailIsCutAndRecorded(t *testing.T) {
	b, d := faulty(t)
	l := b.open()
	b.intent(l, 1)
	dir := b.setup.Config.Dir
	b.setup.Config.Dir = filepath.Join(t.TempDir(), "copy")
	b.setup.Create = nil
	snapshot(t, d, dir, b.setup.Config.Dir, nil)
	b.close(l)

	torn := `{"seq":3,"time":"2026-01-02T03:`
	last := b.segments()[0]
	f, err := os.OpenFile(last, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(torn)
	f.Close()
	if r, err := b.verify(); err != nil || r.Torn != int64(len(torn)) || len(r.Orphans) != 1 {
		t.Fatalf("before recovery: %+v %v", r, err)
	}
	b.close(b.open())
	if r := b.whole0(); r.Unknown != 1 || r.Changes != 1 || r.Torn != 0 || len(r.Orphans) != 0 {
		t.Errorf("report: %+v", r)
	}
	if kept, err := os.ReadFile(last + ".torn"); err != nil || string(kept) != torn {
		t.Errorf("kept %q, %v", kept, err)
	}
	said := false
	for _, e := range b.events() {
		sum := fmt.Sprintf("%x", sha256.Sum256([]byte(torn)))
		said = said || e.Code == audit.CodeRecovered && e.Count == uint64(len(torn)) && strings.Contains(e.Detail, sum)
	}
	if !said {
		t.Error("no record of the cut")
	}
	b.close(b.open()) // and it is said once
	if r := b.whole0(); r.Changes != 1 {
		t.Errorf("report: %+v", r)
	}
}

// snapshot copies a log in use as a power cut would leave it: what was synced is
// there; of the rest, what lose makes of it (nothing if nil).
func snapshot(t *testing.T, d *disk, from, to string, lose func(rest []byte) []byte) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name string, keep int64) {
		data, err := os.ReadFile(filepath.Join(from, name))
		if os.IsNotExist(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if keep >= 0 && lose != nil {
			data = append(data[:keep:keep], lose(data[keep:])...)
		} else if keep >= 0 {
			data = data[:keep]
		}
		if err := os.WriteFile(filepath.Join(to, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("checkpoint", -1)
	for _, f := range d.files {
		put(filepath.Base(f.Name()), f.synced)
	}
}

// FA04, FA05: power cuts while many write. Whatever became of the bytes that
// were not synced, every acknowledged intent survives and the chain is whole.
func TestAPowerCutLosesNothingThatWasAcknowledged(t *testing.T) {
	b, d := faulty(t)
	b.setup.Config.SegmentSize = 64 << 10
	l := b.open()
	work := make(chan int, 150) // so that the cuts meet writers that are at it
	var wg sync.WaitGroup
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	for range 16 {
		wg.Go(func() {
			for i := range work {
				b.intent(l, i)
				mu.Lock()
				acknowledged[attempt(i).Attempt] = true
				mu.Unlock()
				if i%5 != 0 {
					l.Outcome(outcome(i))
				}
			}
		})
	}
	losses := []func([]byte) []byte{
		func(rest []byte) []byte { return rest[:rand.IntN(len(rest)+1)] },
		func(rest []byte) []byte { return make([]byte, len(rest)) },
		func(rest []byte) []byte { // a page in the middle never arrived
			rest = bytes.Clone(rest)
			from := rand.IntN(len(rest) + 1)
			clear(rest[from:min(from+512, len(rest))])
			return rest
		},
	}
	for i := range 21 {
		for n := range 150 {
			work <- 150*i + n
		}
		mu.Lock()
		want := maps.Clone(acknowledged)
		mu.Unlock()
		cut := &bench{t: t, setup: b.setup, public: b.public}
		cut.setup.Config.Dir = filepath.Join(t.TempDir(), "copy")
		cut.setup.Create, cut.setup.OnCheckpoint = nil, nil
		snapshot(t, d, b.setup.Config.Dir, cut.setup.Config.Dir, losses[i%3])
		cut.close(cut.open())
		r := cut.whole0()
		for _, e := range cut.events() {
			if e.Kind == audit.KindIntent {
				delete(want, e.Attempt)
			}
		}
		if len(want) > 0 || len(r.Orphans) > 0 {
			t.Fatalf("cut %d: %d acknowledged intents are gone; report: %+v", i, len(want), r)
		}
	}
	close(work)
	wg.Wait()
	b.close(l)
	b.whole()
}

// A start that crashed in the middle of its own recovery is recovered from.
func TestACrashWhileASegmentIsBegunIsRecoveredFrom(t *testing.T) {
	for _, content := range []string{"", `{"seq":`, "\x00\x00\x00\n"} {
		b := newBench(t)
		l := b.open()
		b.intent(l, 1)
		l.Outcome(outcome(1))
		b.close(l)
		next := filepath.Join(b.setup.Config.Dir, fmt.Sprintf("%012d.jsonl", b.whole().Records+1))
		if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		l = b.open()
		b.intent(l, 2)
		l.Outcome(outcome(2))
		b.close(l)
		if r := b.whole(); r.Intents != 2 || r.Segments != 2 {
			t.Errorf("%q: report: %+v", content, r)
		}
	}
}

// The very first one may be torn too.
func TestACrashAtTheFirstRecordIsRecoveredFrom(t *testing.T) {
	b := newBench(t)
	if err := os.Mkdir(b.setup.Config.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.setup.Config.Dir, "000000000001.jsonl"), []byte(`{"seq":1,`), 0o600); err != nil {
		t.Fatal(err)
	}
	b.close(b.open())
	b.whole()
}

// The log can be read while it is written, and rotated, and a copy of it too.
func TestALogInUseVerifies(t *testing.T) {
	b := newBench(t)
	b.setup.Config.SegmentSize = 8 << 10
	l := b.open()
	work := make(chan int, 100)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range work {
				b.intent(l, i)
				l.Outcome(outcome(i))
			}
		})
	}
	for n := range 3000 {
		if work <- n; n%100 != 0 {
			continue
		}
		notes := b.published()
		if r, err := b.verify(notes[len(notes)-1]); err != nil || r.Records == 0 {
			t.Errorf("%+v %v", r, err)
			break
		}
	}
	close(work)
	wg.Wait()
	b.close(l)
	if r := b.whole(); len(r.Orphans) > 0 || r.Outcomes != r.Intents {
		t.Errorf("report: %+v", r)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(b.setup.Config.Dir)); err != nil {
		t.Fatal(err)
	}
	b.setup.Config.Dir = copied
	b.whole()
}
