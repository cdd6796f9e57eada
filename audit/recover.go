package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// past is what a directory holds when a process opens it.
type past struct {
	chain    chain
	last     time.Time // of the last record
	sealed   int64     // length of the last segment
	unsigned uint64    // records behind the last checkpoint
	torn     []string  // what was cut, in words
	cut      uint64    // and its bytes
}

// contradiction is why Open refuses a directory: to write on would be to sign a
// history other than the one already signed.
func contradiction(format string, args ...any) error {
	return fmt.Errorf("audit log contradicts what was signed: %s; see vaultspan audit verify, "+
		"and move the directory aside to begin another log", fmt.Sprintf(format, args...))
}

// look reads the last segment of dir, and repairs what a crash may leave: a torn
// tail, or a last segment that holds nothing. Earlier segments are not read.
func look(dir string, v note.Verifier) (*past, error) {
	published, err := savedCheckpoint(dir, v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: was it signed with another key?", filepath.Join(dir, checkpointName), err)
	}
	firsts, err := segmentsOf(dir)
	if err != nil {
		return nil, err
	}
	p := &past{chain: chain{verifier: v, open: map[string]bool{}}}
	for len(firsts) > 0 && p.chain.seq == 0 {
		first := firsts[len(firsts)-1]
		firsts = firsts[:len(firsts)-1]
		if err := p.read(dir, first, published); err != nil {
			return nil, err
		}
	}
	if published != nil && published.size > p.chain.seq {
		return nil, contradiction("it has %d records, its checkpoint file signs %d", p.chain.seq, published.size)
	}
	p.unsigned = p.chain.seq - min(p.chain.seq, p.chain.signed.size+1)
	if published != nil {
		p.unsigned = min(p.unsigned, p.chain.seq-published.size)
	}
	return p, p.describe(dir)
}

// savedCheckpoint reads dir's checkpoint file, if there is one.
func savedCheckpoint(dir string, v note.Verifier) (*checkpoint, error) {
	data, err := os.ReadFile(filepath.Join(dir, checkpointName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := openCheckpoint(string(data), v)
	return &c, err
}

// read follows one segment as far as it is whole and cuts the rest.
func (p *past) read(dir string, first uint64, published *checkpoint) error {
	l, err := openLines(dir, first)
	if err != nil {
		return err
	}
	defer l.close()
	c := &p.chain
	var last []byte
	var good, doubtful int64 // ends of what is whole and of what is surely on the disk
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if l.number == 1 {
			if err = c.resume(line); err == nil && c.seq+1 != first {
				err = fmt.Errorf("it begins with record %d", c.seq+1)
			}
		}
		if err != nil && !errors.Is(err, errShape) {
			return contradiction("%s: %v", l.name, err)
		}
		if err != nil {
			break
		}
		notes := c.notes
		if b := c.follow(line); b != nil && b.by != byShape {
			// A crash leaves bytes that are no record. This is one.
			return contradiction("%s, line %d: %s", l.name, l.number, b.detail)
		} else if b != nil {
			break
		}
		if c.notes > notes {
			doubtful = l.start
		}
		if published != nil && c.seq == published.size && c.tree.root() != published.root {
			return contradiction("records up to %d are not the ones its checkpoint file signs", c.seq)
		}
		good = l.end
		last = append(last[:0], c.rec.values[fTime]...)
	}
	p.last = parseTime(last)
	size, err := l.size()
	if err != nil {
		return err
	}
	p.sealed = good
	path := filepath.Join(dir, l.name)
	if good < size {
		durable := max(c.seq, first-1)
		if published != nil && published.size > durable {
			return contradiction("%s is damaged at byte %d, before its checkpoint file was signed", l.name, good)
		}
		if err := p.tear(path, good, durable); err != nil {
			return err
		}
	}
	if good == 0 {
		return nil
	}
	return again(path, doubtful, good)
}

// tear moves what follows the last whole record, number durable, into a .torn
// file. What was signed had been durable, so a crash cannot have torn it.
func (p *past) tear(path string, good int64, durable uint64) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("recover audit segment: %w", err)
	}
	defer f.Close()
	tail, err := io.ReadAll(io.NewSectionReader(f, good, 1<<62))
	if err != nil {
		return fmt.Errorf("recover audit segment: %w", err)
	}
	var r record
	for line := range bytes.Lines(tail) {
		if scan(bytes.TrimSuffix(line, []byte{'\n'}), &r) != nil || !r.is(fKind, KindCheckpoint) {
			continue
		}
		if cp, err := openCheckpoint(r.text(fNote), p.chain.verifier); err == nil && cp.size > durable {
			return contradiction("%s is damaged at byte %d, before a checkpoint of %d records", filepath.Base(path), good, cp.size)
		}
	}
	if err := save(path+tornSuffix, tail); err != nil {
		return fmt.Errorf("keep the torn tail of an audit segment: %w", err)
	}
	if good == 0 {
		err = os.Remove(path)
	} else {
		err = os.Truncate(path, good)
	}
	if err := errors.Join(err, syncDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("cut the torn tail of an audit segment: %w", err)
	}
	return nil
}

