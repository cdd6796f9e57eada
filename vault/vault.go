// Package vault turns the secret of a grant into a Lease: one version of one
// secret, for one route, usable only on the destination bound to it.
//
// A Vault is one machine account. It refreshes in the background and serves
// from memory; no request waits for the secret manager, except in the first
// seconds. A value is stale once two refresh intervals passed without a good
// refresh, and refused once max_stale passed. A secret that a good refresh no
// longer shows is dropped at once. One that is there but cannot be read keeps
// its last value for max_stale, by a clock of its own. When the secret manager
// answers three times in a row that the account is no longer welcome, that is
// no outage: everything is dropped.
//
// It trusts the operator's Bindings and the Source's word on what exists. It
// trusts no request: the route and the secret come from the configuration and
// the policy, and the credential goes on a request only if that goes to the
// bound destination. It refuses names that match two secrets, secrets in no
// collection, and values that their place on a request cannot carry as they
// are. It expands nothing inside a value.
//
// Values are hidden behind functions, so that no way of printing a Lease or a
// Vault shows one. They are held in Go strings, which cannot be wiped: a value
// lives in memory until the garbage collector takes it, once as fetched, once
// for each binding as worn, and shortly for each field that a format takes.
package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// Setup is what a Vault is made of.
type Setup struct {
	Name     string // the vault's name in the configuration, first in each reference
	Config   Config
	Source   Source
	Bindings []Binding
	// FingerprintKey keys the fingerprints: at least 16 random bytes, one key
	// a deployment, kept apart from the key that signs the audit log. A new
	// key changes every fingerprint.
	FingerprintKey func() string
	Logger         *slog.Logger         // default: discard
	Meter          metric.MeterProvider // default: none
	// OnChange hears of each version of a bound secret that a refresh brought,
	// replaced or took away, one call at a time, after leases follow it. It
	// must not block: the next refresh waits for it.
	OnChange func(Change)
	Now      func() time.Time // default: time.Now
}

// Vault is one machine account's bound secrets.
type Vault struct {
	name     string
	config   Bitwarden
	source   Source
	key      func() string
	log      *slog.Logger
	onChange func(Change)
	now      func() time.Time
	metrics  *metrics

	view atomic.Pointer[view]
	kick chan struct{} // holds one wish for a refresh at once
	turn chan struct{} // held by the one call to the source, or by its change
	stop context.CancelFunc
	done chan struct{}

	mu       sync.Mutex // of memory, of replacing the view, and of who is next
	known    memory
	after    succession
	people   people
	renewals *renewals
}

// Open starts refreshing and returns at once; Wait waits. It fails only on a
// Setup that could never work: a secret manager that does not answer, or a
// binding without a secret, closes the leases it concerns.
func Open(s Setup) (*Vault, error) {
	switch {
	case s.Name == "":
		return nil, errors.New("vault: no name")
	case s.Source == nil:
		return nil, fmt.Errorf("vault %s: no source", s.Name)
	case s.FingerprintKey == nil || len(s.FingerprintKey()) < 16:
		return nil, fmt.Errorf("vault %s: the fingerprint key wants at least 16 random bytes", s.Name)
	}
	v := &Vault{
		name:     s.Name,
		config:   s.Config.Bitwarden.Complete(),
		source:   s.Source,
		key:      s.FingerprintKey,
		log:      s.Logger,
		onChange: s.OnChange,
		now:      s.Now,
		kick:     make(chan struct{}, 1),
		turn:     make(chan struct{}, 1),
		after:    succession{wake: make(chan struct{}, 1)},
		done:     make(chan struct{}),
	}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	v.log = v.log.With("vault", v.name)
	if v.onChange == nil {
		v.onChange = func(Change) {}
	}
	if v.now == nil {
		v.now = time.Now
	}
	v.known.next = make(chan struct{})
	v.known.bindings = slices.Clone(s.Bindings)
	v.known.rules = s.Config
	v.view.Store(&view{})
	v.publish()
	var err error
	if v.metrics, err = v.measure(s.Meter); err != nil {
		return nil, fmt.Errorf("vault %s: %w", v.name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	v.stop = cancel
	v.renewals = newRenewals(ctx)
	go v.run(ctx)
	return v, nil
}

// Close stops refreshing and waits for a refresh under way to end. Leases are
// still given, as long as values are not too stale: requests that began with
// this vault end with it.
func (v *Vault) Close() {
	v.stop()
	<-v.done
	v.renewals.flights.Wait()
	v.succeed() // for whom one waits to be released
	v.metrics.close()
}

// Rebind replaces the bindings, all at once. Values of secrets that are no
// longer bound are dropped; newly bound ones are fetched at once, unless the
// last refresh failed and a later one is due.
func (v *Vault) Rebind(bindings []Binding) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known.bindings = slices.Clone(bindings)
	v.publish()
	if v.known.lacks(v.known.references()) {
		v.refreshSoon()
	}
}

// Govern replaces require_binding and max_age by those of c, all at once. All
// else of c is as it was when the vault was opened.
func (v *Vault) Govern(c Config) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known.rules = c
	v.publish()
}

// leaseWait is what a Lease waits for the first fetch of its secret.
const leaseWait = 2 * time.Second

// Lease is LeaseOf generation 0.
func (v *Vault) Lease(ctx context.Context, route, secret string) (*Lease, error) {
	return v.LeaseOf(ctx, 0, route, secret)
}

// LeaseOf returns the current version of a secret that a generation of bindings
// binds to a route. Errors are *LeaseError. It waits only for a secret that was
// never asked for yet: at most two seconds, within ctx.
func (v *Vault) LeaseOf(ctx context.Context, generation uint64, route, secret string) (*Lease, error) {
	h := v.view.Load().holdings[key{route, secret, generation}]
	if h != nil && h.pending {
		h = v.await(ctx, h.key)
	}
	if h == nil || h.personal {
		return nil, &LeaseError{NotBound, secret, errNotBound}
	}
	if h.refusal != nil {
		return nil, h.refusal
	}
	return v.lend(h)
}

// lend makes a lease of a holding that has a credential.
func (v *Vault) lend(h *holding) (*Lease, error) {
	now := v.now()
	age := elapsed(h.confirmed, now)
	if age > v.config.MaxStale {
		return nil, v.tooStale(h.key.secret, age)
	}
	if err := h.limits.tooLate(now); err != nil {
		return nil, &LeaseError{NoCredential, h.key.secret, err}
	}
	return &Lease{
		of:    h,
		age:   age,
		stale: v.staleness(h, age, now),
		since: now,
		lasts: h.limits.within(now, min(leaseFor, v.config.MaxStale-age)),
		now:   v.now,
	}, nil
}

func (v *Vault) tooStale(secret string, age time.Duration) *LeaseError {
	err := fmt.Errorf("last confirmed %s ago, more than max_stale (%s)", age.Round(time.Second), v.config.MaxStale)
	if cause := v.view.Load().failure; cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return &LeaseError{Unavailable, secret, err}
}

// await waits until a refresh looked for k, or until it is no longer worth it.
func (v *Vault) await(ctx context.Context, k key) *holding {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	for {
		now := v.view.Load()
		h := now.holdings[k]
		if h == nil || !h.pending {
			return h
		}
		select {
		case <-now.next:
		case <-ctx.Done():
			return h // still pending: its refusal says so
		}
	}
}

// Wait waits for the first refresh to end, and returns why the last one
// failed, if it did.
func (v *Vault) Wait(ctx context.Context) error {
	for {
		now := v.view.Load()
		if now.settled {
			return now.failure
		}
		select {
		case <-now.next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
