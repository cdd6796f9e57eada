package vault

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Source is one machine account's view of a secret manager. vault/bitwarden is
// the real one. Calls are made one at a time by one Vault.
type Source interface {
	// Fetch brings the secrets that want selects. since is the Synced of the
	// snapshot the caller holds, or zero: when nothing changed after it, Fetch
	// may answer Unchanged alone. One secret that cannot be read or decrypted
	// is a Failure in the Snapshot and does not take the others. Errors are
	// *SourceError.
	Fetch(ctx context.Context, since time.Time, want func(Ref) bool) (Snapshot, error)
	// Read brings one secret as it is now, by its id, with the span of the
	// reading. Errors are *SourceError, and say nothing of other secrets.
	Read(ctx context.Context, id string) (Secret, trace.SpanContext, error)
}

// Snapshot is what a machine account could see at one moment.
type Snapshot struct {
	Unchanged bool              // nothing moved since; all else but Synced is empty
	Synced    time.Time         // by the server's clock when it says, else ours
	Projects  map[string]string // id → name, every project the account sees
	Refs      []Ref             // every secret the account sees
	Secrets   []Secret          // of these, the wanted ones, with values
	Failed    []Failure         // wanted, but not readable
	Span      trace.SpanContext // the span of the fetch, for links
}

// Ref names a secret without its value. Project is the id of its first
// project, or empty: then nobody reaches it.
type Ref struct {
	ID, Project, Name string
	Revised           time.Time
}

// Secret is one version as read. The value is behind a func so that printing a
// Secret with any verb, or as JSON, cannot show it.
type Secret struct {
	Ref
	Note   string
	Reveal func() string
}

// Failure says why one secret could not be read; Err never quotes the server.
type Failure struct {
	Ref
	Err error
}

// SourceError is a classified failure of a whole Fetch. It never holds what
// the server said: bodies have been seen to hold bearer tokens.
type SourceError struct {
	Reason     Reason
	Status     int           // HTTP status of the real hop, or 0
	RetryAfter time.Duration // if the server said so
	Err        error         // our words, or a transport error without its URL
}

// Error implements error.
func (e *SourceError) Error() string {
	return "secret manager: " + string(e.Reason) + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// Reason classifies a SourceError; it is also a metric attribute.
type Reason string

// The reasons, by what an operator would do next.
const (
	Unauthorized Reason = "unauthorized" // access token revoked or wrong: replace it
	Forbidden    Reason = "forbidden"    // the account lost its organization or projects
	Throttled    Reason = "throttled"    // too many requests: wait
	Unreachable  Reason = "unreachable"  // DNS, TLS, connection, deadline
	Unusable     Reason = "unusable"     // an answer that could not be used: 5xx, truncated, undecryptable
)
