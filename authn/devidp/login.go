package devidp

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// loginTime is how long somebody may look at the picker, and a client may take
// to redeem its code.
const loginTime = 10 * time.Minute

// login is one authorization request, from the client's redirect until the
// client has redeemed its code. It is an op.AuthRequest.
type login struct {
	id      string
	request oidc.AuthRequest
	hint    string // whose id_token_hint the client sent; may be empty
	started time.Time

	// What follows is empty until somebody was picked.
	in     *signIn
	person string
	sid    string
	when   time.Time
	acr    string
}

// of makes a login that of a sign-in. It copies what tokens will say of it.
func (l *login) of(in *signIn) {
	in.used = time.Now()
	l.in, l.person, l.sid, l.when, l.acr = in, in.person, in.sid, in.when, in.acr
}

// tooOld says whether the client wants somebody who was picked later than when.
func (l *login) tooOld(when time.Time) bool {
	most := l.request.MaxAge
	return most != nil && time.Since(when) > time.Duration(*most)*time.Second
}

func (l *login) GetID() string                      { return l.id }
func (l *login) GetACR() string                     { return l.acr } // the first that was asked for
func (l *login) GetAMR() []string                   { return nil }
func (l *login) GetAudience() []string              { return []string{l.request.ClientID} } // of the ID token
func (l *login) GetAuthTime() time.Time             { return l.when }
func (l *login) GetClientID() string                { return l.request.ClientID }
func (l *login) GetNonce() string                   { return l.request.Nonce }
func (l *login) GetRedirectURI() string             { return l.request.RedirectURI }
func (l *login) GetResponseType() oidc.ResponseType { return l.request.ResponseType }
func (l *login) GetResponseMode() oidc.ResponseMode { return l.request.ResponseMode }
func (l *login) GetScopes() []string                { return l.request.Scopes }
func (l *login) GetState() string                   { return l.request.State }
func (l *login) GetSubject() string                 { return l.person }
func (l *login) Done() bool                         { return l.person != "" }

func (l *login) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: l.request.CodeChallenge, Method: l.request.CodeChallengeMethod}
}

// CreateAuthRequest begins a login. PKCE with S256 is required of every client:
// without it a stolen code can be redeemed (RFC 9700 section 2.1.1).
func (s *storage) CreateAuthRequest(_ context.Context, r *oidc.AuthRequest, hint string) (op.AuthRequest, error) {
	if r.CodeChallenge == "" || r.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE with code_challenge_method S256 is required")
	}
	l := &login{id: rand.Text(), request: *r, hint: hint, started: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	s.logins[l.id] = l
	return l, nil
}

// sweep drops logins nobody finished, codes nobody redeemed and sign-ins nobody
// used.
func (s *storage) sweep() {
	maps.DeleteFunc(s.logins, func(_ string, l *login) bool { return time.Since(l.started) > loginTime })
	maps.DeleteFunc(s.codes, func(_, id string) bool { return s.logins[id] == nil })
	s.signIns = slices.DeleteFunc(s.signIns, func(in *signIn) bool { return in.ended || time.Since(in.used) > sessionTime })
}

// AuthRequestByID finds a login under way.
func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.logins[id]
	if !ok {
		return nil, oidc.ErrInvalidRequest().WithDescription("unknown login")
	}
	copied := *l
	return &copied, nil
}

// SaveAuthCode remembers whose code it is. A login gives one code.
func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.codes {
		if other == id {
			return oidc.ErrInvalidRequest().WithDescription("this login is over")
		}
	}
	s.codes[code] = id
	return nil
}

// AuthRequestByCode redeems a code: the first attempt uses it up, right or wrong
// (RFC 6749 section 4.1.2).
func (s *storage) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	l, ok := s.logins[s.codes[code]]
	if !ok {
		return nil, errors.New("unknown or used code")
	}
	delete(s.codes, code)
	delete(s.logins, l.id)
	if l.in.ended {
		return nil, errors.New("they signed out before the code was used")
	}
	l.in.clients[l.request.ClientID] = true
	return l, nil
}

// DeleteAuthRequest is part of op.Storage: AuthRequestByCode did it.
func (s *storage) DeleteAuthRequest(context.Context, string) error { return nil }
