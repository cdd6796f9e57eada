package vault

import (
	"errors"
	"fmt"
	"time"
)

// succession is a change of the source that has not happened yet.
type succession struct {
	next    Source // nil: none
	release []func()
	wake    chan struct{} // holds one wish for it
}

// Use puts another source in the place of the one that is asked, for an access
// token that took another's place. It is asked at once, even while a back-off
// runs, and for everything: it may see other projects. Until it has answered,
// leases are of what the former one brought, by the same limits of age. One that
// never brought anything does not make the vault forget what it holds, however
// often the server refuses it: that says something of the new token and nothing
// of the values. Each use of them ends at max_stale.
//
// release is called when no call to the former source is under way any more.
func (v *Vault) Use(s Source, release func()) {
	v.mu.Lock()
	v.after.next = s
	v.after.release = append(v.after.release, release)
	v.mu.Unlock()
	select {
	case v.after.wake <- struct{}{}:
	default:
	}
}

// succeed lets the next source take over, if there is one. The caller holds the
// turn: nobody else asks a source now.
func (v *Vault) succeed() {
	v.mu.Lock()
	after := v.after
	v.after.next, v.after.release = nil, nil
	if after.next != nil {
		v.source = after.next
		m := &v.known
		m.synced, m.failures, m.refusals, m.unproven = time.Time{}, 0, 0, !m.refreshed.IsZero()
	}
	v.mu.Unlock()
	for _, release := range after.release {
		release()
	}
}

// errSuccessor begins the failure of a source that took another's place and has
// brought nothing yet.
var errSuccessor = errors.New("the access token that took the place of a working one does not work yet; until max_stale the values read with that one are served")

// blame says of a refusal that it began with another source.
func (m *memory) blame(err error) error {
	if e, ok := errors.AsType[*SourceError](err); ok && m.unproven && (e.Reason == Unauthorized || e.Reason == Forbidden) {
		blamed := *e
		blamed.Err = fmt.Errorf("%w: %w", errSuccessor, e.Err)
		return &blamed
	}
	return err
}
