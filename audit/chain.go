package audit

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// head is where the chain stands: all that the next record depends on. A value,
// so that a writer tries a batch on a copy and keeps it once it is durable.
type head struct {
	seq  uint64   // of the last record
	prev [32]byte // SHA-256 of its line; zero before the first
	tree tree
}

// add appends a line, without its newline.
func (h *head) add(line []byte) {
	h.seq++
	h.prev = sha256.Sum256(line)
	h.tree.add(line)
}

// chain follows a log line by line, whoever wrote it.
type chain struct {
	head
	verifier note.Verifier
	open     map[string]bool // attempts whose outcome has not come
	signed   checkpoint      // the last one
	notes    uint64          // how many there were
	rec      record          // the line taken in last
}

// The ways in which a line can fail to continue the chain.
type breach struct {
	what   string
	detail string
	by     reason
}

type reason uint8

const (
	byShape   reason = iota + 1 // not a record
	bySeq                       // another record was due
	byPrev                      // does not follow the line before
	byContent                   // follows, but says what cannot be so
)

// follow checks a line against all before it and takes it in. After a breach
// the chain stands where it stood.
func (c *chain) follow(line []byte) *breach {
	r := &c.rec
	switch err := scan(line, r); {
	case err != nil:
		return &breach{Edited, err.Error(), byShape}
	case r.seq != c.seq+1:
		return &breach{Edited, fmt.Sprintf("record %d where %d was due", r.seq, c.seq+1), bySeq}
	case r.prev != c.prev:
		return &breach{Edited, "does not follow from the record before it", byPrev}
	}
	edited := func(format string, args ...any) *breach {
		return &breach{Edited, fmt.Sprintf(format, args...), byContent}
	}
	switch {
	case r.is(fKind, KindCheckpoint):
		if b := c.checkpoint(r); b != "" {
			return edited("%s", b)
		}
	case r.is(fKind, KindIntent):
		attempt := r.text(fAttempt)
		if attempt == "" || c.open[attempt] {
			return &breach{Unmatched, fmt.Sprintf("a second intent for attempt %q", attempt), byContent}
		}
		c.open[attempt] = true
	case r.is(fKind, KindOutcome):
		attempt := r.text(fAttempt)
		if !c.open[attempt] {
			return &breach{Unmatched, fmt.Sprintf("an outcome without an open intent for attempt %q", attempt), byContent}
		}
		delete(c.open, attempt)
	case r.is(fKind, KindRefusal), r.is(fKind, KindChange):
	default:
		return edited("kind %q is not known", r.text(fKind))
	}
	c.add(line)
	return nil
}

// checkpoint checks a record of that kind and says what is wrong with it.
func (c *chain) checkpoint(r *record) string {
	cp, err := openCheckpoint(r.text(fNote), c.verifier)
	if err != nil {
		return err.Error()
	}
	if cp.size != c.seq {
		return fmt.Sprintf("its checkpoint is for %d records, after %d", cp.size, c.seq)
	}
	if root := c.tree.root(); cp.root != root {
		return fmt.Sprintf("records %d to %d are not the ones it signs", c.signed.size+1, c.seq)
	}
	if r.values[fRange] != nil || r.values[fSealed] != nil || r.values[fOpen] != nil {
		if !slices.Equal(r.list(fRange), c.tree.compact()) {
			return "its compact range is not that of the records before it"
		}
		if !slices.Equal(r.list(fOpen), slices.Sorted(maps.Keys(c.open))) {
			return "its open attempts are not those of the records before it"
		}
	}
	c.signed = cp
	c.notes++
	return ""
}

// resume puts the chain before a segment's first line, on the word of that
// line's signed checkpoint.
func (c *chain) resume(line []byte) error {
	r := &c.rec
	if err := scan(line, r); err != nil {
		return err
	}
	cp, err := openCheckpoint(r.text(fNote), c.verifier)
	if err != nil {
		return err
	}
	t, err := restore(cp.size, r.list(fRange))
	if err != nil {
		return err
	}
	if root := t.root(); root != cp.root || cp.size+1 != r.seq {
		return fmt.Errorf("its compact range has root %s, its checkpoint %s", root, tlog.Hash(cp.root))
	}
	c.head = head{seq: cp.size, prev: r.prev, tree: t}
	c.signed = cp
	c.open = map[string]bool{}
	for _, attempt := range r.list(fOpen) {
		c.open[attempt] = true
	}
	return nil
}
