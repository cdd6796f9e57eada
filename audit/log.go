package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// ErrOverloaded is why an intent is refused at once although the log can be
// written: more are waiting, or more attempts are open, than it will hold.
var ErrOverloaded = errors.New("audit log is overloaded")

// errClosed is what Err says after Close.
var errClosed = errors.New("audit log is closed")

// Setup is what Open needs.
type Setup struct {
	Config Config
	Logger *slog.Logger         // the process log. Default: none
	Meter  metric.MeterProvider // Default: none
	// OnCheckpoint receives each signed checkpoint once it is durable, so that a
	// copy lives elsewhere. It is called in order, first from within Open, and
	// must not block for long: nothing is written meanwhile.
	OnCheckpoint func(note string)
	// Now is the wall clock. Default: time.Now.
	Now func() time.Time
	// Create opens a new segment for writing; path must not exist before and
	// must after. It is where tests put faults. Default: an os file, 0600.
	Create func(path string) (File, error)
}

// Log is an audit log that this process writes. All methods may be called at
// the same time.
type Log struct {
	config  Config
	logger  *slog.Logger
	metrics metrics
	now     func() time.Time
	started time.Time // for elapsed time, whatever the clock says
	lock    *os.File
	queue   queue
	done    chan struct{} // the writer has ended
	final   error         // how; read after done
}

// Receipt says where an intent was written. In mode buffered it is not known yet.
type Receipt struct {
	Seq  uint64
	Wait time.Duration // until it was durable
}

// Open takes the directory of c for this process, recovers what a crash left,
// and begins to write. It fails rather than write beside damage it found.
func Open(s Setup) (*Log, error) {
	var bad error
	s.Config.Check(func(path, problem string) { bad = errors.Join(bad, fmt.Errorf("audit: %s %s", path, problem)) })
	if bad != nil {
		return nil, bad
	}
	l := &Log{
		config: s.Config,
		logger: cmp.Or(s.Logger, slog.New(slog.DiscardHandler)),
		now:    s.Now, started: time.Now(), done: make(chan struct{}),
	}
	l.config.Wait = cmp.Or(l.config.Wait, time.Second)
	l.config.SegmentSize = cmp.Or(l.config.SegmentSize, 64<<20)
	if l.now == nil {
		l.now = time.Now
	}
	l.queue = newQueue()
	if err := openDir(l.config.Dir, l.logger); err != nil {
		return nil, err
	}
	var err error
	if l.lock, err = lock(l.config.Dir); err != nil {
		return nil, err
	}
	if l.metrics, err = newMetrics(s.Meter, l); err != nil {
		return nil, errors.Join(err, l.lock.Close())
	}
	w, err := newWriter(l, s)
	if err != nil {
		return nil, errors.Join(err, l.lock.Close(), l.metrics.close())
	}
	go w.run()
	return l, nil
}

// openDir makes the directory if need be. One that others may read is left as
// the operator made it: the segments are 0600 whatever it is.
func openDir(dir string, logger *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make audit directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("audit directory: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		logger.Warn("audit directory is open to other users: chmod 700", "dir", dir, "mode", info.Mode().Perm().String())
	}
	return nil
}

// Intent records that an attempt is about to be sent, and returns once that is
// durable. After an error nothing may be sent: the wait was too long, the
// context ended, the log cannot be written, or ErrOverloaded. Should the intent
// become durable after all, it is closed as not-sent without the caller.
//
// Every Intent that returned without an error is owed one Outcome. In mode
// buffered it does not wait, and fails when the log is known to be broken.
func (l *Log) Intent(ctx context.Context, e Event) (Receipt, error) {
	receipt, err := l.intent(ctx, e)
	if err != nil {
		l.metrics.unavailable.Add(ctx, 1)
		return Receipt{}, err
	}
	if l.config.Mode != ModeBuffered {
		l.metrics.wait.Record(ctx, receipt.Wait.Seconds())
	}
	return receipt, nil
}

func (l *Log) intent(ctx context.Context, e Event) (Receipt, error) {
	if err := e.check(); err != nil {
		return Receipt{}, err
	}
	if e.Attempt == "" {
		return Receipt{}, errors.New("audit: an intent without an attempt id")
	}
	begun := time.Now()
	e.Kind = KindIntent
	en := &entry{kind: KindIntent, attempt: e.Attempt, route: e.Route, body: appendBody(make([]byte, 0, 640), &e)}
	if l.config.Mode == ModeBuffered {
		en.state.Store(detached)
	}
	b, err := l.queue.intent(en, l.moment)
	if err != nil || l.config.Mode == ModeBuffered {
		return Receipt{}, err
	}
	timer := time.NewTimer(l.config.Wait)
	defer timer.Stop()
	select {
	case <-b.done:
	case <-timer.C:
		err = fmt.Errorf("audit: the intent was not durable within %s", l.config.Wait)
	case <-ctx.Done():
		err = fmt.Errorf("audit: while waiting for the intent: %w", context.Cause(ctx))
	}
	if err != nil && en.state.CompareAndSwap(waiting, abandoned) {
		return Receipt{}, err
	}
	<-b.done // at once: the writer was first
	return Receipt{Seq: en.seq, Wait: time.Since(begun)}, en.err
}

// Outcome records how an attempt ended: one for each successful Intent. It is
// queued, and never lost while the process lives; a second one for the same
// attempt is not written.
func (l *Log) Outcome(e Event) {
	e.Kind = KindOutcome
	en := &entry{kind: KindOutcome, attempt: e.Attempt, body: appendBody(make([]byte, 0, 640), &e)}
	if err := l.queue.outcome(en, l.moment); err != nil {
		l.metrics.lost(KindOutcome)
		l.logger.Error("audit outcome was not recorded", "attempt", e.Attempt, "error", err)
	}
}

// Refusal records a request that was not forwarded. It is queued; when there are
// very many, those alike become one record a second with their exact Count.
func (l *Log) Refusal(e Event) {
	e.Kind = KindRefusal
	e.Count, e.First = 0, time.Time{}
	counted, err := l.queue.refusal(&e, l.moment)
	switch {
	case err != nil:
		l.metrics.lost(KindRefusal)
		l.logger.Error("audit refusal was not recorded", "trace", e.Trace, "code", e.Code, "error", err)
	case counted:
		l.metrics.aggregated.Add(context.Background(), 1)
	}
}

// Change records something about the gateway itself. It is queued.
func (l *Log) Change(e Event) {
	e.Kind = KindChange
	en := &entry{kind: KindChange, body: appendBody(nil, &e)}
	if err := l.queue.change(en, l.moment); err != nil {
		l.metrics.lost(KindChange)
		l.logger.Error("audit change was not recorded", "code", e.Code, "error", err)
	}
}

// Err is nil when the log can be written, as far as is known.
func (l *Log) Err() error { return l.queue.err() }

// Close refuses new intents, writes what is queued, signs a last checkpoint and
// gives the directory up. When ctx ends first, writing goes on without the caller.
func (l *Log) Close(ctx context.Context) error {
	l.queue.close()
	select {
	case <-l.done:
		return l.final
	case <-ctx.Done():
		return fmt.Errorf("close audit log: %w", context.Cause(ctx))
	}
}

// moment is now, by the clock on the wall and by one that cannot be set.
func (l *Log) moment() moment { return moment{l.now(), time.Since(l.started)} }

type moment struct {
	wall time.Time
	run  time.Duration
}
