package devidp

import (
	"context"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// ValidateTokenExchangeRequest decides whether the client may act for the
// subject of the token it presents (RFC 8693). The library has verified that
// token, and the actor's if there is one.
func (s *storage) ValidateTokenExchangeRequest(_ context.Context, r op.TokenExchangeRequest) error {
	if r.GetExchangeSubjectTokenType() != oidc.AccessTokenType {
		return oidc.ErrInvalidRequest().WithDescription("subject_token must be an access token")
	}
	if t := r.GetRequestedTokenType(); t != "" && t != oidc.AccessTokenType {
		return oidc.ErrInvalidRequest().WithDescription("only access tokens can be asked for")
	}
	r.SetRequestedTokenType(oidc.AccessTokenType)
	for _, audience := range r.GetAudience() {
		if audience != s.provider.cfg.Audience {
			return oidc.ErrInvalidRequest().WithDescription("no such audience")
		}
	}
	client := r.GetClientID()
	if a := r.GetExchangeActor(); a != "" && a != client {
		return oidc.ErrInvalidRequest().WithDescription("actor_token is another client's")
	}
	if !s.provider.actsFor(client, r.GetSubject()) {
		return oidc.ErrAccessDenied().WithDescription("this client may not act for this subject")
	}
	return nil
}

// actor is the act claim of an exchanged token: the client, and behind it those
// who acted before it (RFC 8693 section 4.1).
func actor(r op.TokenExchangeRequest) map[string]any {
	act := map[string]any{"sub": r.GetClientID()}
	if before, ok := r.GetExchangeSubjectTokenClaims()["act"]; ok {
		act["act"] = before
	}
	return act
}

// CreateTokenExchangeRequest is part of op.TokenExchangeStorage: nothing is kept.
func (s *storage) CreateTokenExchangeRequest(context.Context, op.TokenExchangeRequest) error {
	return nil
}

// GetPrivateClaimsFromTokenExchangeRequest is only for the library's own format.
func (s *storage) GetPrivateClaimsFromTokenExchangeRequest(context.Context, op.TokenExchangeRequest) (map[string]any, error) {
	return nil, errNotOffered
}

// SetUserinfoFromTokenExchangeRequest is only for ID tokens, which are not given.
func (s *storage) SetUserinfoFromTokenExchangeRequest(context.Context, *oidc.UserInfo, op.TokenExchangeRequest) error {
	return errNotOffered
}
