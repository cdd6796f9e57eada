package devidp

import (
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// client is a Client as the library wants to see it.
type client struct {
	Client
	lifetime time.Duration
}

func (c client) GetID() string                    { return c.ID }
func (c client) RedirectURIs() []string           { return c.Client.RedirectURIs }
func (c client) PostLogoutRedirectURIs() []string { return c.Client.PostLogoutRedirectURIs }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) LoginURL(id string) string           { return "/login?request=" + id }
func (c client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeBearer } // see tokenFormat
func (c client) IDTokenLifetime() time.Duration      { return c.lifetime }
func (c client) DevMode() bool                       { return false }
func (c client) IsScopeAllowed(string) bool          { return false }
func (c client) IDTokenUserinfoClaimsAssertion() bool {
	return true
}
func (c client) ClockSkew() time.Duration { return 0 }

func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string     { return all }
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return all }

func all(scopes []string) []string { return scopes }

// ApplicationType is native for a public client, so that a command line tool may
// use any loopback port (RFC 8252 section 7.3), and web for the rest.
func (c client) ApplicationType() op.ApplicationType {
	if c.Secret == nil {
		return op.ApplicationTypeNative
	}
	return op.ApplicationTypeWeb
}

func (c client) AuthMethod() oidc.AuthMethod {
	if c.Secret == nil {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

func (c client) GrantTypes() []oidc.GrantType {
	var grants []oidc.GrantType
	if len(c.Client.RedirectURIs) > 0 {
		grants = append(grants, oidc.GrantTypeCode, oidc.GrantTypeRefreshToken)
	}
	if c.Secret != nil {
		grants = append(grants, oidc.GrantTypeClientCredentials)
	}
	return grants
}
