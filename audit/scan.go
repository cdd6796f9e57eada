package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"
)

// The fields a record may have, in the order they must come in. A line that is
// not exactly of this shape was not written by this package: duplicate,
// reordered or unknown keys have no meaning here.
type field uint8

const (
	fSeq field = iota
	fTime
	fPrev
	fKind
	fTrace
	fAttempt
	fRoute
	fMethod
	fHost
	fPath
	fClient
	fIssuer
	fSubject
	fActors
	fRole
	fReason
	fRevision
	fSecret
	fVersion
	fFingerprint
	fMinted
	fStale
	fUpstream
	fCode
	fStatus
	fSent
	fReceived
	fDuration
	fCount
	fFirst
	fDetail
	fNote
	fRange
	fOpen
	fSealed
	fields
)

// Keys and the first byte of their values: " string, 0 number, t true, [ list.
const keyKinds = `0"""` + `"""""""""[` + `"""""` + `""t""00000""` + `"[[0`

var keys = [fields]string{
	"seq", "time", "prev", "kind",
	"trace", "attempt", "route", "method", "host", "path", "client", "issuer", "subject", "actors",
	"role", "reason", "revision", "secret", "version",
	"fingerprint", "minted", "stale", "upstream", "code", "status", "sent", "received", "duration_ns", "count", "first", "detail",
	"note", "range", "open", "sealed",
}

// record is one line, taken apart but not decoded. It shares the line's bytes.
type record struct {
	seq    uint64
	prev   [32]byte
	values [fields][]byte // as in the line, quotes and brackets included
}

var errShape = errors.New("not a record as this version writes it")

// scan takes a line apart, in one pass and without allocating.
func scan(line []byte, r *record) error {
	*r = record{}
	if len(line) < 2 || line[0] != '{' || line[len(line)-1] != '}' || !utf8.Valid(line) {
		return errShape
	}
	rest := line[1 : len(line)-1]
	for f := field(0); len(rest) > 0; f++ {
		end := bytes.IndexByte(rest[1:], '"')
		if rest[0] != '"' || end < 0 {
			return errShape
		}
		key := rest[1 : 1+end]
		for f < fields && keys[f] != string(key) {
			f++
		}
		if f == fields || len(rest) < end+4 || rest[end+2] != ':' {
			return errShape
		}
		rest = rest[end+3:]
		n := value(rest, keyKinds[f])
		if n <= 0 {
			return errShape
		}
		r.values[f], rest = rest[:n], rest[n:]
		if len(rest) > 0 {
			if rest[0] != ',' || len(rest) == 1 {
				return errShape
			}
			rest = rest[1:]
		}
	}
	var err error
	if r.seq, err = strconv.ParseUint(string(r.values[fSeq]), 10, 64); err != nil || r.seq == 0 {
		return errShape
	}
	prev := r.values[fPrev]
	if len(prev) != 2+64 || r.values[fTime] == nil || r.values[fKind] == nil {
		return errShape
	}
	if _, err := hex.Decode(r.prev[:], prev[1:65]); err != nil {
		return errShape
	}
	return nil
}

// value is the length of the value of the given kind that b begins with, or 0.
func value(b []byte, kind byte) int {
	switch kind {
	case '"':
		return stringEnd(b)
	case 't':
		if bytes.HasPrefix(b, []byte("true")) {
			return 4
		}
		return 0
	case '[':
		if len(b) == 0 || b[0] != '[' {
			return 0
		}
		for n := 1; n < len(b); n++ { // past [ or ,
			s := stringEnd(b[n:])
			if n += s; s == 0 || n >= len(b) || b[n] != ']' && b[n] != ',' {
				return 0
			}
			if b[n] == ']' {
				return n + 1
			}
		}
		return 0
	}
	n := 0
	if len(b) > 0 && b[0] == '-' {
		n = 1
	}
	digits := n
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	if n == digits || b[digits] == '0' {
		return 0 // zero is left out, so a number never begins with 0
	}
	return n
}

func stringEnd(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < 0x20:
			return 0
		case c == '\\':
			if i+1 >= len(b) {
				return 0
			}
			switch i++; b[i] {
			case '"', '\\':
			case 'u':
				if i+4 >= len(b) {
					return 0
				}
				if _, err := strconv.ParseUint(string(b[i+1:i+5]), 16, 16); err != nil {
					return 0
				}
				i += 4
			default:
				return 0
			}
		}
	}
	return 0
}

// is compares a string field without decoding it.
func (r *record) is(f field, s string) bool {
	v := r.values[f]
	return len(v) == len(s)+2 && string(v[1:len(v)-1]) == s
}

func (r *record) text(f field) string {
	v := r.values[f]
	if v == nil {
		return ""
	}
	if inner := v[1 : len(v)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return string(v)
	}
	return s
}

func (r *record) list(f field) []string {
	var out []string
	if v := r.values[f]; v != nil && json.Unmarshal(v, &out) != nil {
		return nil
	}
	return out
}

func (r *record) number(f field) int64 {
	n, _ := strconv.ParseInt(string(r.values[f]), 10, 64)
	return n
}

func (r *record) count() uint64 {
	n, _ := strconv.ParseUint(string(r.values[fCount]), 10, 64)
	return n
}

// parseTime reads a time as it stands in a line; zero if it is none.
func parseTime(quoted []byte) time.Time {
	var t time.Time
	if json.Unmarshal(quoted, &t) != nil {
		return time.Time{}
	}
	return t
}
