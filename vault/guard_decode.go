package vault

import (
	"bytes"
	"sort"
	"unicode/utf16"
	"unicode/utf8"
)

// escaping is a way to write single bytes as several. Text is searched once
// more with its escapes undone, and every byte knows where it came from: so it
// does not matter which bytes an upstream chose to escape, or how.
type escaping struct {
	mark byte // begins every escape, and stands for itself where none follows
	// undo reads the escape that s begins with, and how long it is: 0 if s ends
	// in the middle of one. It appends what that stands for.
	undo func(plain, s []byte) ([]byte, int)
}

// escapings are percent-encoding (RFC 3986, section 2.1) and JSON's in strings
// (RFC 8259, section 7), read as leniently as any reader would.
var escapings = [...]escaping{{'%', undoPercent}, {'\\', undoJSON}}

// marks are those of all escapings.
const marks = `%\`

func undoPercent(plain, s []byte) ([]byte, int) {
	for i := 1; i < 3; i++ {
		if i == len(s) {
			return plain, 0
		}
		if unhex(s[i]) > 15 {
			return append(plain, '%'), 1
		}
	}
	return append(plain, unhex(s[1])<<4|unhex(s[2])), 3
}

func undoJSON(plain, s []byte) ([]byte, int) {
	if len(s) < 2 {
		return plain, 0
	}
	switch c := s[1]; c {
	case 'b':
		return append(plain, '\b'), 2
	case 'f':
		return append(plain, '\f'), 2
	case 'n':
		return append(plain, '\n'), 2
	case 'r':
		return append(plain, '\r'), 2
	case 't':
		return append(plain, '\t'), 2
	case 'u':
		return undoUnicode(plain, s)
	default: // also where JSON has none, and other languages do
		return append(plain, c), 2
	}
}

// undoUnicode reads \uXXXX, or two that are a pair of UTF-16.
func undoUnicode(plain, s []byte) ([]byte, int) {
	r, ok, whole := codeUnit(s)
	switch {
	case !ok:
		return append(plain, 'u'), 2
	case !whole:
		return plain, 0
	case !utf16.IsSurrogate(r):
		return utf8.AppendRune(plain, r), 6
	}
	low, ok, whole := codeUnit(s[6:])
	switch {
	case ok && !whole && r < 0xDC00:
		return plain, 0
	case ok && whole:
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return utf8.AppendRune(plain, pair), 12
		}
	}
	return utf8.AppendRune(plain, utf8.RuneError), 6
}

// codeUnit reads \uXXXX: ok says that s may begin with it, whole that it is all
// there.
func codeUnit(s []byte) (r rune, ok, whole bool) {
	for i := range 6 {
		switch {
		case i == len(s):
			return 0, true, false
		case i < 2:
			if s[i] != `\u`[i] {
				return 0, false, false
			}
		default:
			d := unhex(s[i])
			if d > 15 {
				return 0, false, false
			}
			r = r<<4 | rune(d)
		}
	}
	return r, true, true
}

// unhex is the value of a hex digit, or more than 15.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 255
}

// undone is a text with its escapes undone.
type undone struct {
	from    int    // where in the source it begins
	text    []byte // what it says
	escapes []escape
	end     int // where it ends in the source, or an escape begins that is cut off
}

// escape says which bytes of an undone text are of which of its source.
type escape struct{ plain, source span }

// undo reads source from there on. At the end of everything, what looks like
// the beginning of an escape is none.
func (u *undone) undo(e escaping, source []byte, from int, atEnd bool) {
	u.from, u.text, u.escapes, u.end = from, u.text[:0], u.escapes[:0], len(source)
	for at := from; at < len(source); {
		next := bytes.IndexByte(source[at:], e.mark)
		if next < 0 {
			u.text = append(u.text, source[at:]...)
			return
		}
		u.text = append(u.text, source[at:at+next]...)
		at += next
		start := len(u.text)
		var length int
		u.text, length = e.undo(u.text, source[at:])
		if length == 0 {
			if !atEnd {
				u.end = at
				return
			}
			u.text, length = append(u.text, e.mark), 1
		}
		if length > 1 {
			u.escapes = append(u.escapes, escape{span{start, len(u.text)}, span{at, at + length}})
		}
		at += length
	}
}

// source is where a part of it is in the source, to the whole escape.
func (u *undone) source(plain span) span {
	return span{u.locate(plain.start).start, u.locate(plain.end - 1).end}
}

// locate is where one byte of it comes from.
func (u *undone) locate(at int) span {
	n := sort.Search(len(u.escapes), func(i int) bool { return u.escapes[i].plain.start > at })
	if n == 0 {
		return span{u.from + at, u.from + at + 1}
	}
	e := u.escapes[n-1]
	if at < e.plain.end {
		return e.source
	}
	start := e.source.end + at - e.plain.end
	return span{start, start + 1}
}

// boundary is the first position of the source, not before at, that is not
// inside an escape.
func (u *undone) boundary(at int) int {
	n := sort.Search(len(u.escapes), func(i int) bool { return u.escapes[i].source.end > at })
	if n < len(u.escapes) && u.escapes[n].source.start < at {
		return u.escapes[n].source.end
	}
	return max(at, u.from)
}
