package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

const (
	// renewWait is what a request waits for the secret manager after its
	// upstream refused the credential.
	renewWait = 2 * time.Second
	// renewPause is how long a secret that was just read and had not changed is
	// not read again: an upstream that refuses everybody must not cost a request
	// to the secret manager for each.
	renewPause = time.Second
	// A vault's readings of single secrets, beside its refreshes: at most
	// renewBurst at once, and one each renewEvery in the long run.
	renewBurst = 10
	renewEvery = 2 * time.Second
)

// ErrUnchanged says that a secret has no version but the one that was refused.
var ErrUnchanged = errors.New("the secret manager has no other version")

// Renew is for a lease whose credential the destination refused: it looks for
// another version of the secret and lends that, for the same binding. The
// version that is current by now is lent at once. Otherwise the secret is read
// anew, once for all who ask meanwhile, within a budget and within two seconds;
// and where it has not changed, the version before is lent as long as the
// binding's Overlap lets it. It is ErrUnchanged that there is no other, or that
// it is too early to ask again.
//
// The old lease stays what it is: no request ever has two versions on it.
func (v *Vault) Renew(ctx context.Context, refused *Lease) (*Lease, error) {
	if refused == nil || refused.of == nil {
		return nil, &LeaseError{NotBound, "", errZeroLease}
	}
	was := refused.of
	ctx, cancel := context.WithTimeout(ctx, renewWait)
	defer cancel()
	h, result, err := v.another(was), "current", error(nil)
	if h == nil {
		result, err = v.reread(ctx, was.version.id)
		h = v.another(was)
	}
	if h == nil {
		if h = v.previous(was); h != nil {
			result = "previous"
		}
	}
	v.metrics.renewed(ctx, result)
	switch {
	case h != nil:
		return v.lend(h)
	case err != nil:
		return nil, err
	}
	return nil, ErrUnchanged
}

// another is the current version, if its value is not the one that was refused: a
// new name, or another note, is a new version of the same value.
func (v *Vault) another(refused *holding) *holding {
	h := v.again(refused)
	if h == nil || h.refusal != nil || h.version.fingerprint == refused.version.fingerprint {
		return nil
	}
	return h
}

// previous is the version before the one that was refused, while it may be
// used.
func (v *Vault) previous(refused *holding) *holding {
	h := v.again(refused)
	if h == nil || h.refusal != nil || h.before == nil || h.before.version.fingerprint == refused.version.fingerprint || !v.now().Before(h.before.until) {
		return nil
	}
	return h.before
}

// renewals are the readings of single secrets: one at a time for each.
type renewals struct {
	closed  context.Context
	budget  *rate.Limiter
	flights sync.WaitGroup

	mu   sync.Mutex
	last map[string]*reading // by the secret's id
}

// reading is one reading of a secret, under way or over.
type reading struct {
	done    chan struct{} // closed when it is over
	ended   time.Time
	changed bool // it brought another version
	err     error
}

func newRenewals(closed context.Context) *renewals {
	return &renewals{
		closed: closed,
		budget: rate.NewLimiter(rate.Every(renewEvery), renewBurst),
		last:   make(map[string]*reading),
	}
}

// sweep forgets readings that keep none from being begun.
func (r *renewals) sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.last, func(_ string, last *reading) bool {
		return !last.ended.IsZero() && elapsed(last.ended, now) > renewPause
	})
}

// reread reads a secret anew, or waits for who does, and says in a word how it
// ended. The reading goes on when ctx ends: others wait for it too.
func (v *Vault) reread(ctx context.Context, id string) (result string, err error) {
	r, result := v.begin(id)
	if r == nil {
		return result, nil
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return "late", fmt.Errorf("the secret manager has not answered in time: %w", ctx.Err())
	}
	if r.err != nil {
		return "failed", r.err
	}
	return result, nil
}

// begin returns the reading of a secret that is under way or that it started;
// none when the last is too fresh, or the budget used up.
func (v *Vault) begin(id string) (*reading, string) {
	all := v.renewals
	all.mu.Lock()
	defer all.mu.Unlock()
	if last := all.last[id]; last != nil {
		if last.ended.IsZero() {
			return last, "shared"
		}
		if !last.changed && elapsed(last.ended, v.now()) < renewPause {
			return nil, "fresh"
		}
	}
	if all.closed.Err() != nil || !all.budget.AllowN(v.now(), 1) {
		return nil, "throttled"
	}
	r := &reading{done: make(chan struct{})}
	all.last[id] = r
	all.flights.Go(func() {
		changed, err := v.read(all.closed, id)
		all.mu.Lock()
		r.changed, r.err, r.ended = changed, err, v.now()
		all.mu.Unlock()
		close(r.done)
	})
	return r, "read"
}

// read reads one secret, takes in what changed, and says whether anything did.
// It waits for a refresh that is under way.
func (v *Vault) read(ctx context.Context, id string) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, v.config.Timeout)
	defer cancel()
	select {
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	case <-ctx.Done():
		return false, &SourceError{Reason: Unreachable, Err: fmt.Errorf("a refresh was under way: %w", ctx.Err())}
	}
	started := v.now()
	secret, span, err := v.readSource(ctx, id)
	if err != nil {
		return false, err
	}
	all := v.replace(secret, span, started)
	for _, c := range all {
		v.onChange(c)
	}
	return len(all) > 0, nil
}

// readSource is one Read of a source that may panic.
func (v *Vault) readSource(ctx context.Context, id string) (s Secret, span trace.SpanContext, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &SourceError{Reason: Unusable, Err: fmt.Errorf("the source panicked with a %T", p)}
		}
	}()
	if s, span, err = v.source.Read(ctx, id); err == nil && s.ID != id {
		err = &SourceError{Reason: Unusable, Err: errors.New("the source answered with another secret")}
	}
	return s, span, err
}

// replace takes in one secret that was read by itself. One that was moved or
// renamed meanwhile is left to a refresh, which sees where to.
func (v *Vault) replace(s Secret, span trace.SpanContext, started time.Time) []Change {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := &v.known
	h, wanted := m.held[s.ID]
	if !wanted && !v.people.has(s.ID) {
		return nil
	}
	if known := m.catalog.byID[strings.ToLower(s.ID)]; known.Project != s.Project || known.Name != s.Name {
		v.refreshSoon()
		return nil
	}
	own := v.people.seen(newVersion(v.key, v.name, s, span), s.Note, started)
	if !wanted {
		return own
	}
	before := v.view.Load()
	m.held[s.ID] = h.seen(newVersion(v.key, v.name, s, span), s.Note, started)
	v.publish()
	return append(changes(before, v.view.Load()), own...)
}
