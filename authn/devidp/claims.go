package devidp

import (
	"crypto/rand"
	"maps"
	"strings"
	"time"
)

// Claims returns the claims of a good access token for a person or client, as
// /token-for or client credentials would issue it now. A name nobody has gives
// a token that says nothing but that name.
func (p *Provider) Claims(name string) map[string]any {
	client := devClient
	if _, ok := p.clients[name]; ok {
		client = name
	}
	return p.accessClaims(grant{subject: name, client: client})
}

// grant is what an access token will say, apart from who the subject is.
type grant struct {
	subject string
	client  string
	scopes  []string
	actor   map[string]any // the act claim, nil when nobody acts for the subject
	age     time.Duration  // how long ago it was issued
}

// accessClaims are those of RFC 9068 section 2.2, and the subject's.
func (p *Provider) accessClaims(g grant) map[string]any {
	now := p.cfg.Now().Add(-g.age)
	claims := p.subjectClaims(g.subject)
	maps.Copy(claims, map[string]any{
		"iss":       p.cfg.Issuer,
		"sub":       g.subject,
		"aud":       []string{p.cfg.Audience},
		"client_id": g.client,
		"iat":       now.Unix(),
		"nbf":       now.Unix(),
		"exp":       now.Add(p.cfg.Lifetime).Unix(),
		"jti":       rand.Text(),
	})
	if len(g.scopes) > 0 {
		claims["scope"] = strings.Join(g.scopes, " ")
	}
	if g.actor != nil {
		claims["act"] = g.actor
	}
	return claims
}

// subjectClaims are what this provider knows of a person or client: the same in
// access and ID tokens.
func (p *Provider) subjectClaims(name string) map[string]any {
	claims := map[string]any{}
	describe := func(groups, roles []string, more map[string]any) {
		maps.Copy(claims, more)
		claims["groups"] = append([]string{}, groups...)
		claims["realm_access"] = map[string]any{"roles": append([]string{}, roles...)}
	}
	if person, ok := p.people[name]; ok {
		describe(person.Groups, person.Roles, person.Claims)
		claims["name"] = person.Name
		claims["email"] = person.Email
		claims["email_verified"] = !person.Unverified
	}
	if client, ok := p.clients[name]; ok {
		describe(client.Groups, client.Roles, client.Claims)
	}
	return claims
}
