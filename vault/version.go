package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// version is one value of one secret. It never changes; a refresh that brings
// the same revision date and the same value keeps it, and with it the span
// that first fetched it.
//
// The value is kept once, in the string that the source made. Go strings
// cannot be wiped and the garbage collector may copy them, so nothing here
// pretends to: a version that nothing uses any more is left to the collector.
// What we fill ourselves (see fingerprint) is zeroed.
type version struct {
	id          string
	revised     time.Time
	changed     time.Time // when the value last changed, as far as we saw it
	fingerprint string
	name        string // revised and fingerprint, as Lease.Version says
	span        trace.SpanContext
	reveal      func() string
}

func newVersion(key func() string, vault string, s Secret, span trace.SpanContext) *version {
	v := &version{
		id:          s.ID,
		revised:     s.Revised.UTC(),
		changed:     s.Revised.UTC(),
		fingerprint: fingerprint(key(), vault, s.ID, s.Reveal()),
		span:        span,
		reveal:      s.Reveal,
	}
	v.name = v.revised.Format(time.RFC3339Nano) + "." + v.fingerprint
	return v
}

// lasting is when the value of v last changed, which next has too: a revision
// date moves when a secret is renamed or its note edited, and then the value is as
// old as it was. A rename that we did not see, as before a start, makes it look younger.
func (v *version) lasting(next *version) time.Time {
	if v.changed.Before(next.changed) {
		return v.changed
	}
	return next.changed
}

// fingerprintDomain keeps these HMACs apart from any other use of the key.
const fingerprintDomain = "vaultspan secret fingerprint v1"

// fingerprint is the first 8 bytes, in hex, of HMAC-SHA256 over the domain,
// the vault's name, the secret's id and its value, each after its length as 8
// bytes, big-endian. Two versions of a secret with one fingerprint have one
// value, but for a chance of 2⁻⁶⁴; equal values of two secrets do not show;
// and without the key not even a guess at a value can be tested.
func fingerprint(key, vault, id, value string) string {
	fields := [...]string{fingerprintDomain, vault, id, value}
	size := 0
	for _, f := range fields {
		size += 8 + len(f)
	}
	message := make([]byte, 0, size) // in one piece: growing would leave copies behind
	for _, f := range fields {
		message = binary.BigEndian.AppendUint64(message, uint64(len(f)))
		message = append(message, f...)
	}
	secret := []byte(key)
	mac := hmac.New(sha256.New, secret)
	mac.Write(message)
	sum := mac.Sum(nil)
	clear(message)
	clear(secret)
	return hex.EncodeToString(sum[:8])
}
