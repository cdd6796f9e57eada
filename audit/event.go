package audit

import "time"

// The kinds of Event.
const (
	KindIntent  = "intent"  // written and durable before an attempt is sent
	KindOutcome = "outcome" // how an attempt ended
	KindRefusal = "refusal" // a request that was not forwarded
	KindChange  = "change"  // the gateway itself: start, reload, policy, secret version, stop

	KindCheckpoint = "checkpoint" // a signature over all records before it; only Log writes it
)

// Codes that Log itself writes.
const (
	CodeNotSent = "not-sent"        // outcome: the intent became durable after its request had been refused
	CodeUnknown = "outcome-unknown" // outcome: the process ended before it learned how the attempt did

	CodeRecovered = "recovered" // change: what a start found after a crash
	CodeClock     = "clock"     // change: the clock was set
	CodeLost      = "lost"      // change: Count changes were not written down

	CodeOpened      = "opened"       // checkpoint: a process began to write
	CodeRotated     = "rotated"      // checkpoint: the segment before was full
	CodeWriteFailed = "write-failed" // checkpoint: the segment before could not be written to its end
)

// Event is one flat record. The caller fills what it knows; Log adds seq, time
// and prev. Fields are listed here one by one because this list is what may
// leave for the audit log: no header, no query, no body, no token, no secret.
type Event struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	Prev string    `json:"prev"` // hex SHA-256 of the previous line's exact bytes
	Kind string    `json:"kind"`

	Trace   string `json:"trace,omitempty"`   // 32 hex digits
	Attempt string `json:"attempt,omitempty"` // trace "-" n, n from 1: also X-Request-Id upstream
	Route   string `json:"route,omitempty"`
	Method  string `json:"method,omitempty"`
	Host    string `json:"host,omitempty"`
	Path    string `json:"path,omitempty"`
	Client  string `json:"client,omitempty"` // the peer's address, without port

	Issuer  string   `json:"issuer,omitempty"`
	Subject string   `json:"subject,omitempty"`
	Actors  []string `json:"actors,omitempty"`

	Role     string `json:"role,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Revision string `json:"revision,omitempty"`

	Secret      string `json:"secret,omitempty"` // vault/collection/name, never the value
	Version     string `json:"version,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	// Minted is the attempt that exchanged the secret for the token which was
	// worn in its stead; of that attempt itself, its own id.
	Minted   string `json:"minted,omitempty"`
	Stale    bool   `json:"stale,omitempty"`
	Upstream string `json:"upstream,omitempty"` // scheme://host:port

	Code     string        `json:"code,omitempty"`   // refusal code, or how the outcome ended
	Status   int           `json:"status,omitempty"` // upstream's, or the refusal's
	Sent     int64         `json:"sent,omitempty"`   // body bytes to the upstream
	Received int64         `json:"received,omitempty"`
	Duration time.Duration `json:"duration_ns,omitempty"`

	// Of an aggregate: Count refusals alike from First to Time. Of a recovery:
	// the bytes cut.
	Count uint64    `json:"count,omitempty"`
	First time.Time `json:"first,omitzero"`

	Detail string `json:"detail,omitempty"` // of a change: what changed, in words; of an outcome: where the credential came back

	// Of a checkpoint, and written by Log alone.
	Note   string   `json:"note,omitempty"`   // the signed note
	Range  []string `json:"range,omitempty"`  // first of a segment: the tree's compact range, base64
	Open   []string `json:"open,omitempty"`   // first of a segment: attempts without an outcome
	Sealed int64    `json:"sealed,omitempty"` // first of a segment: bytes of the segment before
}
