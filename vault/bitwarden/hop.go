package bitwarden

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/telemetry/attr"
	"github.com/vaultspan/vaultspan/vault"
)

// A hop is one request to the real server.
type hop struct {
	*route
	target *url.URL
	header http.Header
	body   []byte
}

// answer is what the server said with status 200.
type answer struct {
	body []byte
	asOf time.Time // a moment, by the server's clock, not after it looked
}

// make sends the request, once there is room in the budget, and reads the
// answer, under a CLIENT span of ctx's trace. The span holds no part of the
// bridge's address or of any header.
func (b *bridge) make(ctx context.Context, h hop) (answer, *vault.SourceError) {
	if failure := b.Budgets.of(h.target).spend(ctx, h.spending); failure != nil {
		return answer{}, failure
	}
	ctx, span := b.tracer.Start(ctx, h.method+" "+h.template, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attr.HTTPRequestMethod.String(h.method),
		attr.URLTemplate.String(h.template),
		attr.ServerAddress.String(h.target.Hostname()),
		attr.ServerPort.Int(port(h.target)),
	))
	defer span.End()
	a, failure := b.send(ctx, h, span)
	if failure != nil {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(attr.ErrorType.String(string(failure.Reason)))
		if failure.Reason == vault.Unreachable {
			// An HTTP/2 connection that died silently would fail the next hop too.
			b.transport.CloseIdleConnections()
		}
	}
	return a, failure
}

func (b *bridge) send(ctx context.Context, h hop, span trace.Span) (answer, *vault.SourceError) {
	r, err := http.NewRequestWithContext(ctx, h.method, h.target.String(), bytes.NewReader(h.body))
	if err != nil {
		return answer{}, &vault.SourceError{Reason: vault.Unusable, Err: errors.New("the request cannot be made")}
	}
	r.Header = h.header
	begun := b.Now()
	// RoundTrip, not a Client: a redirect is an answer like any other, and is
	// not 200. It would carry the login wherever it points.
	response, err := b.transport.RoundTrip(r)
	if err != nil {
		return answer{}, unreachable(ctx, h.target.Host, err)
	}
	defer response.Body.Close()
	span.SetAttributes(attr.HTTPResponseStatusCode.Int(response.StatusCode))
	if response.StatusCode != http.StatusOK {
		return answer{}, h.refusal(response, b.Budgets.of(h.target))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, h.limit+1))
	switch {
	case ctx.Err() != nil:
		return answer{}, unreachable(ctx, h.target.Host, err)
	case err != nil:
		return answer{}, unusable(errors.New("the answer broke off"))
	case int64(len(body)) > h.limit && h.spending == login:
		return answer{}, unusable(errShape)
	case int64(len(body)) > h.limit:
		return answer{}, unusable(errTooLarge)
	}
	span.SetAttributes(attr.ResponseBodySize.Int(len(body)))
	return answer{body: body, asOf: asOf(response.Header.Get("Date"), begun, b.Now())}, nil
}

// unusable is the failure of an answer with status 200.
func unusable(err error) *vault.SourceError {
	return &vault.SourceError{Reason: vault.Unusable, Status: http.StatusOK, Err: err}
}

// refusal classifies an answer by its status alone. Its body has been seen to
// hold a bearer token, so nobody reads it.
func (h hop) refusal(response *http.Response, budget *budget) *vault.SourceError {
	failure := &vault.SourceError{Status: response.StatusCode}
	switch status := response.StatusCode; {
	case status == http.StatusTooManyRequests:
		failure.Reason = vault.Throttled
		failure.RetryAfter = budget.silence(response.Header.Get("Retry-After"))
		failure.Err = errors.New("the server asked to wait")
	case h.spending == login && (status == http.StatusBadRequest || status == http.StatusUnauthorized):
		failure.Reason = vault.Unauthorized
		failure.Err = fmt.Errorf("%s does not accept the access token: it was revoked, mistyped, or made in another region or on another server", h.target.Host)
	case status == http.StatusUnauthorized:
		failure.Reason = vault.Unauthorized
		failure.Err = errors.New("the session has ended")
	case status == http.StatusForbidden, status == http.StatusNotFound && h.spending != login:
		failure.Reason = vault.Forbidden
		failure.Err = errors.New("the machine account may not read this, or it does not exist")
	case status >= 300 && status < 400:
		failure.Reason = vault.Unusable
		failure.Err = fmt.Errorf("%s answered with a redirect, which is not followed: is this the address of Secrets Manager?", h.target.Host)
	default:
		failure.Reason = vault.Unusable
		failure.Err = fmt.Errorf("%s answered with status %d", h.target.Host, status)
	}
	return failure
}

// unreachable says in our words why there was no answer. The transport's own
// are dropped: some quote what the server sent.
func unreachable(ctx context.Context, host string, err error) *vault.SourceError {
	failure := &vault.SourceError{Reason: vault.Unreachable}
	switch {
	case ctx.Err() != nil:
		failure.Err = fmt.Errorf("%s did not answer in time: %w", host, ctx.Err())
	case isType[*net.DNSError](err):
		failure.Err = fmt.Errorf("the name of %s cannot be resolved", host)
	case isType[*tls.CertificateVerificationError](err), isType[x509.UnknownAuthorityError](err), isType[x509.HostnameError](err):
		failure.Err = fmt.Errorf("the certificate of %s is not trusted: for a server of your own, set ca", host)
	case isType[tls.RecordHeaderError](err), isType[tls.AlertError](err):
		failure.Err = fmt.Errorf("%s does not speak TLS as it should", host)
	case isType[syscall.Errno](err):
		errno, _ := errors.AsType[syscall.Errno](err)
		failure.Err = fmt.Errorf("%s: %w", host, errno)
	default:
		failure.Err = fmt.Errorf("the connection to %s broke", host)
	}
	return failure
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// asOf turns a Date header into a moment that is certainly not after the server
// looked at its data: the header has whole seconds and may be a second old, and
// the server may have looked as soon as the request began. What changes within
// that margin is reported twice; nothing is missed. Without the header it is
// our clock's.
func asOf(date string, begun, now time.Time) time.Time {
	server, err := http.ParseTime(date)
	if err != nil {
		return begun.Add(-time.Second).UTC()
	}
	return server.Add(begun.Sub(now) - time.Second).UTC()
}

// port returns u's port, also when it is the scheme's own.
func port(u *url.URL) int {
	n, err := strconv.Atoi(cmp.Or(u.Port(), map[string]string{"http": "80"}[u.Scheme], "443"))
	if err != nil {
		return 0
	}
	return n
}
