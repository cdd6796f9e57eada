package audit

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/note"
)

// Verify reads a whole log and checks that it is what a holder of the signing
// key wrote: the order and chain of its records, every checkpoint, that each
// outcome belongs to one intent, and that every checkpoint in Since is of this
// log. The first thing that is wrong is returned as a *Damage; other errors mean
// that the log could not be read.
func Verify(o VerifyOptions) (Report, error) {
	v := &verification{dir: o.Dir}
	verifier, err := note.NewVerifier(o.PublicKey)
	if err != nil {
		return v.report, fmt.Errorf("verify audit log: public key: %w", err)
	}
	v.chain = chain{verifier: verifier, open: map[string]bool{}}
	if o.Since != nil {
		cps, err := readCheckpoints(o.Since, verifier)
		if err != nil {
			return v.report, fmt.Errorf("verify audit log: since: %w", err)
		}
		for _, c := range cps {
			v.since = append(v.since, witness{c, false})
		}
	}
	// Before the segments: while a log is being written it only lags behind them.
	saved, err := savedCheckpoint(o.Dir, verifier)
	if _, unread := errors.AsType[*fs.PathError](err); unread {
		return v.report, fmt.Errorf("verify audit log: %w", err)
	} else if err != nil {
		return v.report, &Damage{What: Edited, File: checkpointName, Detail: err.Error()}
	}
	if v.firsts, err = segmentsOf(o.Dir); err != nil {
		return v.report, err
	}
	if saved != nil {
		v.since = append(v.since, witness{*saved, true})
	}
	slices.SortStableFunc(v.since, func(a, b witness) int { return cmp.Compare(a.size, b.size) })

	err = v.segments()
	if err == nil {
		err = v.end(saved != nil)
	}
	head := v.chain.signed
	if saved != nil && saved.size >= head.size && saved.size <= v.chain.seq {
		head = *saved
	}
	v.report.Head, v.report.Unsigned = head.note, v.chain.seq-head.size
	v.report.Checkpoints = v.chain.notes
	v.report.Orphans = slices.Sorted(maps.Keys(v.chain.open))
	v.report.Last = parseTime(v.last)
	return v.report, err
}

// witness is a checkpoint that the log must agree with.
type witness struct {
	checkpoint
	local bool // the directory's own
}

func (w *witness) String() string {
	if w.local {
		return "the checkpoint file"
	}
	return "a checkpoint kept elsewhere"
}

type verification struct {
	dir    string
	chain  chain
	firsts []uint64  // the segments
	since  []witness // by size, smallest first; those met are removed
	report Report
	last   []byte // time of the last record, as written
	at     place  // of the line read last
	before place  // and of the one before it
	sealed int64  // bytes of the segment before, as far as they count
}

type place struct {
	file string
	line int
}

func (p place) damage(seq uint64, what, format string, args ...any) *Damage {
	return &Damage{What: what, File: p.file, Line: p.line, Seq: seq, Detail: fmt.Sprintf(format, args...)}
}

// segments reads one segment after another.
func (v *verification) segments() error {
	if err := v.meet(); err != nil {
		return err
	}
	for i := 0; v.exists(i); i++ {
		first, due := v.firsts[i], v.chain.seq+1
		if first > due && v.overlooked(due) {
			v.firsts = slices.Insert(v.firsts, i, due)
			first = due
		}
		if first > due {
			return place{file: segmentName(first)}.damage(due, Deleted, "records %d to %d are missing before it", due, first-1)
		}
		if first < due { // the segment before has lines that do not belong there
			at := place{v.at.file, max(v.at.line-int(due-first)+1, 1)}
			return at.damage(first, Inserted, "%s begins with this record", segmentName(first))
		}
		last, err := v.segment(i)
		if err != nil {
			return err
		}
		if v.report.Segments++; last {
			break // whatever has been begun since
		}
	}
	if v.report.Segments == 0 {
		return place{file: "."}.damage(1, Deleted, "there is no segment")
	}
	return nil
}

// exists reports whether there is an i-th segment; at the end of the list it
// looks again, for the log may be in use.
func (v *verification) exists(i int) bool {
	if i >= len(v.firsts) {
		firsts, err := segmentsOf(v.dir)
		if err != nil {
			return false
		}
		for _, first := range firsts {
			if n := len(v.firsts); n == 0 || first > v.firsts[n-1] {
				v.firsts = append(v.firsts, first)
			}
		}
	}
	return i < len(v.firsts)
}

// overlooked reports whether a segment is there that was not listed: a directory
// being written to may list a younger file and not an older one.
func (v *verification) overlooked(first uint64) bool {
	_, err := os.Stat(filepath.Join(v.dir, segmentName(first)))
	return err == nil
}

