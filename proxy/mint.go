package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"go.opentelemetry.io/otel/codes"

	"github.com/vaultspan/vaultspan/telemetry/attr"
	"github.com/vaultspan/vaultspan/vault"
)

// tokenResponse is the longest wait for a token endpoint's header, where the
// route's own is not shorter.
const tokenResponse = 10 * time.Second

// mint comes between lease and record: where the upstream wants a token, the
// secret is exchanged for one. A secret that the token endpoint refuses is
// renewed, as one that an upstream refuses.
func (x *exchange) mint() *refused {
	if x.lease == nil || !x.lease.Mints() {
		return nil
	}
	lease, err := x.minted(x.ctx, x.lease, x.lease.Mint)
	if e, ok := errors.AsType[*vault.LeaseError](err); ok && e.Reason == vault.NoCredential {
		if other := x.renew(x.ctx); other != nil {
			lease, err = x.minted(x.ctx, other, other.Mint)
		}
	}
	if err != nil {
		return fromMint(err)
	}
	x.lease = lease
	return nil
}

// another is a lease to go on with after the upstream refused the one before:
// with another token, or of another version; or nil.
func (x *exchange) another(ctx context.Context) *vault.Lease {
	if x.lease.Mints() {
		lease, err := x.minted(ctx, x.lease, x.lease.Remint)
		if err == nil {
			return lease
		}
		if !errors.Is(err, vault.ErrUnchanged) {
			x.gateway.Logger.WarnContext(x.ctx, "an upstream refused a token, and no other was to be had", "route", x.route.Name, "error", err.Error())
		}
	}
	lease := x.renew(ctx)
	if lease == nil || !lease.Mints() {
		return lease
	}
	lease, err := x.minted(ctx, lease, lease.Mint)
	if err != nil {
		x.gateway.Logger.WarnContext(x.ctx, "a renewed secret was not exchanged for a token", "route", x.route.Name, "error", err.Error())
		return nil
	}
	return lease
}

// minted is a lease that wears a token, by one of its ways to have one.
func (x *exchange) minted(ctx context.Context, lease *vault.Lease, way func(context.Context, vault.Exchange) (*vault.Lease, error)) (*vault.Lease, error) {
	_, span := x.start(attr.SpanMint)
	defer span.End()
	minted, err := way(ctx, func(r *http.Request) (*http.Response, string, error) { return x.exchangeSecret(lease, r) })
	if err != nil {
		span.SetStatus(codes.Error, "")
		return nil, err
	}
	span.SetAttributes(attr.Minted.String(minted.Minted()))
	return minted, nil
}

// exchangeSecret is one request to a token endpoint: an attempt of its own,
// with an intent before the secret leaves, and a span and an outcome. Its errors
// hold no byte of what the endpoint said.
func (x *exchange) exchangeSecret(lease *vault.Lease, r *http.Request) (_ *http.Response, _ string, err error) {
	a := &attempt{lease: lease, destination: lease.TokenEndpoint(), method: r.Method, mints: true}
	if refused := x.begin(r.Context(), a); refused != nil {
		return nil, "", fmt.Errorf("%w: %w", vault.ErrNotSent, &refusedError{refused})
	}
	code := panicked
	defer func() { x.end(a, code) }()
	r = r.WithContext(x.open(r.Context(), a))
	r.Header.Set("X-Request-Id", a.id)
	a.sent = max(r.ContentLength, 0)
	res, body, err := x.askForToken(r)
	if err != nil {
		failure := classify(err)
		code = failure.Code
		return nil, a.id, fmt.Errorf("%s: %w", failure.Code, failure.err)
	}
	code, a.status, a.received = completed, res.StatusCode, int64(len(body))
	a.answered(res)
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, a.id, nil
}

// askForToken sends a request over the pool of the route's token endpoint, and
// reads the answer, or as much of it as will be looked at.
func (x *exchange) askForToken(r *http.Request) (*http.Response, []byte, error) {
	res, err := x.route.tokens.RoundTrip(r)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, vault.MaxTokenAnswer+1))
	return res, body, err
}

// fromMint translates why no token was to be had.
func fromMint(err error) *refused {
	if e, ok := errors.AsType[*refusedError](err); ok {
		return e.refused
	}
	return fromVault(err)
}

// newTokenPool makes the pool to where the route's tokens are minted, which is
// bound to that as the route's own is to the upstream; or nil.
func newTokenPool(r *route) (*pool, error) {
	endpoint := r.Inject.TokenEndpoint()
	if endpoint.URL == nil {
		return nil, nil
	}
	to := endpoint.Destination()
	settings := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: to.Host}
	if endpoint.CA != "" {
		pem, err := os.ReadFile(endpoint.CA)
		if err != nil {
			return nil, fmt.Errorf("inject: ca: %w", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("inject: ca: %s holds no PEM certificate", endpoint.CA)
		}
	}
	address := net.JoinHostPort(to.Host, fmt.Sprint(to.Port))
	d := &boundDialer{address: address, private: endpoint.Private, loopback: isLoopbackHost(to.Host)}
	timeouts := Timeouts{Connect: r.Timeouts.Connect, Response: min(r.Timeouts.Response, tokenResponse)}
	return newPool(&url.URL{Scheme: to.Scheme, Host: address}, d, settings, timeouts), nil
}
