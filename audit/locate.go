package audit

import (
	"crypto/sha256"
	"slices"
)

// lookahead is how far locate reads on to tell a moved record from a lost one.
const lookahead = 4096

// glimpse is a line that follows damage: seq 0 if it is not a record.
type glimpse struct {
	seq  uint64
	prev [32]byte
}

// locate tells from a breach, and the lines after it, what was done and where.
// The damage is certain; the word for it is the simplest that explains it.
func (v *verification) locate(b *breach, line []byte, l *lines, i int) error {
	r, due, sum := v.chain.rec, v.chain.seq+1, sha256.Sum256(line)
	signs := false // the line is a checkpoint over all that was read, so that is whole
	if b.by == byPrev && r.is(fKind, KindCheckpoint) {
		cp, err := openCheckpoint(r.text(fNote), v.chain.verifier)
		signs = err == nil && cp.size == v.chain.seq && cp.root == v.chain.tree.root()
	}
	ahead := v.ahead(l, i) // from here on, line and the values of r are overwritten
	var next glimpse
	if len(ahead) > 0 {
		next = ahead[0]
	}
	switch {
	case b.by == byShape && next.seq == due:
		return v.at.damage(due, Inserted, "a line that is not a record")
	case b.by == byPrev && !signs && v.before.line > 0 && (next.seq == 0 || next.prev == sum):
		return v.before.damage(due-1, Edited, "the record after it is chained to other bytes")
	case b.by != bySeq:
		return v.at.damage(due, b.what, "%s", b.detail)

	case r.seq < due && next.seq == due+1:
		return v.at.damage(due, Edited, "%s", b.detail)
	case r.seq < due && sum != v.chain.prev && next.seq == due && next.prev == sum:
		return v.before.damage(due-1, Inserted, "the record after it has the same number and is the one that was chained")
	case r.seq < due:
		return v.at.damage(due, Inserted, "%s", b.detail)

	case slices.ContainsFunc(ahead, func(g glimpse) bool { return g.seq == due }):
		return v.at.damage(due, Reordered, "%s; that one comes later", b.detail)
	case next.seq == due+1:
		return v.at.damage(due, Edited, "%s", b.detail)
	}
	return v.at.damage(due, Deleted, "records %d to %d are missing before it", due, r.seq-1)
}

// ahead reads the lines that follow in this segment and those after it.
func (v *verification) ahead(l *lines, i int) []glimpse {
	var out []glimpse
	for {
		line, err := l.next()
		for err == nil && len(out) < lookahead {
			var g glimpse
			if r := (record{}); scan(line, &r) == nil {
				g = glimpse{r.seq, r.prev}
			}
			out = append(out, g)
			line, err = l.next()
		}
		if i++; len(out) >= lookahead || !v.exists(i) {
			return out
		}
		if l, err = openLines(v.dir, v.firsts[i]); err != nil {
			return out
		}
		defer l.close()
	}
}
