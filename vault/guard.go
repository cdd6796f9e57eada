package vault

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// guardFrom is the length of the shortest value that a Guard looks for. A
// shorter one is found where it is not: eight letters are a word of some page.
const guardFrom = 12

// Guard finds a credential in what an upstream sends back, and masks it: an
// asterisk for each byte, so that no length changes. It knows the values that
// an injection takes out of a secret, each as it is, in base64 and base64url
// (wherever it begins in the encoded text), in hex of either case, and all of
// these percent-encoded or JSON-escaped, in whole or in part.
//
// It cannot know what else an upstream may do to an echo: compress it, wrap it
// in lines, encode it twice, reverse it. Of base64, the characters at the edges
// that the value shares with its neighbours stay: fewer than six bits of it at
// each end.
//
// A Guard never changes, and is shared by all leases of a version. Printing one
// shows nothing of what it looks for.
type Guard struct{ needles func() *needles }

var errShort = errors.New("is shorter than 12 bytes: too short to be found in what the upstream answers; store a longer one, or let the route say unguarded: true")

// newGuard looks for values. At least one must be long enough to be found, and
// shorter ones beside it are not looked for: a user's name is no secret.
func newGuard(values ...string) (*Guard, error) {
	values = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return len(v) < guardFrom })
	if len(values) == 0 {
		return nil, errShort
	}
	return &Guard{sync.OnceValue(func() *needles { // few of the versions that a refresh brings are used
		var spellings []string
		for _, v := range values {
			spellings = append(spellings, spell(v)...)
		}
		return newNeedles(spellings)
	})}, nil
}

// With is a Guard that finds what either of two does. Either may be nil.
func (g *Guard) With(other *Guard) *Guard {
	switch {
	case g == nil || g == other:
		return other
	case other == nil:
		return g
	}
	n := newNeedles(slices.Concat(g.needles().spellings, other.needles().spellings))
	return &Guard{func() *needles { return n }}
}

// spell is value in each way that is looked for byte by byte. What escapes
// single bytes is undone in the text instead: see escaping.
func spell(value string) []string {
	lower := hex.EncodeToString([]byte(value))
	all := []string{value, lower, strings.ToUpper(lower)}
	if strings.Contains(value, " ") {
		all = append(all, strings.ReplaceAll(value, " ", "+")) // as in a form
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			// With 0, 1 or 2 bytes before the value, its first and last bits may
			// share a character with what is not ours to know.
			text := encoding.EncodeToString([]byte(strings.Repeat("\x00", before) + value))
			all = append(all, text[(8*before+5)/6:8*(before+len(value))/6])
		}
	}
	return all
}

// Text is s masked, and whether there was anything to mask: for what comes
// whole, such as the value of a header.
func (g *Guard) Text(s string) (masked string, found bool) {
	n := g.needles()
	if len(s) < n.shortest {
		return s, false
	}
	if !strings.ContainsAny(s, marks) {
		var short [256]byte // not allocated
		if found, _ := n.search(append(short[:0], s...), nil); len(found) == 0 {
			return s, false
		}
	}
	text, found := (&stream{needles: n}).scan([]byte(s), End)
	if !found {
		return s, false
	}
	return string(text), true
}

// Name says whether the name of a header holds it. Case is ignored: HTTP/2 has
// names in lower case, and net/http writes those of HTTP/1 anew.
func (g *Guard) Name(name string) bool {
	n := g.needles()
	if len(name) < n.shortest {
		return false
	}
	name = strings.ToLower(name)
	return slices.ContainsFunc(n.spellings, func(s string) bool { return strings.Contains(name, strings.ToLower(s)) })
}

// String says only what it is.
func (g *Guard) String() string { return "guard [redacted]" }

// Format prints String for every verb and flag.
func (g *Guard) Format(f fmt.State, _ rune) { fmt.Fprint(f, g.String()) }

// LogValue is String.
func (g *Guard) LogValue() slog.Value { return slog.StringValue(g.String()) }

// MarshalText is String.
func (g *Guard) MarshalText() ([]byte, error) { return []byte(g.String()), nil }
