package vault

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// leaseFor bounds a Lease by itself: it is asked for one request, and used on
// it at once. A value that was dropped or replaced is thus gone soon after.
const leaseFor = time.Minute

// Lease is one version of one secret, usable until it expires, only on the
// destination it is bound to. It never changes: a rotation during the request
// touches later leases only. Printing one in any way shows what it is of, and
// [redacted] for the value. The zero Lease authorises nothing.
type Lease struct {
	of    *holding
	age   time.Duration
	stale Staleness
	since time.Time
	lasts time.Duration
	now   func() time.Time
	token *token // worn in the secret's stead; nil: none
}

// Secret is vault/collection/name, as written in the configuration; of a
// caller's own secret, with the caller's name in it.
func (l Lease) Secret() string { return cmp.Or(l.holding().secret, l.holding().key.secret) }

// Name is the last part of the secret as written in the configuration: of a
// caller's own the template, because this is for spans and names people.
func (l Lease) Name() string { return l.holding().reference.Name }

// Collection is vault/collection.
func (l Lease) Collection() string { return l.holding().reference.Collection.String() }

// ID is the secret's id at the secret manager.
func (l Lease) ID() string { return l.holding().version.id }

// Version names the version: its revision date in UTC (RFC 3339), a dot, and
// the fingerprint, as in 2026-11-01T10:00:00Z.ab12cd34ef56ab78.
func (l Lease) Version() string { return l.holding().version.name }

// Fingerprint is 16 hex digits of a keyed hash: the same as long as the value
// is, whatever happens to the secret's name.
func (l Lease) Fingerprint() string { return l.holding().version.fingerprint }

// Age is how long ago the secret manager last confirmed the value, at the
// moment of the lease.
func (l Lease) Age() time.Duration { return l.age }

// Stale says that the value should be fresher than it is, for one of two
// reasons: see Staleness.
func (l Lease) Stale() bool { return l.stale != NotStale }

// Staleness says why the lease is stale, if it is.
func (l Lease) Staleness() Staleness { return l.stale }

// Fetched is the span of the fetch that brought this version.
func (l Lease) Fetched() trace.SpanContext { return l.holding().version.span }

// Destination is the only place that the credential may go.
func (l Lease) Destination() Destination { return l.holding().destination }

// Guard finds the credential in what comes back: the token too, where one is worn
// in the secret's stead. It is nil when the binding is Unguarded, and where the
// credential never leaves.
func (l Lease) Guard() *Guard {
	if h := l.holding(); l.token == nil || h.unguarded {
		return h.guard
	}
	return l.token.guard
}

// Authorize puts the credential on r, in the one place that the binding says;
// the caller owns r, its headers and its body:
//   - a header: every header that some server would take for it is removed, from
//     the trailers too, and the one is set;
//   - the query: the parameter is put after it, in a URL of its own;
//   - a cookie: the caller's own are removed, and it is put before the others;
//   - the path: segments are put before it, in a URL of its own;
//   - a certificate: nothing is put on r, and it must go on a connection that
//     shows it: see ClientCertificate;
//   - a signature: the headers of one are removed, and those of another set; the
//     body may be read, and may be replaced.
//
// It refuses when r goes anywhere but to the bound destination, when r names
// another host than it (unless the binding preserves the caller's), when the
// lease expired, when r has the parameter itself, and when r cannot be signed;
// then it leaves r as it was, but for a body that it began to read. r is to be
// sent at once: what is traced or logged of it, is before.
func (l Lease) Authorize(r *http.Request) error {
	h := l.of
	if h == nil || h.worn.put == nil && h.mint == nil {
		return &LeaseError{NotBound, "", errZeroLease}
	}
	if !h.destination.Allows(r.URL) {
		return &LeaseError{NotBound, h.key.secret, fmt.Errorf("bound to %s, and the request goes elsewhere", h.destination)}
	}
	if r.Host != "" && !h.preserveHost && !h.destination.isHost(r.Host) {
		return &LeaseError{NotBound, h.key.secret, fmt.Errorf("bound to %s, and the request's Host names another", h.destination)}
	}
	now := l.now()
	if elapsed(l.since, now) > l.lasts {
		return &LeaseError{Unavailable, h.key.secret, errExpired}
	}
	put := h.worn.put
	switch {
	case h.mint != nil && l.token == nil:
		return &LeaseError{NotBound, h.key.secret, errNotMinted}
	case h.mint != nil:
		put = l.token.put
	}
	if err := put(r); err != nil {
		reason := NoCredential
		switch e, ok := errors.AsType[*LeaseError](err); {
		case ok:
			reason, err = e.Reason, e.Err
		case errors.Is(err, errReserved):
			reason = Reserved
		}
		return &LeaseError{reason, h.key.secret, err}
	}
	h.uses.count(l.Stale(), now)
	return nil
}

// ClientCertificate is for the tls.Config of the connections that requests with
// this lease go on, and only of those: nil, unless the credential is on the
// connection. No request may go on a connection of another version.
func (l Lease) ClientCertificate() func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return l.holding().worn.present
}

// Conceal takes out of the header of a response to an authorised request what
// would hand the credential on to whoever follows it.
func (l Lease) Conceal(h http.Header) {
	if l.of != nil && l.of.worn.conceal != nil {
		l.of.worn.conceal(h)
	}
}

// holding lets the accessors of a zero Lease answer with zero values.
func (l Lease) holding() *holding {
	if l.of == nil {
		return &holding{version: &version{}}
	}
	return l.of
}

// String describes the lease without its value.
func (l Lease) String() string {
	return fmt.Sprintf("lease of %s version %s [redacted]", l.Secret(), l.Version())
}

// Format prints String for every verb and flag.
func (l Lease) Format(f fmt.State, _ rune) { fmt.Fprint(f, l.String()) }

// LogValue is String.
func (l Lease) LogValue() slog.Value { return slog.StringValue(l.String()) }

// MarshalText is String; encoding/json and others use it.
func (l Lease) MarshalText() ([]byte, error) { return []byte(l.String()), nil }
