package authn

import (
	"math"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxSubject is the longest sub (OpenID Connect Core section 2).
const maxSubject = 255

// judge says whether a token with these claims may be used with us, at some
// time; times says whether that is now.
func (r *rules) judge(t jws, claims object) error {
	if !slices.Contains(r.tokens, r.tokenKind(t.typ, claims)) {
		return refuse(Invalid, "typ or claims of a kind of token that is not accepted")
	}
	if !slices.Contains(audiences(claims), r.audience) {
		return refuse(Invalid, "aud does not contain the audience")
	}
	if sub, ok := claims.text("sub"); !ok || !printable(sub) {
		return refuse(Invalid, "sub is missing, empty, too long or not printable")
	}
	// RFC 7800: a token bound to a key proves nothing without the key.
	if claims.has("cnf") {
		return refuse(Invalid, "sender-constrained token (cnf) without proof")
	}
	client, ok := clientOf(claims)
	if !ok {
		return refuse(Invalid, "azp or client_id is unusable, or they differ")
	}
	if r.clients != nil && !slices.Contains(r.clients, client) {
		return refuse(Invalid, "azp or client_id is not among clients")
	}
	return nil
}

// tokenKind tells access tokens from ID tokens; it returns neither for what is
// something else. See the package comment.
func (r *rules) tokenKind(typ string, claims object) string {
	access := slices.Contains(r.accessTypes, typ)
	switch {
	case claims.has("events"): // RFC 8417: a logout token or another event
		return ""
	case slices.Contains(neverTypes, typ):
		return ""
	case typ != "jwt" && typ != "":
		if access {
			return accessToken
		}
		return ""
	}
	use, _ := claims.text("token_use") // AWS Cognito
	inner, _ := claims.text("typ")     // Keycloak
	marked := claims.has("nonce", "at_hash", "c_hash", "s_hash") || use == "id" || inner == "ID"
	if access && !marked {
		return accessToken
	}
	return idToken
}

// neverTypes are tokens that prove something else than who calls.
var neverTypes = []string{"logout+jwt", "dpop+jwt", "secevent+jwt"}

// times checks iat, nbf, exp and the lifetime between them. Expired comes last:
// it means that nothing else is wrong.
func (r *rules) times(claims object, now time.Time) error {
	iat, ok := claims.date("iat")
	switch {
	case !ok:
		return refuse(Invalid, "iat is missing or malformed")
	case iat.After(now.Add(r.skew)):
		return refuse(Invalid, "iat is in the future by more than clock_skew: compare this machine's clock with the issuer's")
	}
	exp, ok := claims.date("exp")
	if !ok || !exp.After(iat) || exp.Sub(iat) > r.maxLifetime {
		return refuse(Invalid, "exp is missing, malformed, not after iat or further from it than max_lifetime")
	}
	if claims.has("nbf") {
		if nbf, ok := claims.date("nbf"); !ok || nbf.After(now.Add(r.skew)) {
			return refuse(Invalid, "nbf is malformed or in the future")
		}
	}
	if !now.Before(exp.Add(r.skew)) {
		return refuse(Expired, "expired")
	}
	return nil
}

// date returns a NumericDate (RFC 7519 section 2) before the year 10000.
func (o object) date(name string) (time.Time, bool) {
	f, ok := o.number(name)
	if !ok || !(f >= 0 && f < 253402300800) {
		return time.Time{}, false
	}
	seconds, fraction := math.Modf(f)
	return time.Unix(int64(seconds), int64(fraction*1e9)), true
}

// audiences returns aud, a string or a list of strings.
func audiences(claims object) []string {
	if one, ok := claims.text("aud"); ok {
		return []string{one}
	}
	several, _ := list(claims["aud"], text)
	return several
}

// clientOf returns azp, else client_id; ok is false when one is unusable or
// they name two clients.
func clientOf(claims object) (client string, ok bool) {
	azp, ok := claims.optional("azp")
	if !ok {
		return "", false
	}
	id, ok := claims.optional("client_id")
	if !ok || azp != "" && id != "" && azp != id {
		return "", false
	}
	if azp == "" {
		return id, true
	}
	return azp, true
}

// printable reports whether a subject can be shown and recorded as it is: not
// empty, not too long, and printable, which leaves out control characters and
// the invisible ones that make two subjects look like one.
func printable(s string) bool {
	n := utf8.RuneCountInString(s)
	if n == 0 || n > maxSubject {
		return false
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}
