package authn

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The kinds of tokens an issuer may be configured for.
const (
	accessToken = "access"
	idToken     = "id"
)

// rules is an IssuerConfig made ready: defaults applied, paths parsed. It says
// which of the issuer's tokens are good and what they mean.
type rules struct {
	url         string
	audience    string
	tokens      []string
	clients     []string
	algorithms  []string
	accessTypes []string // as normalType writes them; "" for none
	logoutTypes []string // the same
	maxLifetime time.Duration
	skew        time.Duration

	name                 string
	kind                 Kind
	kindRules            []kindRule
	groups, roles, email path
	expose               []path
	top                  names // every member that is read from the token's top level
}

// kindRule is a KindRule made ready.
type kindRule struct {
	claim path
	value string
	kind  Kind
}

// The members of a token's top level that are read from every token.
var registered = []string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "azp", "client_id", "cnf", "act", "events",
	"nonce", "at_hash", "c_hash", "s_hash", "typ", "token_use", "email_verified", "_claim_names", "sid", "jti", "auth_time", "acr",
}

// Defaults of IssuerConfig.
const (
	defaultMaxLifetime = 24 * time.Hour
	defaultClockSkew   = time.Minute
	defaultMaxKeyAge   = 24 * time.Hour
	maxClockSkew       = 5 * time.Minute
)

var defaultAlgorithms = []string{"RS256", "ES256", "PS256", "EdDSA"}

// newRules makes a configuration that Check has nothing against ready. Paths
// are claims to expose besides the configuration's own.
func newRules(c IssuerConfig, paths []string) (*rules, error) {
	r := &rules{
		url:         c.URL,
		audience:    c.Audience,
		tokens:      c.Tokens,
		clients:     c.Clients,
		algorithms:  c.Algorithms,
		maxLifetime: cmp.Or(c.MaxLifetime, defaultMaxLifetime),
		skew:        cmp.Or(c.ClockSkew, defaultClockSkew),
		name:        c.Name,
		kind:        cmp.Or(c.Kind, Human),
	}
	if r.tokens == nil {
		r.tokens = []string{accessToken}
	}
	if r.algorithms == nil {
		r.algorithms = defaultAlgorithms
	}
	r.accessTypes = types(c.AccessTokenTypes, "at+jwt")
	r.logoutTypes = types(c.Login.LogoutTokenTypes, "logout+jwt")
	top := slices.Clone(registered)
	place := func(written string) (path, error) {
		p, err := parsePath(written)
		if err != nil {
			return path{}, fmt.Errorf("claim path %q %w", written, err)
		}
		top = append(top, p.steps[0])
		return p, nil
	}
	var err error
	if r.groups, err = place(cmp.Or(c.Claims.Groups, "groups")); err != nil {
		return nil, err
	}
	if r.roles, err = place(cmp.Or(c.Claims.Roles, "roles")); err != nil {
		return nil, err
	}
	if r.email, err = place(cmp.Or(c.Claims.Email, "email")); err != nil {
		return nil, err
	}
	exposed := slices.Concat(c.Claims.Expose, paths)
	slices.Sort(exposed)
	for _, written := range slices.Compact(exposed) {
		p, err := place(written)
		if err != nil {
			return nil, err
		}
		r.expose = append(r.expose, p)
	}
	for _, rule := range c.KindRules {
		p, err := place(rule.Claim)
		if err != nil {
			return nil, err
		}
		r.kindRules = append(r.kindRules, kindRule{p, rule.Value, rule.Kind})
	}
	r.top = namesOf(top...)
	return r, nil
}

// types are values of typ as normalType writes them.
func types(written []string, otherwise string) []string {
	if written == nil {
		return []string{otherwise}
	}
	var all []string
	for _, typ := range written {
		if typ == "none" {
			typ = ""
		}
		all = append(all, normalType(typ))
	}
	return all
}
