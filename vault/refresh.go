package vault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	backoffStart   = time.Second      // the pause after a first failure; doubled by each other
	backoffEnd     = 10 * time.Second // the longest pause, where refresh is not longer
	retryAfterMost = 15 * time.Minute // the most a server may ask for
	refusalsMost   = 3                // tries before an account counts as not welcome
	refusedPause   = 5 * time.Minute  // the pause from then on: a locked door is not rattled
)

// run refreshes until ctx ends, one fetch at a time.
func (v *Vault) run(ctx context.Context) {
	defer close(v.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var kick chan struct{} // nil while a back-off runs: new bindings do not shorten it
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-kick:
		case <-v.after.wake:
		}
		select {
		case <-v.kick: // this refresh grants the wish
		default:
		}
		v.refresh(ctx)
		kick = v.kick
		if v.view.Load().failure != nil {
			kick = nil
		}
		timer.Reset(v.pause())
	}
}

// refresh fetches once, and publishes what came of it.
func (v *Vault) refresh(ctx context.Context) {
	select {
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	case <-ctx.Done():
		return
	}
	v.succeed()
	v.mu.Lock()
	refs := v.known.references()
	want := v.people.wants(v.known.wants(refs))
	since := v.known.synced
	if v.known.partial || v.known.lacks(refs) || v.people.waiting() {
		since = time.Time{}
	}
	v.mu.Unlock()

	started := v.now()
	snapshot, err := v.fetch(ctx, since, want)
	if ctx.Err() != nil {
		return // closed: says nothing about the secret manager
	}
	v.metrics.fetched(ctx, err, v.now().Sub(started))
	for _, c := range v.settle(snapshot, err, started, refs) {
		v.onChange(c)
	}
}

// settle takes in the end of a fetch, wakes who waits for it, and returns what
// changed.
func (v *Vault) settle(s Snapshot, err error, started time.Time, refs map[string]Reference) []Change {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := &v.known
	before := v.view.Load()
	m.settled = true
	m.failure = m.blame(err)
	if err == nil {
		m.failures, m.refusals, m.unproven = 0, 0, false
		v.learn(s, started, refs)
	} else {
		m.failures++
		if isRefusal(err) {
			m.refusals++
		}
		if m.unwelcome() {
			m.forget()
		}
	}
	own := v.learnPeople(s, err, started)
	waiting := m.next
	m.next = make(chan struct{})
	v.publish()
	close(waiting)
	return append(changes(before, v.view.Load()), own...)
}

// fetch is one bounded Fetch whose every failure is classified. A source that
// panics has failed; what it panicked with is not looked at, for it may quote.
func (v *Vault) fetch(ctx context.Context, since time.Time, want func(Ref) bool) (s Snapshot, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &SourceError{Reason: Unusable, Err: fmt.Errorf("the source panicked with a %T", p)}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, v.config.Timeout)
	defer cancel()
	s, err = v.source.Fetch(ctx, since, want)
	if err == nil && s.Unchanged && since.IsZero() {
		err = errors.New("said unchanged to one who knew nothing")
	}
	if err == nil {
		return s, nil
	}
	if classified, ok := errors.AsType[*SourceError](err); ok {
		return Snapshot{}, classified
	}
	return Snapshot{}, &SourceError{Reason: Unusable, Err: err}
}

// pause is how long to wait before the next refresh. Jitter only shortens it,
// so that refresh bounds how late a change is noticed; what the server asked
// for is only lengthened.
func (v *Vault) pause() time.Duration {
	v.mu.Lock()
	m := &v.known
	failure, failures, refusals := m.failure, m.failures, m.refusals
	v.mu.Unlock()
	if failure == nil {
		return v.config.Refresh - jitter(v.config.Refresh)
	}
	longest := max(backoffEnd, v.config.Refresh)
	wait := min(min(backoffStart, v.config.Refresh)<<min(failures-1, 20), longest)
	if refusals >= refusalsMost {
		wait = max(refusedPause, v.config.Refresh)
	}
	wait -= jitter(wait)
	if e, ok := errors.AsType[*SourceError](failure); ok && e.RetryAfter > 0 {
		asked := min(e.RetryAfter, retryAfterMost)
		wait = max(wait, asked+jitter(asked))
	}
	return wait
}

// jitter is up to a fifth of d.
func jitter(d time.Duration) time.Duration {
	return rand.N(max(d/5, 1))
}

// isRefusal says whether the server was asked and did not accept the account.
// Without a Status it was not asked: a source that spaces its logins says so.
func isRefusal(err error) bool {
	e, ok := errors.AsType[*SourceError](err)
	return ok && e.Status != 0 && (e.Reason == Unauthorized || e.Reason == Forbidden)
}
