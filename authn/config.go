package authn

import "time"

// IssuerConfig is one entry of issuers: an OpenID provider whose tokens are
// accepted.
type IssuerConfig struct {
	// Name is how roles, logs, metrics and records refer to this issuer. Required,
	// unique.
	Name string `yaml:"name"`
	// URL is the issuer identifier, compared byte for byte with iss and with the
	// issuer of the discovery document at URL/.well-known/openid-configuration.
	// Required, unique; https, or http on loopback only. It is no template: a
	// provider with many tenants is one issuer for each.
	URL string `yaml:"url"`
	// Audience must be among the token's aud; more may be. Required.
	Audience string `yaml:"audience"`
	// Tokens lists which kinds are accepted as bearer: access (RFC 9068), id.
	// Default: [access].
	Tokens []string `yaml:"tokens"`
	// Clients, when given, is the allow-list of azp, or of client_id where there
	// is no azp. Default: every client of the issuer.
	Clients []string `yaml:"clients"`
	// Algorithms is the allow-list of JWS algorithms: RS256, RS384, RS512, PS256,
	// PS384, PS512, ES256, ES384, ES512 and EdDSA. Default: RS256, ES256, PS256 and
	// EdDSA.
	Algorithms []string `yaml:"algorithms"`
	// AccessTokenTypes is the allow-list of typ for access tokens, for issuers
	// older than RFC 9068; "none" stands for an absent typ. With JWT or none, tokens
	// with signs of an ID token (nonce, at_hash and such) still are ID tokens, but
	// an ID token without any passes for an access token. Default: [at+jwt].
	AccessTokenTypes []string `yaml:"access_token_types"`
	// MaxLifetime is the longest exp - iat accepted. Default: 24h.
	MaxLifetime time.Duration `yaml:"max_lifetime"`
	// ClockSkew is the tolerance for exp, nbf and iat. Default: 60s, at most 5m.
	ClockSkew time.Duration `yaml:"clock_skew"`
	// MaxKeyAge is how long keys are trusted after the last successful fetch of
	// the key set. Default: 24h.
	MaxKeyAge time.Duration `yaml:"max_key_age"`
	// Kind is what this issuer's subjects are: human, workload or agent.
	// Default: human.
	Kind Kind `yaml:"kind"`
	// KindRules override Kind by a claim: the first that matches wins. Default:
	// none.
	KindRules []KindRule `yaml:"kind_rules"`
	// Claims says where in the token to find what policies ask for.
	Claims ClaimPaths `yaml:"claims"`
	// CA is a PEM file of the certificate authorities of this issuer. Default:
	// the system's.
	CA string `yaml:"ca"`
	// Login lets people log in here with a browser, on routes that say session:
	// true. Default: they cannot.
	Login Login `yaml:"login"`
}

// Login is how this gateway is registered at the issuer, as a client that
// people log in to with the authorization code flow and PKCE.
type Login struct {
	// ClientID is the client's id. ID tokens must have it as their audience.
	// Required.
	ClientID string `yaml:"client_id"`
	// ClientSecret is the client's secret. Default: none, for a public client.
	ClientSecret func() string `yaml:"client_secret"`
	// Scopes are asked for. Ask for offline_access too where the issuer gives a
	// refresh token only then: without one a session ends with its ID token.
	// Default: [openid, profile, email].
	Scopes []string `yaml:"scopes"`
	// Title is the issuer's name for people who choose among several. Default:
	// its name.
	Title string `yaml:"title"`
	// Userinfo says whether to ask the userinfo endpoint too, for claims that the
	// ID token leaves out. The ID token's own claims win. Default: false.
	Userinfo bool `yaml:"userinfo"`
	// KeepTokens leaves the refresh tokens of ended sessions alone. Otherwise they
	// are revoked at the issuer's revocation_endpoint, which at some issuers ends
	// every login of that person to this client: there, say true. Default: false.
	KeepTokens bool `yaml:"keep_tokens"`
	// LogoutTokenTypes is the allow-list of typ for back-channel logout tokens;
	// "none" stands for an absent typ. Default: [logout+jwt].
	LogoutTokenTypes []string `yaml:"logout_token_types"`
}

// KindRule gives a kind to the tokens in which a claim has a value.
type KindRule struct {
	// Claim is a path as in claims. Required.
	Claim string `yaml:"claim"`
	// Value is what the claim must be, or hold if it is a list. Required.
	Value string `yaml:"value"`
	// Kind is human, workload or agent. Required.
	Kind Kind `yaml:"kind"`
}

// ClaimPaths are dotted paths into the token. A path that starts with / is a
// JSON Pointer (RFC 6901) instead, for names that hold dots. A claim that the
// issuer leaves to a lookup (_claim_names, as Entra does with many groups)
// refuses the token: name another claim to accept such tokens.
type ClaimPaths struct {
	// Groups is a list of at most 500 strings of at most 256 characters; anything
	// else is no group at all. Default: groups.
	Groups string `yaml:"groups"`
	// Roles is a list like groups. Default: roles.
	Roles string `yaml:"roles"`
	// Email is one plain ASCII address; anything else, or an email_verified that is
	// not true, is no email. Default: email.
	Email string `yaml:"email"`
	// Expose lists more claims that policies may read: strings, numbers, bools, and
	// lists of them like groups. Default: those that roles' members name.
	Expose []string `yaml:"expose"`
}
