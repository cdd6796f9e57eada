package vault

import (
	"context"
	"errors"
	"net/http"
)

// Mints says that the secret is never worn itself: Authorize refuses until Mint
// has exchanged it for a token.
func (l Lease) Mints() bool { return l.of != nil && l.of.mint != nil }

// TokenEndpoint is the only place that the secret of a lease that mints may go.
func (l Lease) TokenEndpoint() Destination {
	if !l.Mints() {
		return Destination{}
	}
	return l.of.mint.endpoint
}

// Minted is the name that the Exchange which minted the lease's token gave to
// it, or empty.
func (l Lease) Minted() string {
	if l.token == nil {
		return ""
	}
	return l.token.attempt
}

// Mint returns a lease of the same version that wears a token in its stead. The
// token is kept until shortly before its end, for all bindings that exchange
// the version alike, and minted once for all who ask meanwhile. After a failure
// the endpoint is left alone for a second, and for longer after more. Errors
// are *LeaseError.
func (l *Lease) Mint(ctx context.Context, send Exchange) (*Lease, error) {
	return l.mint(ctx, nil, send)
}

// Remint is Mint for a lease whose token the destination refused: it returns
// one with another token. It is ErrUnchanged that this one is too young to be
// replaced, so that a destination which refuses everybody costs no more than a
// token each ten seconds; and that the lease wears none.
func (l *Lease) Remint(ctx context.Context, send Exchange) (*Lease, error) {
	if l.token == nil {
		return nil, ErrUnchanged
	}
	return l.mint(ctx, l.token, send)
}

func (l *Lease) mint(ctx context.Context, refused *token, send Exchange) (*Lease, error) {
	switch {
	case !l.Mints():
		return nil, &LeaseError{NotBound, l.Secret(), errNotMinting}
	case elapsed(l.since, l.now()) > l.lasts:
		return nil, &LeaseError{Unavailable, l.Secret(), errExpired}
	}
	t, err := l.of.mint.get(ctx, refused, func(r *http.Request) (*http.Response, string, error) {
		l.of.uses.count(l.Stale(), l.now())
		return send(r)
	})
	switch e, ok := errors.AsType[*mintError](err); {
	case errors.Is(err, ErrUnchanged):
		return nil, ErrUnchanged
	case ok:
		return nil, &LeaseError{e.reason, l.Secret(), err}
	}
	minted := *l
	minted.token = t
	return &minted, nil
}

// mintOf is the mint of h: the one that the view before has for the same
// version, exchanged alike.
func (v *Vault) mintOf(h *holding, before, next *view) *mint {
	if h.worn.mint == nil {
		return nil
	}
	k := mintKey{h.id, h.version.name, h.worn.shape}
	if next.mints[k] == nil {
		next.mints[k] = before.mints[k]
	}
	if next.mints[k] == nil {
		next.mints[k] = &mint{endpoint: h.worn.endpoint, grant: h.worn.mint, values: h.worn.values, log: v.log.With("secret", h.key.secret), now: v.now}
	}
	return next.mints[k]
}
