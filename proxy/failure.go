package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/vaultspan/vaultspan/vault"
)

// How an attempt ended, where no refusal says it.
const (
	completed = "completed"
	panicked  = "panic"
	// credentialRefused: another attempt followed, with another version.
	credentialRefused = "credential-refused"
)

// clientAbort is what ends an exchange whose caller went away. It is recorded,
// and nobody is told.
var clientAbort = Refusal{499, "client-abort", "the caller went away"}

// errUpgrade ends an exchange in which the upstream switched protocols without
// need, or to something else.
var errUpgrade = errors.New("the upstream switched protocols in a way that was not asked for")

// classify sorts what can go wrong between the gateway and an upstream. Only
// errors whose text we know to hold no byte of the upstream's are passed to the
// operator.
func classify(err error) *refused {
	if e, ok := errors.AsType[*refusedError](err); ok {
		return e.refused
	}
	if e, ok := errors.AsType[*vault.LeaseError](err); ok {
		return unauthorized(e)
	}
	if errors.Is(err, errForbiddenAddress) {
		return upstreamForbidden.from(err)
	}
	if errors.Is(err, errReflected) {
		return secretReflected.from(err)
	}
	if errors.Is(err, errUpgrade) || errors.Is(err, errEncoding) {
		return upstreamInvalid.from(err)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return upstreamTLS.from(err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return upstreamTLS.from(errors.New("the upstream does not speak TLS on this port"))
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return upstreamTLS.from(err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" { // an alert of TLS
		return upstreamTLS.from(op)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return upstreamTLS.from(err)
	}
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		return upstreamTimeout.from(errors.New("timed out"))
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return upstreamUnreachable.from(dns)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return upstreamUnreachable.from(op)
	}
	return upstreamReset.from(fmt.Errorf("exchange broke off (%T)", err))
}

// unauthorized translates why a Lease did not authorise the outgoing request, or
// not to its last byte.
func unauthorized(e *vault.LeaseError) *refused {
	switch e.Reason {
	case vault.Reserved:
		return parameterReserved.from(e)
	case vault.Unsignable:
		return payloadUnsignable.because(e.Err.Error())
	case vault.TooLarge:
		return bodyTooLarge.because(e.Err.Error())
	case vault.NoCredential:
		return noCredential.from(e)
	}
	return secretNotBound.from(e)
}
