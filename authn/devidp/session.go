package devidp

import (
	"context"
	"crypto/rand"
	"maps"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// sessionTime is how long a refresh token is good for when nobody uses it.
const sessionTime = 24 * time.Hour

// session is what a refresh token stands for. It is an op.RefreshTokenRequest.
type session struct {
	subject  string
	client   string
	scopes   []string
	authTime time.Time
	sid, acr string
	expires  time.Time
	in       *signIn
	family   *family
	used     bool
}

// family is a refresh token and all its successors.
type family struct{ revoked bool }

// over says whether it ended for a reason of its own or with its sign-in.
func (s *session) over() bool { return s.family.revoked || s.in.ended }

func (s *session) GetAMR() []string                 { return nil }
func (s *session) GetAudience() []string            { return []string{s.client} }
func (s *session) GetAuthTime() time.Time           { return s.authTime }
func (s *session) GetClientID() string              { return s.client }
func (s *session) GetScopes() []string              { return s.scopes }
func (s *session) GetSubject() string               { return s.subject }
func (s *session) SetCurrentScopes(scopes []string) { s.scopes = scopes }

// CreateAccessAndRefreshTokens begins a session, or goes on with one: every use
// of a refresh token brings a new one, and a used one that comes back ends the
// whole family (RFC 9700 section 4.14.2).
func (s *storage) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (id, next string, expires time.Time, err error) {
	fresh, err := s.succeed(r, current)
	if err != nil {
		return "", "", time.Time{}, err
	}
	id, expires, err = s.CreateAccessToken(ctx, r)
	if err != nil {
		return "", "", time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.refresh, func(_ string, old *session) bool { return time.Now().After(old.expires) })
	next = rand.Text()
	s.refresh[next] = fresh
	return id, next, expires, nil
}

// succeed is the session after this one: the first, when there is no current
// refresh token.
func (s *storage) succeed(r op.TokenRequest, current string) (*session, error) {
	expires := time.Now().Add(sessionTime)
	if current == "" {
		l, ok := r.(*login)
		if !ok {
			return nil, oidc.ErrInvalidRequest().WithDescription("only a login begins a session")
		}
		return &session{
			subject: l.person, client: l.request.ClientID, scopes: l.request.Scopes, authTime: l.when,
			sid: l.sid, acr: l.acr, expires: expires, in: l.in, family: new(family),
		}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.refresh[current]
	if !ok || old.used || old.over() {
		return nil, oidc.ErrInvalidGrant()
	}
	old.used, old.in.used = true, time.Now()
	fresh := *old
	fresh.used, fresh.expires = false, expires
	return &fresh, nil
}

// TokenRequestByRefreshToken finds the session of a refresh token.
func (s *storage) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.refresh[token]
	if !ok || time.Now().After(found.expires) {
		return nil, op.ErrInvalidRefreshToken
	}
	if found.used {
		found.family.revoked = true
	}
	if found.over() {
		return nil, op.ErrInvalidRefreshToken
	}
	copied := *found
	return &copied, nil
}

// GetRefreshTokenInfo names a refresh token for revocation.
func (s *storage) GetRefreshTokenInfo(_ context.Context, client, token string) (subject, id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.refresh[token]
	if !ok || found.client != client {
		return "", "", op.ErrInvalidRefreshToken
	}
	return found.subject, token, nil
}

// RevokeToken ends the session of a refresh token. Access tokens are not
// revocable here: they end at their exp.
func (s *storage) RevokeToken(_ context.Context, token, _, client string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.refresh[token]; ok && found.client == client {
		found.family.revoked = true
	}
	return nil
}

// TerminateSession is part of op.Storage: see endSession.
func (s *storage) TerminateSession(context.Context, string, string) error { return errNotOffered }
