package audit

import (
	"crypto/sha256"
	"errors"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is the RFC 6962 tree of the log so far, as its compact range: the roots
// of the perfect subtrees that the size's binary digits name, largest first.
// It is a value: copying it is how a batch is tried before it is durable.
type tree struct {
	size  uint64
	roots [64]tlog.Hash
}

func (t *tree) height() int { return bits.OnesCount64(t.size) }

// add appends one line as a leaf.
func (t *tree) add(line []byte) {
	h := tlog.RecordHash(line)
	n := t.height()
	for s := t.size; s&1 == 1; s >>= 1 {
		n--
		h = tlog.NodeHash(t.roots[n], h)
	}
	t.roots[n] = h
	t.size++
}

// root is MTH of RFC 6962 section 2.1.
func (t *tree) root() tlog.Hash {
	n := t.height()
	if n == 0 {
		return sha256.Sum256(nil)
	}
	h := t.roots[n-1]
	for i := n - 2; i >= 0; i-- {
		h = tlog.NodeHash(t.roots[i], h)
	}
	return h
}

// compact is the range in text, for the first line of a segment.
func (t *tree) compact() []string {
	out := make([]string, t.height())
	for i := range out {
		out[i] = t.roots[i].String()
	}
	return out
}

// restore is the inverse of compact. Whether the hashes are the right ones is
// for a signature over root to say.
func restore(size uint64, compact []string) (tree, error) {
	t := tree{size: size}
	if len(compact) != t.height() {
		return tree{}, errors.New("compact range does not fit the size")
	}
	for i, s := range compact {
		h, err := tlog.ParseHash(s)
		if err != nil {
			return tree{}, errors.New("compact range holds no hash")
		}
		t.roots[i] = h
	}
	return t, nil
}
