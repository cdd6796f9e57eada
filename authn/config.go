package authn

import "time"

// IssuerConfig is one entry of issuers: an OpenID provider whose tokens are
// accepted.
type IssuerConfig struct {
	// Name is how roles, logs and records refer to this issuer. Required, unique.
	Name string `yaml:"name"`
	// URL is the issuer identifier, compared exactly with iss. Required; https,
	// or http on loopback only.
	URL string `yaml:"url"`
	// Audience must be among the token's aud. Required.
	Audience string `yaml:"audience"`
	// Tokens lists which kinds are accepted as bearer: access (RFC 9068), id.
	// Default: [access].
	Tokens []string `yaml:"tokens"`
	// Clients, when given, is the allow-list of azp or client_id.
	Clients []string `yaml:"clients"`
	// Algorithms is the allow-list of JWS algorithms, asymmetric only.
	// Default: RS256, ES256, PS256 and EdDSA.
	Algorithms []string `yaml:"algorithms"`
	// AccessTokenTypes is the allow-list of typ for access tokens, for issuers
	// older than RFC 9068. Default: [at+jwt]. "none" stands for an absent typ.
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
	// KindRules override Kind by a claim: the first that matches wins.
	KindRules []KindRule `yaml:"kind_rules"`
	// Claims says where in the token to find what policies ask for.
	Claims ClaimPaths `yaml:"claims"`
	// CA is a PEM file of the certificate authorities of this issuer. Default:
	// the system's.
	CA string `yaml:"ca"`
}

// KindRule gives Kind to the tokens whose Claim (a dotted path) has Value.
type KindRule struct {
	Claim string `yaml:"claim"`
	Value string `yaml:"value"`
	Kind  Kind   `yaml:"kind"`
}

// ClaimPaths are dotted paths into the token. A path that starts with / is a
// JSON Pointer (RFC 6901) instead, for names that hold dots.
type ClaimPaths struct {
	// Groups is a list of strings. Default: groups.
	Groups string `yaml:"groups"`
	// Roles is a list of strings. Default: roles.
	Roles string `yaml:"roles"`
	// Email is a string. Default: email.
	Email string `yaml:"email"`
	// Expose lists more claims that policies may read.
	Expose []string `yaml:"expose"`
}
