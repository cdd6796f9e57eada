package vault

import (
	"encoding/binary"
	"slices"
)

// needles are the spellings of a credential, made ready to be searched for all
// at once, in one pass that reads a fraction of the text: S. Wu and U. Manber,
// A Fast Algorithm for Multi-Pattern Searching, 1994. Where the last three bytes
// of a window cannot end the beginning of any spelling, the window moves on by
// up to its length.
type needles struct {
	spellings []string
	shortest  int
	longest   int
	shift     [1 << blockBits]uint8
	begins    [256]bool // some spelling begins with the byte
}

const (
	blockBits = 13 // 8 KiB of shifts stay in the first cache
	blockSize = 3
)

// slot is where the shift of three bytes is kept. Others may share the place:
// the smallest shift counts.
func slot(a, b, c byte) uint32 {
	return (uint32(a) | uint32(b)<<8 | uint32(c)<<16) * 0x9E3779B1 >> (32 - blockBits)
}

func newNeedles(spellings []string) *needles {
	slices.Sort(spellings)
	n := &needles{spellings: slices.Compact(spellings)}
	n.shortest = len(n.spellings[0])
	for _, s := range n.spellings {
		n.shortest, n.longest = min(n.shortest, len(s)), max(n.longest, len(s))
		n.begins[s[0]] = true
	}
	for i := range n.shift {
		n.shift[i] = uint8(min(n.shortest-blockSize+1, 255))
	}
	for _, s := range n.spellings {
		for i := range n.shortest - blockSize + 1 {
			at := slot(s[i], s[i+1], s[i+2])
			n.shift[at] = uint8(min(int(n.shift[at]), n.shortest-blockSize-i))
		}
	}
	return n
}

// span is text[start:end].
type span struct{ start, end int }

// search appends to found where a spelling is in text, and returns where the
// longest end of text starts that a spelling begins with: len(text) if none.
func (n *needles) search(text []byte, found []span) (all []span, open int) {
	open = len(text)
	i := 0
	for i+n.shortest <= len(text) {
		// The last three of the four bytes that end the window.
		last := binary.LittleEndian.Uint32(text[i+n.shortest-4:]) >> 8
		if s := n.shift[last*0x9E3779B1>>(32-blockBits)]; s > 0 {
			i += int(s)
			continue
		}
		rest := text[i:]
		for _, s := range n.spellings {
			switch {
			case s[0] != rest[0]:
			case len(rest) >= len(s):
				if string(rest[:len(s)]) == s {
					found = include(found, span{i, i + len(s)})
				}
			case i < open && s[:len(rest)] == string(rest):
				open = i
			}
		}
		i++
	}
	for ; i < open; i++ {
		if !n.begins[text[i]] {
			continue
		}
		rest := string(text[i:])
		for _, s := range n.spellings {
			if len(s) > len(rest) && s[:len(rest)] == rest {
				open = i
				break
			}
		}
	}
	return found, open
}

// include adds s to spans, and makes one of it and the last when they meet:
// those of one search come in order.
func include(spans []span, s span) []span {
	if last := len(spans) - 1; last >= 0 && spans[last].start <= s.start && s.start <= spans[last].end {
		spans[last].end = max(spans[last].end, s.end)
		return spans
	}
	return append(spans, s)
}
