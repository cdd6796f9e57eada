// Package authn answers one question: who is calling. It turns a bearer token
// of one of several OpenID providers (RFC 9068 access tokens, OpenID Connect ID
// tokens) into an [Identity], or into an [Error] that says why not.
//
// # What it trusts
//
// The issuers an operator configured, each for its own subjects only, over TLS
// verified by the system's authorities or the issuer's ca. From an issuer it
// takes its key set and, at first sight, the host the key set lives on. An
// issuer's keys verify tokens of that issuer and of no other, so what happens
// at one issuer, break-in included, stays there.
//
// # What it refuses
//
// Everything else, before it is trusted for anything:
//
//   - A token that is not a JWS in compact serialization with strict JSON: no
//     duplicate member, no member that another JSON parser would take for one we
//     read ("Sub", or "Kid" with a Kelvin sign), no depth beyond 32, no more than
//     48 KiB. Two parsers that disagree about a token are how tokens are forged.
//   - A header that brings its own key (jwk, jku, x5c, x5u), its own semantics
//     (crit, b64, zip, cty, enc) or a symmetric or missing algorithm. These are
//     refused, not ignored: nobody needs them to call us.
//   - A token for someone else: iss picks the issuer by exact comparison, and aud
//     must contain our audience. Extra audiences are allowed.
//   - A token of the wrong kind. The header's typ decides (RFC 8725 section 3.11).
//     An access token says at+jwt, or what access_token_types lists; an ID token
//     says JWT or nothing. When access_token_types lists JWT or none too, the
//     claims decide: nonce, at_hash, c_hash, s_hash, a typ claim of ID or a
//     token_use of id mean an ID token. Logout tokens, DPoP proofs and security
//     events are never accepted, nor is anything that has an events claim.
//   - A sender-constrained token (cnf, RFC 7800): we do not check the proof, and
//     without it the token is as good as stolen.
//   - A claim that policies read and the issuer says to look up elsewhere
//     (_claim_names, OpenID Connect Core section 5.6.2): unknown groups are not
//     the same as no groups.
//
// # Keys
//
// A token with a kid is checked with the keys of that kid, one without with
// the whole set; either way exactly one key must fit the token's alg. A kid that
// is not known fetches the keys again, at most once every ten seconds for each
// issuer and once for all callers that wait; no other token causes a fetch, so
// an issuer that changes keys and uses no kid, or the same one, is believed at
// the next periodic fetch, within five minutes. Keys that are not fit to verify
// (RSA under 2048 bits, another curve, a private or symmetric key) are left out.
// A fetch that fails, or brings no usable key, changes nothing: the last good
// keys serve until max_key_age, and then this issuer's callers are told that it
// is unavailable, while every other issuer goes on. An issuer that is down at
// the start is retried with back-off, and when a caller needs it.
//
// An issuer that moves its jwks_uri to another host while we run is reported and
// not followed (the last good address stays); a restart takes the new one.
//
// # Known gaps
//
// A verified token is remembered for at most five minutes. A key that the issuer
// removes is believed until the next fetch, and tokens have no revocation but
// their exp. In the clock skew after exp a token is still accepted, with an
// Identity whose Expires is past.
package authn
