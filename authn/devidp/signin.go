package devidp

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// signIn is one person in one browser, from the first time they are picked
// until they sign out. All clients know it by the same sid.
//
// It spares nobody the picker, so that a test or a demo says each time who it
// is. It answers prompt=none, and it says who is to be told of a logout.
type signIn struct {
	sid     string
	cookie  string // what the browser has; clients never see it
	person  string
	when    time.Time // they were picked last: auth_time
	acr     string    // that was asked for then
	used    time.Time
	clients map[string]bool // that got tokens of it
	ended   bool
}

// pick ends a login: this person it is. The second pick of a login is refused.
func (s *storage) pick(id, person, cookie string) (signIn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.logins[id]
	if !ok || l.in != nil {
		return signIn{}, errors.New("this login is unknown, over or too old")
	}
	if _, ok := s.provider.people[person]; !ok {
		return signIn{}, errors.New("nobody of that name")
	}
	if s.disabled[person] {
		return signIn{}, errors.New("this person was disabled")
	}
	if l.hint != "" && l.hint != person {
		return signIn{}, errors.New("the client asks for somebody else (id_token_hint)")
	}
	in := s.signedIn(cookie)
	if in == nil || in.person != person {
		in = &signIn{sid: rand.Text(), cookie: rand.Text(), person: person, clients: map[string]bool{}}
		s.signIns = append(s.signIns, in)
	}
	in.when, in.acr = time.Now(), ""
	if asked := l.request.ACRValues; len(asked) > 0 {
		in.acr = asked[0]
	}
	l.of(in)
	return *in, nil
}

// resume answers prompt=none: whoever is signed in, if the client would have
// them, and login_required otherwise (OpenID Connect Core section 3.1.2.1).
func (s *storage) resume(id, cookie string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.logins[id]
	if !ok || l.in != nil {
		return errors.New("this login is unknown, over or too old")
	}
	in := s.signedIn(cookie)
	if in == nil || l.hint != "" && l.hint != in.person || l.tooOld(in.when) {
		delete(s.logins, id)
		return oidc.ErrLoginRequired()
	}
	l.of(in)
	return nil
}

// signedIn is what a browser's cookie stands for, or nil.
func (s *storage) signedIn(cookie string) *signIn {
	return s.signInWhere(func(in *signIn) bool { return cookie != "" && in.cookie == cookie })
}

func (s *storage) signInWhere(is func(*signIn) bool) *signIn {
	if i := slices.IndexFunc(s.signIns, func(in *signIn) bool { return !in.ended && is(in) }); i >= 0 {
		return s.signIns[i]
	}
	return nil
}

// browser copies what a cookie stands for.
func (s *storage) browser(cookie string) (signIn, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.signedIn(cookie); in != nil {
		return *in, true
	}
	return signIn{}, false
}

// ended is a sign-in that is over, and the clients to tell.
type ended struct {
	sid, person string
	clients     []string
}

// end ends sign-ins: their codes and refresh tokens are good for nothing more.
func (s *storage) end(which func(*signIn) bool) []ended {
	s.mu.Lock()
	defer s.mu.Unlock()
	var over []ended
	for _, in := range s.signIns {
		if in.ended || !which(in) {
			continue
		}
		in.ended = true
		over = append(over, ended{in.sid, in.person, slices.Sorted(maps.Keys(in.clients))})
	}
	s.sweep()
	return over
}

// Disable keeps a person out from now on: they cannot be picked, and their
// refresh tokens answer invalid_grant, also after Enable. No client is told.
func (p *Provider) Disable(person string) {
	p.storage.end(func(in *signIn) bool { return in.person == person })
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	p.storage.disabled[person] = true
}

// Enable lets a person in again.
func (p *Provider) Enable(person string) {
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	delete(p.storage.disabled, person)
}

func (s *storage) isDisabled(person string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disabled[person]
}

// SignOut ends every sign-in of a person and tells the clients, by OpenID
// Connect Back-Channel Logout. The error names those that could not be told.
func (p *Provider) SignOut(ctx context.Context, person string) error {
	return p.tell(ctx, p.storage.end(func(in *signIn) bool { return in.person == person }))
}
