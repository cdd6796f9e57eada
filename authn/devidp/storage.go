package devidp

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// storage is the op.Storage of a Provider: who is signed in, logins under way,
// codes, refresh tokens, and access tokens about to be signed.
type storage struct {
	provider *Provider

	mu      sync.Mutex
	logins  map[string]*login // by id
	codes   map[string]string // code to login id
	refresh map[string]*session
	pending map[string]grant // by token id

	signIns  []*signIn
	disabled map[string]bool // people
}

func newStorage(p *Provider) *storage {
	return &storage{
		provider: p,
		logins:   map[string]*login{},
		codes:    map[string]string{},
		refresh:  map[string]*session{},
		pending:  map[string]grant{},
		disabled: map[string]bool{},
	}
}

// Health is part of op.Storage.
func (s *storage) Health(context.Context) error { return nil }

// GetClientByClientID finds a client for the library's checks.
func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	c, ok := s.provider.clients[id]
	if !ok {
		return nil, errors.New("unknown client")
	}
	return client{c, s.provider.cfg.Lifetime}, nil
}

// AuthorizeClientIDSecret compares a client's secret, which a public client does
// not have and so never proves.
func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	c, ok := s.provider.clients[id]
	if !ok || c.Secret == nil || subtle.ConstantTimeCompare([]byte(c.Secret()), []byte(secret)) != 1 {
		return errors.New("unknown client or wrong secret")
	}
	return nil
}

// ClientCredentials makes the client_credentials grant work.
func (s *storage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := s.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return s.GetClientByClientID(ctx, id)
}

// ClientCredentialsTokenRequest is a client asking for a token of its own.
func (s *storage) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return clientRequest{grant{subject: id, client: id, scopes: scopes}}, nil
}

type clientRequest struct{ grant grant }

func (r clientRequest) GetSubject() string    { return r.grant.subject }
func (r clientRequest) GetAudience() []string { return nil } // tokenFormat writes it
func (r clientRequest) GetScopes() []string   { return r.grant.scopes }

// CreateAccessToken puts down what the token will say; tokenFormat writes it.
func (s *storage) CreateAccessToken(_ context.Context, r op.TokenRequest) (id string, expires time.Time, err error) {
	var g grant
	switch r := r.(type) {
	case clientRequest:
		g = r.grant
	case *login:
		g = grant{subject: r.person, client: r.request.ClientID, scopes: r.request.Scopes}
	case *session:
		g = grant{subject: r.subject, client: r.client, scopes: r.scopes}
	case op.TokenExchangeRequest:
		g = grant{subject: r.GetSubject(), client: r.GetClientID(), scopes: r.GetScopes(), actor: actor(r)}
	default:
		return "", time.Time{}, oidc.ErrUnsupportedGrantType()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id = rand.Text()
	s.pending[id] = g
	return id, s.provider.cfg.Now().Add(s.provider.cfg.Lifetime), nil
}

// SetUserinfoFromScopes adds nothing: SetUserinfoFromRequest does.
func (s *storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromRequest fills an ID token: the first one of a login and those
// of its refreshes with the same sid and acr.
func (s *storage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, r op.IDTokenRequest, _ []string) error {
	s.describe(info, r.GetSubject())
	switch r := r.(type) {
	case *login:
		info.AppendClaims("sid", r.sid)
	case *session:
		info.AppendClaims("sid", r.sid)
		if r.acr != "" {
			info.AppendClaims("acr", r.acr)
		}
	}
	return nil
}

// SetUserinfoFromToken answers the userinfo endpoint.
func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, _, subject, _ string) error {
	s.describe(info, subject)
	return nil
}

func (s *storage) describe(info *oidc.UserInfo, subject string) {
	info.Subject = subject
	for k, v := range s.provider.subjectClaims(subject) {
		info.AppendClaims(k, v)
	}
}

// SigningKey is the key that signs ID tokens.
func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	return s.provider.current(), nil
}

// SignatureAlgorithms is for discovery.
func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{s.provider.algorithm}, nil
}

// KeySet is what the keys endpoint publishes.
func (s *storage) KeySet(context.Context) ([]op.Key, error) { return s.provider.published(), nil }

// What follows is part of op.Storage and not offered here: each refuses.

var errNotOffered = errors.New("not offered by this provider")

func (s *storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errNotOffered
}

func (s *storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, errNotOffered // only for the library's own JWT format
}

func (s *storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNotOffered // no client signs assertions
}

func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNotOffered
}
