package audit_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/audit"
)

// stalled makes every fsync take d, in the bubble's time.
func stalled(d time.Duration) func(*disk) {
	return func(k *disk) {
		k.sync = func() error {
			time.Sleep(d)
			return nil
		}
	}
}

// FA03: nobody waits longer than Wait; what becomes durable later is closed.
func TestASlowFsyncCostsAtMostTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := faulty(t)
		b.setup.Config.Wait = time.Second
		l := b.open()
		d.set(stalled(2 * time.Second))
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() {
				begun := time.Now()
				if _, err := l.Intent(t.Context(), attempt(n)); err == nil || time.Since(begun) > time.Second {
					t.Errorf("intent %d: %v after %s", n, err, time.Since(begun))
				}
			})
		}
		wg.Wait()
		d.set(func(d *disk) { d.sync = nil })
		time.Sleep(5 * time.Second)
		if _, err := l.Intent(t.Context(), attempt(200)); err != nil {
			t.Error(err)
		}
		l.Outcome(outcome(200))
		b.close(l)
		// Those that were never written need no outcome; the rest have one.
		if r := b.whole(); r.Intents < 2 || r.NotSent != r.Intents-1 || r.Outcomes != r.Intents || len(r.Orphans) != 0 {
			t.Errorf("report: %+v", r)
		}
	})
}

func TestACallerThatGoesAwayLeavesNoOpenIntent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := faulty(t)
		l := b.open()
		d.set(stalled(time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := l.Intent(ctx, attempt(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("intent: %v", err)
		}
		time.Sleep(5 * time.Second)
		l.Outcome(outcome(1)) // nobody may add one
		b.close(l)
		events := b.events()
		if r := b.whole(); r.Intents != 1 || r.NotSent != 1 || r.Outcomes != 1 {
			t.Errorf("report: %+v of %+v", r, events)
		}
		for _, e := range events {
			if e.Code == audit.CodeNotSent && (e.Attempt != attempt(1).Attempt || e.Trace != attempt(1).Trace || e.Route != "stripe") {
				t.Errorf("not-sent: %+v", e)
			}
		}
	})
}

// The queue is bounded for intents, and an outcome always has its place.
func TestAFullQueueRefusesIntentsAndKeepsOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := faulty(t)
		b.setup.Config.Mode = audit.ModeBuffered
		l := b.open()
		d.set(stalled(time.Hour))
		var accepted int
		var err error
		for err == nil && accepted < 5000 {
			e := attempt(accepted)
			e.Path = strings.Repeat("x", 60<<10)
			if _, err = l.Intent(t.Context(), e); err == nil {
				accepted++
			}
		}
		if !errors.Is(err, audit.ErrOverloaded) || accepted < 100 {
			t.Fatalf("after %d: %v", accepted, err)
		}
		for n := range accepted {
			l.Outcome(outcome(n))
		}
		for range 1000 {
			l.Refusal(audit.Event{Code: "overloaded", Status: 503})
		}
		l.Change(audit.Event{Code: "reload"})
		d.set(func(d *disk) { d.sync = nil })
		time.Sleep(2 * time.Hour)
		b.close(l)
		r := b.whole()
		if r.Intents != uint64(accepted) || r.Outcomes != uint64(accepted) || r.Refusals != 1000 || r.Changes != 1 {
			t.Errorf("accepted %d; report: %+v", accepted, r)
		}
	})
}

func TestBufferedModeDoesNotWaitAndKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := faulty(t)
		b.setup.Config.Mode = audit.ModeBuffered
		l := b.open()
		d.set(stalled(time.Minute))
		begun := time.Now()
		for n := range 50 {
			b.intent(l, n)
			l.Outcome(outcome(n))
		}
		if time.Since(begun) != 0 {
			t.Errorf("waited %s", time.Since(begun))
		}
		d.set(func(d *disk) { d.sync = func() error { return errors.ErrUnsupported } })
		time.Sleep(2 * time.Minute)
		if _, err := l.Intent(t.Context(), attempt(99)); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("on a broken log: %v", err)
		}
		d.set(func(d *disk) { d.sync = nil })
		time.Sleep(10 * time.Second)
		b.close(l)
		if r := b.whole(); r.Intents != 50 || r.Outcomes != 50 || r.NotSent != 0 {
			t.Errorf("report: %+v", r)
		}
	})
}

func TestOneCheckpointForEachSecondOfActivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		l := b.open()
		time.Sleep(time.Minute)
		if n := len(b.published()); n != 1 {
			t.Errorf("%d checkpoints of an idle log", n)
		}
		for n := range 100 { // ten seconds
			b.intent(l, n)
			l.Outcome(outcome(n))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		if n := len(b.published()); n < 10 || n > 13 {
			t.Errorf("%d checkpoints after ten seconds of activity", n)
		}
		if r := b.whole(); r.Unsigned != 0 {
			t.Errorf("report: %+v", r)
		}
		before := len(b.published())
		b.intent(l, 1000)
		l.Outcome(outcome(1000))
		b.close(l)
		if n := len(b.published()); n != before+1 {
			t.Errorf("%d checkpoints at the close", n-before)
		}
		b.whole()
	})
}

// N25: however many, each refusal is counted once; and those of another caller,
// and what is allowed, are not lost among them.
func TestAFloodOfRefusalsIsCountedExactly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		l := b.open()
		const perSecond, callers, seconds = 50_000, 8, 2
		for n := range seconds {
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for range perSecond / callers {
						l.Refusal(audit.Event{Trace: "flood", Code: "token-invalid", Status: 401, Client: string(rune('a' + c))})
					}
				})
			}
			l.Refusal(audit.Event{Trace: "alone", Code: "denied", Status: 403, Subject: "carol"})
			b.intent(l, n)
			l.Outcome(outcome(n))
			wg.Wait()
			time.Sleep(time.Second)
		}
		b.close(l)
		var written, alone, counted uint64
		for _, e := range b.events() {
			switch {
			case e.Trace == "alone":
				alone++
			case e.Kind == audit.KindRefusal && e.Count > 0:
				counted += e.Count
				if e.Trace != "flood" || e.Code != "token-invalid" || e.Client == "" || e.First.IsZero() || e.First.After(e.Time) {
					t.Errorf("aggregate: %+v", e)
				}
			case e.Kind == audit.KindRefusal:
				written++
			}
		}
		if alone != seconds || written+counted != perSecond*seconds || written > 10*callers*(seconds+1) {
			t.Errorf("%d written, %d counted, %d alone", written, counted, alone)
		}
		if r := b.whole(); r.Refusals != perSecond*seconds+seconds || r.Outcomes != seconds {
			t.Errorf("report: %+v", r)
		}
	})
}

// A flood that looks different every time is bounded too, and still exact.
func TestAFloodOfManyCallersIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		l := b.open()
		for n := range 20_000 {
			l.Refusal(audit.Event{Code: "no-credentials", Status: 401, Client: attempt(n).Trace, Path: "/" + attempt(n).Trace})
		}
		b.close(l)
		if r := b.whole(); r.Refusals != 20_000 || r.Records > 3000 {
			t.Errorf("report: %+v", r)
		}
	})
}

// N14: the clock is written as it is, and what happened to it too.
func TestAClockThatIsSetIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var offset time.Duration
		set := func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			offset = d
		}
		b := newBench(t)
		b.setup.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(offset)
		}
		l := b.open()
		b.intent(l, 1)
		set(-time.Hour)
		b.intent(l, 2)
		time.Sleep(time.Minute)
		b.intent(l, 3)
		set(23 * time.Hour)
		b.intent(l, 4)
		for n := range 4 {
			l.Outcome(outcome(n + 1))
		}
		b.close(l)
		set(-30 * time.Hour) // before the restart
		l = b.open()
		b.close(l)
		var said []string
		for _, e := range b.events() {
			if e.Code == audit.CodeClock {
				said = append(said, e.Detail)
			}
		}
		want := "the clock was set back by 1h0m0s, the clock was set forward by 24h0m0s, the clock was set back by "
		if got := strings.Join(said, ", "); len(said) != 3 || !strings.HasPrefix(got, want) {
			t.Errorf("said: %s", got)
		}
		if r := b.whole(); r.Intents != 4 {
			t.Errorf("report: %+v", r)
		}
	})
}
