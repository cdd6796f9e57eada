// Package canary finds secrets where they must not be. A test gives it the
// secrets it planted and then everything the system wrote: a match, in any of
// the encodings below, is a leak.
//
// It looks for a secret raw, in base64 (standard and URL alphabet, at any of the
// three alignments, padded or not), in hex of either case, percent-encoded and
// escaped as JSON or Go strings do, fully or in part, and for each of these
// inside another escape and inside gzip members anywhere in the data.
//
// It does not find a secret that was split, reversed, encrypted or compressed
// otherwise. That is the reach of the promise it tests.
package canary

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// shortest is the length below which a secret would be found by accident.
const shortest = 8

// Scanner looks for secrets. The zero Scanner knows none.
type Scanner struct{ needles []needle }

// needle is one way a secret may look.
type needle struct {
	secret   string
	encoding string
	text     []byte
	anyCase  bool
}

// Finding is a secret in a place where none may be.
type Finding struct {
	Where    string // the file or buffer, with gzip members named
	Secret   string
	Encoding string // how it was written, innermost first
	Offset   int    // in the data after undoing the outer encodings
}

func (f Finding) String() string {
	return fmt.Sprintf("%s: %q as %s at byte %d", f.Where, f.Secret, f.Encoding, f.Offset)
}

// Add plants secrets. One that is too short to look for is an error: looking for
// it would prove nothing.
func (s *Scanner) Add(secrets ...string) error {
	for _, secret := range secrets {
		if len(secret) < shortest {
			return fmt.Errorf("a canary of %d bytes is too short: want %d", len(secret), shortest)
		}
		s.needles = append(s.needles, needle{secret, "raw", []byte(secret), false})
		s.needles = append(s.needles, needle{secret, "hex", []byte(hex.EncodeToString([]byte(secret))), true})
		for shift := range 3 {
			s.needles = append(s.needles,
				needle{secret, "base64", aligned(base64.RawStdEncoding, secret, shift), false},
				needle{secret, "base64url", aligned(base64.RawURLEncoding, secret, shift), false})
		}
	}
	return nil
}

// aligned is the base64 of secret when it begins shift bytes into a group of
// three, without the characters at either end that its neighbours decide.
func aligned(enc *base64.Encoding, secret string, shift int) []byte {
	text := enc.EncodeToString([]byte(strings.Repeat("\x00", shift) + secret))
	first := (shift*8 + 5) / 6            // the first character that is the secret's alone
	last := (shift + len(secret)) * 8 / 6 // one past the last
	return []byte(text[first:last])
}

// Bytes scans data, which the findings call where.
func (s *Scanner) Bytes(where string, data []byte) []Finding {
	return s.scan(where, data, maxDepth)
}

// maxDepth bounds gzip within gzip.
const maxDepth = 3

func (s *Scanner) scan(where string, data []byte, depth int) []Finding {
	var found []Finding
	seen := map[string]bool{}
	for _, view := range views(data) {
		lower := lowerASCII(view.data)
		for _, n := range s.needles {
			hay := view.data
			if n.anyCase {
				hay = lower
			}
			key := n.secret + "\x00" + n.encoding
			if i := bytes.Index(hay, n.text); i >= 0 && !seen[key] {
				seen[key] = true // an outer view that changes nothing finds it again
				found = append(found, Finding{where, n.secret, n.encoding + view.escape, i})
			}
		}
	}
	if depth == 0 {
		return found
	}
	for _, member := range gzipMembers(data) {
		found = append(found, s.scan(fmt.Sprintf("%s (gzip at %d)", where, member.offset), member.data, depth-1)...)
	}
	return found
}

// lowerASCII is all of bytes.ToLower that digits in hex need, at a fraction of
// its cost for what is not text.
func lowerASCII(data []byte) []byte {
	out := bytes.Clone(data)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return out
}
