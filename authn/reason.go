package authn

import (
	"cmp"
	"errors"
	"fmt"
)

// Reason is why a caller is not authenticated, as far as the caller may know.
type Reason string

// The reasons, with the answer each deserves (RFC 6750 section 3.1).
const (
	// Malformed: not a compact JWS, or a header that parsers disagree about.
	// 400, invalid_request.
	Malformed Reason = "malformed"
	// Invalid: a token we do not accept. 401, invalid_token.
	Invalid Reason = "invalid"
	// Expired: a token in which nothing is wrong but its exp. 401, invalid_token.
	Expired Reason = "expired"
	// UnknownIssuer: iss is none of the configured issuers. 401, invalid_token.
	UnknownIssuer Reason = "unknown-issuer"
	// Unavailable: the issuer's keys cannot be had, so nobody can tell. 503; the
	// same token may be accepted later.
	Unavailable Reason = "unavailable"
	// Refused: the provider refuses to log in, or to go on with a login. 401.
	Refused Reason = "refused"
	// Insufficient: the provider logged somebody in, but not as was demanded. 401.
	Insufficient Reason = "insufficient"
	// Revoked: the browser session was ended. 401.
	Revoked Reason = "revoked"
	// Ambiguous: two sessions on one request. 400.
	Ambiguous Reason = "ambiguous"
	// NoStore: the sessions cannot be read. 503.
	NoStore Reason = "no-store"
)

// Error is the answer when there is no Identity. Its text is for the operator;
// it never holds a part of a token.
type Error struct {
	Reason Reason
	Issuer string // the issuer's configured name; empty when none was picked
	Err    error

	what string // was not accepted; a bearer token when empty
}

func (e *Error) Error() string {
	what := cmp.Or(e.what, "bearer token")
	if e.Issuer == "" {
		return fmt.Sprintf("%s: %v", what, e.Err)
	}
	return fmt.Sprintf("%s of issuer %s: %v", what, e.Issuer, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// refuse builds an Error. The text is a constant at every call, so that nothing
// of a token can slip into it.
func refuse(reason Reason, text string) *Error {
	return &Error{Reason: reason, Err: errors.New(text)}
}

// SessionError is an Error about a browser session, for package session.
func SessionError(reason Reason, err error) *Error {
	return &Error{Reason: reason, Err: err, what: "session"}
}
