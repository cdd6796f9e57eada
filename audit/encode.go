package audit

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// maxText bounds one string of a record. An intent with a longer one is
// refused, so that what was judged is what was recorded; elsewhere it is cut
// and says so.
const maxText = 64 << 10

// maxActors bounds the list of actors in the same way.
const maxActors = 64

// check refuses an event that could only be recorded cut.
func (e *Event) check() error {
	for _, s := range [...]string{
		e.Trace, e.Attempt, e.Route, e.Method, e.Host, e.Path, e.Client, e.Issuer, e.Subject,
		e.Role, e.Reason, e.Revision, e.Secret, e.Version, e.Fingerprint, e.Minted, e.Upstream, e.Code, e.Detail,
	} {
		if len(s) > maxText {
			return fmt.Errorf("audit: a field of %d bytes does not fit in a record", len(s))
		}
	}
	if len(e.Actors) > maxActors {
		return fmt.Errorf("audit: %d actors do not fit in a record", len(e.Actors))
	}
	for _, s := range e.Actors {
		if len(s) > maxText {
			return fmt.Errorf("audit: an actor of %d bytes does not fit in a record", len(s))
		}
	}
	return nil
}

// appendBody encodes what the caller knows: everything from kind on, in the
// order of Event, closing brace included. Same bytes as encoding/json would
// write, except for which characters are escaped.
func appendBody(b []byte, e *Event) []byte {
	b = append(b, `"kind":`...)
	b = appendString(b, e.Kind)
	text := func(key, value string) {
		if value != "" {
			b = append(b, key...)
			b = appendString(b, value)
		}
	}
	number := func(key string, value int64) {
		if value != 0 {
			b = append(b, key...)
			b = strconv.AppendInt(b, value, 10)
		}
	}
	list := func(key string, values []string) {
		if len(values) == 0 {
			return
		}
		b = append(b, key...)
		sep := byte('[')
		for _, v := range values {
			b = append(b, sep)
			b = appendString(b, v)
			sep = ','
		}
		b = append(b, ']')
	}
	text(`,"trace":`, e.Trace)
	text(`,"attempt":`, e.Attempt)
	text(`,"route":`, e.Route)
	text(`,"method":`, e.Method)
	text(`,"host":`, e.Host)
	text(`,"path":`, e.Path)
	text(`,"client":`, e.Client)
	text(`,"issuer":`, e.Issuer)
	text(`,"subject":`, e.Subject)
	list(`,"actors":`, e.Actors[:min(len(e.Actors), maxActors)])
	text(`,"role":`, e.Role)
	text(`,"reason":`, e.Reason)
	text(`,"revision":`, e.Revision)
	text(`,"secret":`, e.Secret)
	text(`,"version":`, e.Version)
	text(`,"fingerprint":`, e.Fingerprint)
	text(`,"minted":`, e.Minted)
	if e.Stale {
		b = append(b, `,"stale":true`...)
	}
	text(`,"upstream":`, e.Upstream)
	text(`,"code":`, e.Code)
	number(`,"status":`, int64(e.Status))
	number(`,"sent":`, e.Sent)
	number(`,"received":`, e.Received)
	number(`,"duration_ns":`, int64(e.Duration))
	if e.Count != 0 {
		b = append(b, `,"count":`...)
		b = strconv.AppendUint(b, e.Count, 10)
	}
	if !e.First.IsZero() {
		b = append(b, `,"first":`...)
		b = appendTime(b, e.First)
	}
	text(`,"detail":`, e.Detail)
	if e.Kind == KindCheckpoint {
		text(`,"note":`, e.Note)
		list(`,"range":`, e.Range)
		list(`,"open":`, e.Open)
		number(`,"sealed":`, e.Sealed)
	}
	return append(b, '}')
}

// appendLine puts the place in the chain before a body.
func appendLine(b []byte, seq uint64, at time.Time, prev [32]byte, body []byte) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, seq, 10)
	b = append(b, `,"time":`...)
	b = appendTime(b, at)
	b = append(b, `,"prev":"`...)
	b = hex.AppendEncode(b, prev[:])
	b = append(b, `",`...)
	b = append(b, body...)
	return append(b, '\n')
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// appendString keeps a record on its line, for every reader's idea of a line:
// control characters, C1 and the Unicode line separators are escaped, so a path
// with CR LF in it cannot forge a record, nor move a terminal's cursor. Bytes
// that are not UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	cut := 0
	if len(s) > maxText {
		cut, s = len(s)-maxText, s[:maxText]
	}
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		if c := s[i]; c >= 0x20 && c < 0x7f {
			if c == '"' || c == '\\' {
				b = append(b, s[start:i]...)
				b = append(b, '\\', c)
				start = i + 1
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r > 0x9f && r != '\u2028' && r != '\u2029' && (r != utf8.RuneError || size > 1) {
			i += size
			continue
		}
		const digits = "0123456789abcdef"
		b = append(b, s[start:i]...)
		b = append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
		i += size
		start = i
	}
	b = append(b, s[start:]...)
	if cut > 0 {
		b = fmt.Appendf(b, "…[%d bytes cut]", cut)
	}
	return append(b, '"')
}
