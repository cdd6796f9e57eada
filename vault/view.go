package vault

import (
	"sync/atomic"
	"time"
)

// key is what a Lease is asked by.
type key struct {
	route, secret string
	generation    uint64
}

// holding is one binding and what is held for it. It never changes.
type holding struct {
	key          key
	reference    Reference
	destination  Destination
	preserveHost bool
	personal     bool    // bound to callers' own secrets: none is held here
	binding      Binding // of a personal one
	rules        Config  // for its secrets

	of           *holding // of a caller's own secret: the binding's
	name, secret string   // of a caller's own secret: the last part, and the whole

	id        string   // of the secret that the reference names, if it names one
	version   *version // nil: no value
	worn      worn     // made ready once; without put: no lease
	guard     *Guard   // finds it in answers; nil: unguarded, or a token is worn, which has its own
	unguarded bool
	confirmed time.Time // when the refresh began that last saw the value
	before    *holding  // the same binding with the version before, while it overlaps
	until     time.Time // of a version that another replaced: when it is no longer lent

	terms  terms  // in the secret's note
	limits limits // of the version
	due    Due    // as of when this was published

	refusal    *LeaseError // why there is no lease, whatever the time; nil: there is
	unreadable error       // why the last refresh could not read it, though it is there
	pending    bool        // no fetch has looked for it yet
	uses       *uses
	mint       *mint // of a kind that mints; nil: the credential is worn
}

// view is what leases are given from: replaced as a whole by a refresh or a
// Rebind, read without a lock.
type view struct {
	holdings  map[key]*holding
	order     []*holding    // as bound
	catalog   catalog       // who has a secret of its own
	uses      map[key]*uses // by route and the secret's id, or the template
	mints     map[mintKey]*mint
	refreshed time.Time // when the last good refresh began; zero: never
	failure   error     // of the last refresh; nil: it was good
	failures  int       // in a row
	settled   bool      // a refresh ended
	published time.Time
	next      chan struct{} // closed when a later refresh ends
}

// count is where uses of h are counted: where the view before did, if it had
// the same secret on the same route.
func (v *view) count(h *holding, before *view) *uses {
	k := key{route: h.key.route, secret: h.id}
	if h.personal {
		k.secret = h.key.secret // one for all callers: their secrets' ids are many
	}
	if k.secret == "" {
		return nil // nothing to use
	}
	if v.uses[k] == nil {
		v.uses[k] = before.uses[k]
	}
	if v.uses[k] == nil {
		v.uses[k] = new(uses)
	}
	return v.uses[k]
}

// uses counts the times a secret was put on a request; it outlives the view.
type uses struct {
	fresh, stale atomic.Int64
	last         atomic.Int64 // Unix seconds; zero: never
}

func (u *uses) count(stale bool, now time.Time) {
	u.last.Store(now.Unix())
	if stale {
		u.stale.Add(1)
		return
	}
	u.fresh.Add(1)
}

// elapsed is the time from a to b by the clock that says more. The monotonic
// one stands still while a machine is suspended, the wall clock can be set
// back; neither may make a value look younger than it is.
func elapsed(a, b time.Time) time.Duration {
	return max(b.Sub(a), b.Round(0).Sub(a.Round(0)))
}
