package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"
)

const (
	second      = time.Second            // between checkpoints, and windows of refusals
	firstRetry  = 100 * time.Millisecond // of opening a segment, doubling
	longerRetry = 5 * time.Second        // at most
	gathering   = 10 * time.Millisecond  // for a batch that nobody waits for
)

// writer is the one goroutine that writes: what it holds needs no lock.
type writer struct {
	log      *Log
	signer   note.Signer
	create   func(path string) (File, error)
	publish  func(note string)
	lockInfo fs.FileInfo

	head   head
	clock  clock
	signed uint64 // records that the last published checkpoint signs

	seg     *segment // nil: one must be begun
	code    string   // why the next segment is begun
	sealed  int64    // what of the segment before it belongs to the log
	buf     []byte
	why     error // nothing can be written, because
	retry   time.Duration
	unsaved bool // the checkpoint file could not be replaced; said once
}

// run writes until Close. The timer marks the second after a record: it is when
// a checkpoint is signed and aggregates are written; or the next attempt to
// write again.
func (w *writer) run() {
	defer close(w.log.done)
	timer := time.NewTimer(second)
	armed := true
	for !w.log.queue.isClosing() {
		fired := false
		select {
		case <-w.log.queue.wake:
		case <-timer.C:
			fired, armed = true, false
		}
		if w.why != nil && !fired {
			continue
		}
		if w.log.config.Mode == ModeBuffered && !fired {
			time.Sleep(gathering) // a write and an fsync for many records, not for each
		}
		b := w.log.queue.take(fired && w.why == nil, w.log.moment)
		if len(b.entries) > 0 || w.why != nil || fired && w.dirty() {
			w.commit(b, fired)
		}
		switch {
		case w.why != nil:
			timer.Reset(w.retry)
			armed = true
		case !armed && (w.dirty() || w.log.queue.busy()):
			timer.Reset(second)
			armed = true
		}
	}
	w.log.final = w.finish()
}

// dirty reports whether there are records that no checkpoint signs.
func (w *writer) dirty() bool { return w.head.seq > w.signed }

// finish writes all there is, signs it, and lets go of the directory.
func (w *writer) finish() error {
	var left uint64
	for done := false; !done; {
		w.commit(w.log.queue.take(true, w.log.moment), false)
		left, done = w.log.queue.shut(w.why != nil)
	}
	if w.why == nil && w.dirty() {
		w.commit(w.log.queue.take(false, w.log.moment), true)
	}
	var err error
	if w.why != nil {
		err = fmt.Errorf("close audit log: %d records were not written: %w", left, w.why)
	}
	if w.seg != nil {
		err = errors.Join(err, w.seg.file.Close())
	}
	return errors.Join(err, w.log.lock.Close(), w.log.metrics.close())
}

// commit makes a batch durable, or has it wait. A failure is met with a new
// segment at once; a second one means that the log cannot be written.
func (w *writer) commit(b *batch, sign bool) {
	if len(b.entries) == 0 && !sign && w.why == nil {
		return
	}
	signed, err := w.write(b, sign)
	if err != nil {
		w.failed(err)
		if signed, err = w.write(b, sign); err != nil {
			w.failed(err)
		}
	}
	if err != nil {
		err = fmt.Errorf("audit log cannot be written: %w", err)
		if w.why == nil {
			w.log.logger.Error("audit log cannot be written: requests that need a record are refused",
				"dir", w.log.config.Dir, "error", err)
			w.retry = firstRetry
		}
		w.retry = min(2*w.retry, longerRetry)
		w.why = err
		w.log.queue.refuse(b, err)
		return
	}
	if w.why != nil {
		w.log.logger.Info("audit log is written again", "dir", w.log.config.Dir)
		w.why = nil
	}
	w.log.queue.settle(b, w.log.moment)
	if signed {
		w.announce()
	}
}

// failed seals the segment that failed, if one was open.
func (w *writer) failed(err error) {
	w.log.metrics.failures.Add(context.Background(), 1)
	if w.seg == nil {
		return
	}
	w.seg.seal()
	if w.seg.size > 0 {
		w.code, w.sealed = CodeWriteFailed, w.seg.size
		w.log.logger.Warn("audit segment was sealed after a failure", "segment", w.seg.path, "error", err)
	}
	w.seg = nil
}

// write encodes a batch after the head, appends it and keeps the new head once
// that is durable. A new segment is signed whether asked for or not.
func (w *writer) write(b *batch, sign bool) (signed bool, err error) {
	if w.seg != nil && w.seg.size >= int64(w.log.config.SegmentSize) {
		w.code, w.sealed = CodeRotated, w.seg.size
		err := w.seg.file.Close()
		w.seg = nil
		if err != nil {
			return false, err
		}
	}
	at := b.at
	if len(b.entries) > 0 {
		at = b.entries[0].at // no later than the records that follow
	}
	d := draft{head: w.head, clock: w.clock, buf: w.buf[:0], kinds: map[string]int64{}}
	checkpoint := Event{Kind: KindCheckpoint}
	if w.seg == nil {
		if err := inPlace(filepath.Join(w.log.config.Dir, lockName), w.lockInfo); err != nil {
			return false, fmt.Errorf("the audit directory is not the one that was opened: %w", err)
		}
		if w.seg, err = begin(w.log.config.Dir, w.head.seq+1, w.create); err != nil {
			return false, err
		}
		sign = true
		checkpoint.Code, checkpoint.Sealed = w.code, w.sealed
		checkpoint.Range, checkpoint.Open = w.head.tree.compact(), w.log.queue.open()
	}
	// First in its batch: all before it is durable, so that no two checkpoints
	// for one size can ever differ, whatever happens to this batch.
	if sign {
		if checkpoint.Note, err = signTree(w.signer, &w.head.tree); err != nil {
			return false, err
		}
		d.first(at, appendBody(nil, &checkpoint))
	}
	for _, en := range b.entries {
		if en.seq = 0; en.state.Load() == abandoned {
			continue
		}
		en.seq = d.put(en.at, en.kind, en.body)
	}
	w.buf = d.buf
	if err := w.seg.append(d.buf, w.sync); err != nil {
		return false, err
	}
	w.head, w.clock = d.head, d.clock
	w.count(d.kinds)
	return sign, nil
}

func (w *writer) sync(f File) error {
	begun := time.Now()
	err := f.Sync()
	w.log.metrics.sync.Record(context.Background(), time.Since(begun).Seconds())
	return err
}

func (w *writer) count(kinds map[string]int64) {
	ctx := context.Background()
	for kind, n := range kinds {
		w.log.metrics.records.Add(ctx, n, w.log.metrics.written[kind])
	}
	w.log.metrics.checkpoints.Add(ctx, kinds[KindCheckpoint])
	w.log.metrics.size.Record(ctx, w.seg.size)
}

// announce signs all that is durable, the last checkpoint included, puts that
// note beside the segments and sends it out.
func (w *writer) announce() {
	signed, err := signTree(w.signer, &w.head.tree)
	if err != nil {
		w.log.logger.Error("audit checkpoint could not be signed", "error", err)
		return
	}
	w.signed = w.head.seq
	err = replace(w.log.config.Dir, checkpointName, signed)
	if err != nil && !w.unsaved {
		w.log.logger.Warn("audit checkpoint file could not be replaced", "error", err)
	}
	w.unsaved = err != nil
	if w.publish != nil {
		w.publish(signed)
	}
}
