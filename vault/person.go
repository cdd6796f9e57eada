package vault

import (
	"context"
	"errors"
	"fmt"
)

// LeaseOwn is LeaseOwnOf generation 0.
func (v *Vault) LeaseOwn(ctx context.Context, route, secret, name string) (*Lease, error) {
	return v.LeaseOwnOf(ctx, 0, route, secret, name)
}

// LeaseOwnOf is LeaseOf for a secret of the caller's own: secret is bound as a
// Template, and name is what the caller makes of its last part. The name is
// looked for in the template's collection, exactly: never as an id, in no other
// case, and in no other collection.
//
// The value is fetched when it is first asked for, within two seconds: read by
// itself, within the budget of Renew, or beyond it brought by the next refresh
// for all who wait. It is kept until nobody used it for Idle, and refreshed with
// the others meanwhile. That a caller has no secret is known without asking, as
// of the last refresh; it is NoCredential, ErrNobody, and closes nothing for
// others.
func (v *Vault) LeaseOwnOf(ctx context.Context, generation uint64, route, secret, name string) (*Lease, error) {
	h := v.view.Load().holdings[key{route, secret, generation}]
	if h != nil && h.pending {
		h = v.await(ctx, h.key)
	}
	switch {
	case h != nil && h.refusal != nil:
		return nil, h.refusal
	case h == nil || !h.personal:
		return nil, &LeaseError{NotBound, secret, errNotBound}
	}
	// What is known of who exists may be too old too.
	if age := elapsed(h.confirmed, v.now()); age > v.config.MaxStale {
		return nil, v.tooStale(secret, age)
	}
	own, ref, err := v.own(h, name)
	if own == nil && err == nil {
		own, err = v.bring(ctx, h, ref)
	}
	switch {
	case err != nil:
		return nil, err
	case own.refusal != nil:
		return nil, own.refusal
	}
	return v.lend(own)
}

// ErrNobody says that a caller has no secret of its own.
var ErrNobody = errors.New("there is no secret of this caller's own")

// own is what is held of a caller's own secret, and which it is.
func (v *Vault) own(h *holding, name string) (*holding, Ref, error) {
	ref, err := v.view.Load().catalog.named(h.reference.Collection, name)
	if err != nil {
		return nil, Ref{}, &LeaseError{NoCredential, h.key.secret, err}
	}
	return v.people.holding(h, ref, v.now()), ref, nil
}

// named finds the one secret of a name. The errors are for the log, where names
// of people are not.
func (c catalog) named(collection Collection, name string) (Ref, error) {
	project, err := c.project(collection)
	if err != nil {
		return Ref{}, err
	}
	switch found := c.byName[inProject{project, name}]; len(found) {
	case 0:
		return Ref{}, ErrNobody
	case 1:
		return found[0], nil
	default:
		return Ref{}, fmt.Errorf("secrets %s of collection %s have one name: rename all but one", ids(found), collection)
	}
}

// bring waits for the first value of a caller's own secret.
func (v *Vault) bring(ctx context.Context, h *holding, ref Ref) (*holding, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	for {
		before := v.view.Load() // what comes after it wakes us
		own, now, err := v.own(h, ref.Name)
		switch {
		case own != nil || err != nil:
			return own, err
		case now.ID != ref.ID:
			return nil, &LeaseError{Unavailable, h.key.secret, errors.New("the secret was replaced by another of its name")}
		}
		r, _ := v.begin(ref.ID)
		if r == nil {
			v.wish()
			r = &reading{} // never done
		}
		select {
		case <-r.done:
			if r.err != nil {
				return nil, &LeaseError{Unavailable, h.key.secret, r.err}
			}
		case <-before.next:
		case <-ctx.Done():
			return nil, &LeaseError{Unavailable, h.key.secret, fmt.Errorf("the secret manager has not answered in time: %w", ctx.Err())}
		}
	}
}

// again is what a lease would be made of now that h was the make of.
func (v *Vault) again(h *holding) *holding {
	now := v.view.Load().holdings[h.key]
	if h.name == "" || now == nil || now.refusal != nil {
		return now
	}
	own, _, _ := v.own(now, h.name)
	return own
}

// holdPersonal is a binding to callers' own secrets: it is usable once it is
// known who has one.
func (v *Vault) holdPersonal(h *holding, b Binding) *holding {
	h.personal, h.binding, h.rules, h.confirmed = true, b, v.known.rules, v.known.refreshed
	if _, err := v.known.catalog.project(h.reference.Collection); err != nil {
		return h.refuse(NoCredential, err)
	}
	return h
}