func save(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path)))
}

// again writes the bytes from..to of a segment over themselves and syncs them.
// The process that wrote them may have ended before its fsync, or after one that
// failed: then what we just read is in memory and need not be on the disk.
func again(path string, from, to int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("recover audit segment: %w", err)
	}
	defer f.Close()
	data := make([]byte, to-from)
	if _, err := f.ReadAt(data, from); err != nil {
		return fmt.Errorf("recover audit segment: %w", err)
	}
	if _, err := f.WriteAt(data, from); err != nil {
		return fmt.Errorf("recover audit segment: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("recover audit segment: %w", err)
	}
	return nil
}

// describe reports the .torn files that no record speaks of yet: those of the
// last segment and of the ones that held nothing. It goes by the files, not by
// what this start cut, since the one before may have crashed after cutting.
func (p *past) describe(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("recover audit directory: %w", err)
	}
	firsts, err := segmentsOf(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		segment, ok := strings.CutSuffix(e.Name(), tornSuffix)
		if !ok || len(firsts) > 0 && segment < segmentName(firsts[len(firsts)-1]) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("recover audit directory: %w", err)
		}
		p.torn = append(p.torn, fmt.Sprintf("cut %d bytes of %s (sha256 %x)", len(data), segment, sha256.Sum256(data)))
		p.cut += uint64(len(data))
	}
	return nil
}

// newWriter recovers the directory and begins a segment in it, durably.
func newWriter(l *Log, s Setup) (*writer, error) {
	signer, public, err := parseKey(s.Config.Key())
	if err != nil {
		return nil, fmt.Errorf("audit: key %w", err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		return nil, fmt.Errorf("audit: key: %w", err)
	}
	p, err := look(l.config.Dir, verifier)
	if err != nil {
		return nil, err
	}
	w := &writer{
		log: l, signer: signer, create: s.Create, publish: s.OnCheckpoint,
		head: p.chain.head, clock: clock{moment: moment{wall: p.last}},
		code: CodeOpened, sealed: p.sealed,
	}
	if w.create == nil {
		w.create = create
	}
	if w.lockInfo, err = l.lock.Stat(); err != nil {
		return nil, fmt.Errorf("lock audit directory: %w", err)
	}
	b := p.repair(&l.queue, l.moment)
	if _, err := w.write(b, true); err != nil {
		w.failed(err)
		return nil, fmt.Errorf("begin audit log: %w", err)
	}
	l.queue.settle(b, l.moment)
	w.announce()
	return w, nil
}

// repair is the first batch of a process: what it found, and an outcome for each
// attempt that the last one left open.
func (p *past) repair(q *queue, now func() moment) *batch {
	orphans := make([]string, 0, len(p.chain.open))
	for attempt := range p.chain.open {
		orphans = append(orphans, attempt)
	}
	slices.Sort(orphans)
	if p.unsigned > 0 || len(orphans) > 0 || len(p.torn) > 0 {
		found := append([]string{fmt.Sprintf("%d records came back unsigned; %d attempts had no outcome", p.unsigned, len(orphans))}, p.torn...)
		e := Event{Kind: KindChange, Code: CodeRecovered, Count: p.cut, Detail: strings.Join(found, "; ")}
		q.put(&entry{kind: KindChange, body: appendBody(nil, &e)}, now)
	}
	for _, attempt := range orphans {
		q.attempts[attempt] = &entry{attempt: attempt, logged: true, ended: true}
		e := closing(attempt, CodeUnknown)
		q.put(&entry{kind: KindOutcome, attempt: attempt, body: appendBody(nil, &e)}, now)
	}
	return q.take(false, now)
}
