package assertion

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Header is the field that an assertion travels in.
const Header = "X-Vaultspan-Assertion"

// Type is the type in an assertion's header: a verifier takes no other.
const Type = "vaultspan-assertion+jwt"

// MaxSize is the most that an assertion is long. Many servers end a header field
// at 8 KiB, and some the whole header.
const MaxSize = 6 << 10

const algorithm = jose.ES256

// past is how far an assertion's nbf lies before it was made, for clocks that
// are behind ours.
const past = 30 * time.Second

// grace is how long an assertion lasts where what the issuer vouched for has
// ended and clocks may differ.
const grace = 10 * time.Second

// Claims are what an assertion says: who is calling, as an issuer vouched for it,
// and what was decided. There is no token in it and no secret.
type Claims struct {
	Route   string   // whose upstream is told
	Request string   // the attempt's id, as in X-Request-Id and in the audit log
	Issuer  string   // the name of who vouches for the caller
	Subject string   // who the caller is there
	Kind    string   // human, workload or agent
	Email   string   // empty: unknown, or not the caller's by the issuer's word
	Groups  []string //
	Roles   []string // that the decision came from
	Actors  []string // who acts for the caller, the current one first
	Expires time.Time
}

// Setup is what a Signer is made of.
type Setup struct {
	Config
	// Gateway is the iss of assertions: the URL that callers know. Required.
	Gateway string
	// Issuers are the URLs of those who vouch, by name.
	Issuers map[string]string
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Signer makes assertions. It may be used by many goroutines.
type Signer struct {
	gateway  string
	issuers  map[string]string
	lifetime time.Duration
	length   int64 // of a period, in seconds
	now      func() time.Time
	seeds    func() [][]byte

	ring atomic.Pointer[ring] // of the newest period
	mu   sync.Mutex           // held while another is made
}

// New makes a Signer.
func New(s Setup) (*Signer, error) {
	if s.Gateway == "" || s.Key == nil {
		return nil, errors.New("assertions need a key and the gateway's url")
	}
	seeds, err := parseSeeds(s.Key())
	if err != nil {
		return nil, fmt.Errorf("assertions.key: %w", err)
	}
	signer := &Signer{
		gateway: strings.TrimSuffix(s.Gateway, "/"), issuers: s.Issuers,
		lifetime: cmp.Or(s.Lifetime, defaultLifetime), length: int64(cmp.Or(s.Rotate, defaultRotate) / time.Second),
		now: s.Now, seeds: func() [][]byte { return seeds },
	}
	if s.Now == nil {
		signer.now = time.Now
	}
	_, err = signer.keys(signer.now())
	return signer, err
}

// keys are those of a moment. They are derived once a period.
func (s *Signer) keys(now time.Time) (*ring, error) {
	period := now.Unix() / s.length
	if r := s.ring.Load(); r != nil && r.period == period {
		return r, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.ring.Load(); r != nil && r.period == period {
		return r, nil
	}
	r, err := newRing(s.seeds(), period, s.length)
	if err != nil {
		return nil, err
	}
	s.ring.Store(r)
	return r, nil
}

// Keys is the set of public keys, in JSON, and for how long it may be kept.
func (s *Signer) Keys() (set []byte, age time.Duration, err error) {
	r, err := s.keys(s.now())
	if err != nil {
		return nil, 0, err
	}
	return r.set, min(maxCacheAge, time.Duration(s.length)*time.Second/4), nil
}

// Sign states claims. whole is false if the groups were too many, and the
// assertion says that they are not in it.
func (s *Signer) Sign(c Claims) (token string, whole bool, err error) {
	now := s.now()
	r, err := s.keys(now)
	if err != nil {
		return "", false, err
	}
	p := s.payload(c, now)
	if token, err = r.token(p); err != nil || len(token) <= MaxSize {
		return token, true, err
	}
	p.Groups, p.GroupsOmitted = nil, true
	if token, err = r.token(p); err != nil || len(token) <= MaxSize {
		return token, false, err
	}
	return "", false, fmt.Errorf("an assertion of who is calling would be longer than %d bytes", MaxSize)
}

// token signs a payload.
func (r *ring) token(p payload) (string, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	if len(text) > MaxSize {
		return string(text), nil // too long already
	}
	signed, err := r.signs.sign(text)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
