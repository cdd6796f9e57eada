package authn

import (
	"encoding/base64"
	"strings"
)

// Limits on what a caller may send. The proxy's own limit on a request's
// headers is a little higher.
const (
	maxToken  = 48 << 10
	maxHeader = 4 << 10
	maxKeyID  = 512
)

// jws is a token whose form is right and of which nothing is verified.
type jws struct {
	compact string
	alg     string
	kid     string // empty when there is none
	typ     string // as normalType writes it; empty when there is none
	payload []byte
}

// headerNames are the members of a JOSE header that mean something to us or
// could to somebody else.
var headerNames = namesOf("alg", "kid", "typ", "cty", "crit", "b64", "enc", "zip", "jwk", "jku", "x5c", "x5u")

// parse reads a JWS in compact serialization (RFC 7515 section 7.1).
func parse(compact string) (jws, error) {
	if len(compact) > maxToken {
		return jws{}, refuse(Malformed, "longer than 48 KiB")
	}
	parts := strings.SplitN(compact, ".", 4)
	if len(parts) != 3 {
		return jws{}, refuse(Malformed, "not a JWS in compact serialization")
	}
	var raw [3][]byte
	for i, part := range parts {
		// Strict refuses stray bits after the last byte; the decoder would still
		// skip line breaks. Either would give one token many spellings.
		b, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || strings.ContainsAny(part, "\r\n") {
			return jws{}, refuse(Malformed, "not three parts of base64url")
		}
		raw[i] = b
	}
	if len(raw[0]) > maxHeader {
		return jws{}, refuse(Malformed, "header longer than 4 KiB")
	}
	header, err := headerNames.object(raw[0])
	if err != nil {
		return jws{}, &Error{Reason: Malformed, Err: err}
	}
	t := jws{compact: compact, payload: raw[1]}
	return t, t.read(header)
}

// read takes from the header what we use, and refuses what could make it mean
// something else.
func (t *jws) read(header object) error {
	// RFC 7515 section 4.1.11: an extension we do not know must refuse the token;
	// we know none. b64 (RFC 7797) changes what is signed.
	if header.has("crit", "b64", "zip") {
		return refuse(Invalid, "header has extensions")
	}
	// A token that names its own key proves only that its maker has a key.
	if header.has("jwk", "jku", "x5c", "x5u") {
		return refuse(Invalid, "header brings its own key")
	}
	if header.has("cty", "enc") {
		return refuse(Invalid, "nested or encrypted token")
	}
	var ok bool
	if t.alg, ok = header.text("alg"); !ok {
		return refuse(Invalid, "header has no alg")
	}
	if t.kid, ok = header.optional("kid"); !ok || len(t.kid) > maxKeyID {
		return refuse(Invalid, "header has an unusable kid")
	}
	typ, ok := header.optional("typ")
	if !ok {
		return refuse(Invalid, "header has an unusable typ")
	}
	t.typ = normalType(typ)
	return nil
}

// normalType writes a media type the way typ does: without "application/"
// (RFC 7515 section 4.1.9), in lower case.
func normalType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}
