package vault

import (
	"errors"
	"fmt"
)

// LeaseError says why there is no Lease, or why one was not used. Its text is
// for the log: it names secrets, ids and destinations, never a value.
type LeaseError struct {
	Reason LeaseReason
	Secret string // vault/collection/name as asked
	Err    error
}

// LeaseReason classifies a LeaseError, by what a caller may be told.
type LeaseReason string

// The reasons.
const (
	// NotBound: the configuration does not bind the secret to the route, or to
	// the destination.
	NotBound LeaseReason = "not-bound"
	// NoCredential: bound, and the secret manager answers, but it has no
	// usable value: missing, ambiguous, empty, not fit for its place, or
	// without the fields that it is to have. An operator must act.
	NoCredential LeaseReason = "no-credential"
	// Unavailable: never fetched, not readable, or too old to be trusted.
	Unavailable LeaseReason = "unavailable"
	// NoToken: the secret was not exchanged for a token, and may be soon: the
	// token endpoint does not answer, or not with one.
	NoToken LeaseReason = "no-token"
	// Reserved: the request has a parameter where the credential goes. Which of
	// the two a server would read is its affair, and the query is the caller's.
	Reserved LeaseReason = "reserved"
	// Unsignable: the credential signs, and the request says of its body what
	// cannot be signed, or what is not so.
	Unsignable LeaseReason = "unsignable"
	// TooLarge: the credential signs, and would have to hold more of the body
	// than it may.
	TooLarge LeaseReason = "too-large"
)

// Error implements error.
func (e *LeaseError) Error() string {
	if e.Secret == "" {
		return "lease: " + e.Err.Error()
	}
	return fmt.Sprintf("lease %s: %v", e.Secret, e.Err)
}

// Unwrap returns the cause.
func (e *LeaseError) Unwrap() error { return e.Err }

var (
	errZeroLease  = errors.New("nothing was leased")
	errExpired    = errors.New("the lease expired")
	errNotBound   = errors.New("no binding of this secret to this route")
	errReserved   = errors.New("the request has the injected parameter itself")
	errNotMinted  = errors.New("the secret is to be exchanged for a token first")
	errNotMinting = errors.New("the secret is worn as it is")
	errPending    = errors.New("not fetched yet")
)
