package authn

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	missInterval    = 10 * time.Second // between fetches that callers cause
	refreshInterval = 5 * time.Minute  // between fetches on our own
	retryFirst      = time.Second      // after the first failure, doubled up to retryLast
	retryLast       = time.Minute
)

// keyFetcher brings an issuer's current keys. Keys may come with an error: they
// are good, and something about how they were had is not.
type keyFetcher interface {
	fetch(ctx context.Context) ([]key, error)
}

// keySet is what one issuer's tokens are verified with. It implements
// oidc.KeySet.
type keySet struct {
	source keyFetcher
	maxAge time.Duration
	now    func() time.Time
	tell   func(change bool, err error) // told of every fetch
	life   context.Context              // fetches outlive the caller that needs them, not this

	current atomic.Pointer[snapshot]

	mu       sync.Mutex
	flight   chan struct{} // closed when the fetch under way has ended; nil when there is none
	lastMiss time.Time
	problem  error // of the last fetch; nil when it was good
}

// snapshot is a good key set and when it was last seen to be so. A nil snapshot
// has no keys.
type snapshot struct {
	keys       []key
	generation uint64 // changes when the keys do
	confirmed  time.Time
}

// fresh reports whether the keys may be used still.
func (s *snapshot) fresh(now time.Time, maxAge time.Duration) bool {
	return s != nil && now.Sub(s.confirmed) < maxAge
}

// knows reports whether a token of this kid can be judged. One without a kid
// never asks for more keys than there are.
func (s *snapshot) knows(kid string) bool {
	return kid == "" || slices.ContainsFunc(s.keys, func(k key) bool { return k.id == kid })
}

// find returns the one key that fits. With none, or with a choice, there is no
// key: trying several is how one key's tokens become another's.
func (s *snapshot) find(kid, alg string) (found key, ok bool) {
	for _, k := range s.keys {
		if (kid == "" || k.id == kid) && slices.Contains(k.algorithms, alg) {
			if ok {
				return key{}, false
			}
			found, ok = k, true
		}
	}
	return found, ok
}

// VerifySignature returns the payload of a token that one of the issuer's keys
// has signed. It judges nothing else; alg is not checked against what the
// operator allows.
func (s *keySet) VerifySignature(ctx context.Context, compact string) ([]byte, error) {
	t, err := parse(compact)
	if err != nil {
		return nil, err
	}
	_, err = s.verify(ctx, t)
	return t.payload, err
}

// verify checks the signature and returns the keys that it was checked with.
func (s *keySet) verify(ctx context.Context, t jws) (*snapshot, error) {
	keys := s.current.Load()
	for again := true; again && !(keys.fresh(s.now(), s.maxAge) && keys.knows(t.kid)); {
		again = s.refreshFor(ctx)
		keys = s.current.Load()
	}
	if !keys.fresh(s.now(), s.maxAge) {
		return nil, refuse(Unavailable, "no keys that are recent enough")
	}
	if !keys.knows(t.kid) && s.failing() != nil {
		return nil, refuse(Unavailable, "key is not known and key set cannot be fetched")
	}
	k, ok := keys.find(t.kid, t.alg)
	if !ok {
		return nil, refuse(Invalid, "no key that fits kid and alg, or more than one")
	}
	// The second parse sees what ours saw: a header without extensions, with this
	// alg. Should it ever not, the payloads differ.
	signed, err := jose.ParseSignedCompact(t.compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(t.alg)})
	if err != nil {
		return nil, refuse(Invalid, "not a JWS")
	}
	payload, err := signed.Verify(k.public)
	if err != nil || !bytes.Equal(payload, t.payload) {
		return nil, refuse(Invalid, "signature does not verify")
	}
	return keys, nil
}

// refreshFor fetches the keys because a caller needs it, unless that was done
// within missInterval, and waits until the fetch under way ends. A flood of
// unknown kids costs the issuer one fetch an interval, and a real rotation in
// the midst of it is seen within one. It is worth calling again after a good
// fetch that others began: that may have been before the key was published.
func (s *keySet) refreshFor(ctx context.Context) (again bool) {
	s.mu.Lock()
	flight, joined := s.flight, s.flight != nil
	if now := s.now(); !joined && now.Sub(s.lastMiss) >= missInterval {
		s.lastMiss = now
		flight = s.start()
	}
	s.mu.Unlock()
	if flight == nil {
		return false
	}
	select {
	case <-flight:
		return joined && s.failing() == nil
	case <-ctx.Done(): // the fetch goes on for the others
		return false
	}
}

// begin starts a fetch, or joins the one under way.
func (s *keySet) begin() (flight chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	return s.start()
}

// start begins a fetch. s.mu is held.
func (s *keySet) start() chan struct{} {
	flight := make(chan struct{})
	s.flight = flight
	go func() {
		defer close(flight)
		ctx, cancel := context.WithTimeout(s.life, fetchBudget)
		defer cancel()
		began := s.now()
		keys, err := s.source.fetch(ctx)
		s.tell(s.land(keys, began, err), err)
	}()
	return flight
}

// land takes in what a fetch brought, and reports whether the keys changed.
// Without keys the last good ones stay, and grow older.
func (s *keySet) land(keys []key, began time.Time, err error) (change bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight, s.problem = nil, err
	if keys == nil {
		return false
	}
	next := &snapshot{keys: keys, generation: 1, confirmed: began}
	if last := s.current.Load(); last != nil {
		next.generation = last.generation
		if !slices.EqualFunc(last.keys, keys, key.equal) {
			next.generation++
			change = true
		}
	}
	s.current.Store(next)
	return change
}

func (s *keySet) failing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}

// keep fetches the keys again and again, and sooner after a failure, until ctx
// ends. The first fetch is under way already.
func (s *keySet) keep(ctx context.Context, flight chan struct{}) {
	for retry := retryFirst; ; flight = s.begin() {
		<-flight
		wait := min(refreshInterval, s.maxAge/3)
		if s.failing() == nil {
			retry = retryFirst
		} else {
			wait, retry = min(wait, retry), min(2*retry, retryLast)
		}
		select {
		case <-time.After(wait - rand.N(wait/10+1)): // gateways do not come all at once
		case <-ctx.Done():
			return
		}
	}
}