// segment reads the i-th segment. If a successor turns up at its end, it was
// written to in the meantime and is read on; if none does, it was the last.
func (v *verification) segment(i int) (last bool, err error) {
	l, err := openLines(v.dir, v.firsts[i])
	if err != nil {
		return false, err
	}
	defer l.close()
	for {
		followed := v.exists(i + 1)
		limit := int64(math.MaxInt64)
		if followed {
			limit = v.limit(i + 1)
		}
		if err := v.lines(l, i, limit); err != nil {
			return false, err
		}
		if followed || !v.exists(i+1) {
			return !followed, v.close(l, followed, limit)
		}
	}
}

// limit is where the segment before the i-th ends, if that one was begun after
// a failed write: what lies behind is no part of the log.
func (v *verification) limit(i int) int64 {
	l, err := openLines(v.dir, v.firsts[i])
	if err != nil {
		return math.MaxInt64
	}
	defer l.close()
	line, err := l.next()
	var r record
	if err != nil || scan(line, &r) != nil || !r.is(fKind, KindCheckpoint) || !r.is(fCode, CodeWriteFailed) {
		return math.MaxInt64
	}
	sealed, sum := r.number(fSealed), sha256.Sum256(line)
	if line, err = l.next(); err == nil && (scan(line, &r) != nil || r.prev != sum) {
		return math.MaxInt64 // itself edited: say so when its turn comes
	}
	return sealed
}

// lines reads what there is of a segment, up to limit.
func (v *verification) lines(l *lines, i int, limit int64) error {
	for l.end < limit {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		v.before, v.at = v.at, place{l.name, l.number}
		if b := v.chain.follow(line); b != nil {
			return v.locate(b, line, l, i)
		}
		if err := v.taken(l); err != nil {
			return err
		}
	}
	return nil
}

// close checks that a segment ends where its last line does.
func (v *verification) close(l *lines, followed bool, limit int64) error {
	size, err := l.size()
	if err != nil {
		return err
	}
	v.sealed = l.end
	v.report.Bytes += l.end
	rest := place{l.name, l.number + 1}
	switch {
	case limit < math.MaxInt64 && l.end != limit:
		return rest.damage(v.chain.seq+1, Deleted, "it ends at byte %d, the next segment says at %d", l.end, limit)
	case limit < math.MaxInt64:
		v.report.Ignored += size - limit
	case followed && size > l.end:
		return rest.damage(v.chain.seq+1, Edited, "its last line is unfinished, and another segment follows")
	case !followed:
		v.report.Torn = max(size-l.end, 0)
	}
	return nil
}

// taken accounts for the record that the chain has taken in.
func (v *verification) taken(l *lines) error {
	r, rep := &v.chain.rec, &v.report
	if l.number == 1 && (!r.is(fKind, KindCheckpoint) || r.number(fSealed) != v.sealed) {
		return v.at.damage(r.seq, Edited, "a segment begins with a checkpoint, and this one after %d bytes of the segment before", v.sealed)
	}
	switch {
	case r.is(fKind, KindIntent):
		rep.Intents++
	case r.is(fKind, KindOutcome):
		rep.Outcomes++
		if r.is(fCode, CodeNotSent) {
			rep.NotSent++
		} else if r.is(fCode, CodeUnknown) {
			rep.Unknown++
		}
	case r.is(fKind, KindRefusal):
		rep.Refusals += max(1, r.count())
	case r.is(fKind, KindChange):
		rep.Changes++
	}
	rep.Records = v.chain.seq
	v.last = append(v.last[:0], r.values[fTime]...)
	if v.chain.seq == 1 {
		rep.First = parseTime(v.last)
	}
	return v.meet()
}

// meet compares the log so far with the checkpoints of exactly its size.
func (v *verification) meet() error {
	for len(v.since) > 0 && v.since[0].size == v.chain.seq {
		w := &v.since[0]
		if v.since = v.since[1:]; w.root == v.chain.tree.root() {
			continue
		}
		if w.local && v.chain.signed.size+1 == v.chain.seq && v.chain.rec.is(fKind, KindCheckpoint) {
			return v.at.damage(v.chain.seq, Edited, "it is not the record that %s signs; those before it are", w)
		}
		return v.at.damage(v.chain.seq, Replaced, "records up to here are not the ones that %s signs", w)
	}
	return nil
}

// end checks that nothing that was signed is missing at the end.
func (v *verification) end(saved bool) error {
	if n := len(v.since); n > 0 {
		at := place{v.at.file, v.at.line + 1}
		return at.damage(v.chain.seq+1, Truncated, "the log ends after %d records; %s signs %d",
			v.chain.seq, &v.since[n-1], v.since[n-1].size)
	}
	if !saved && v.chain.notes > 1 {
		return place{file: checkpointName}.damage(v.chain.seq, Deleted, "the file of the newest checkpoint is missing")
	}
	return nil
}
