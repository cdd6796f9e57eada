package policy

// Config is the policy section: the operator's own Rego.
type Config struct {
	// Deny lists files or globs of modules in package vaultspan.deny. They can
	// only take away: each message in data.vaultspan.deny.reasons refuses.
	Deny []string `yaml:"deny"`
	// Replace is a directory or file of modules that stand in for the shipped
	// policy: they must define data.vaultspan.decision.
	Replace string `yaml:"replace"`
}

// Role is one row of the RBAC table.
type Role struct {
	// Members says who has the role: an identity that matches any entry.
	// Required.
	Members []Member `yaml:"members"`
	// Collections maps "vault/collection" to the methods the role may use with
	// its secrets.
	Collections map[string]Methods `yaml:"collections"`
	// Spans must be true for a role whose collections are of more than one
	// vault, and for no other: a vault is an environment, and a role that
	// reaches two of them is to be meant. Default: false.
	Spans bool `yaml:"spans"`
}

// Member matches an identity when every field that is given matches.
type Member struct {
	// Issuer is an issuer's name. Required.
	Issuer string `yaml:"issuer"`
	// Anyone must be true for an entry that gives the issuer alone.
	Anyone bool `yaml:"anyone"`
	// Subject equals sub.
	Subject string `yaml:"subject"`
	// Kind is human, workload or agent.
	Kind string `yaml:"kind"`
	// Email equals the verified email.
	Email string `yaml:"email"`
	// Groups is a group the identity is in.
	Groups string `yaml:"groups"`
	// Roles is a role the token claims.
	Roles string `yaml:"roles"`
	// Claims maps a claim's path to the value it must have, or hold.
	Claims map[string]string `yaml:"claims"`
}

// Methods is a list of HTTP methods, or any.
type Methods []string

// Any is what the word any stands for in Methods.
const Any = "*"

// UnmarshalText reads the word any, the only scalar that Methods may be.
func (m *Methods) UnmarshalText(text []byte) error {
	if string(text) != "any" {
		return errMethods
	}
	*m = Methods{Any}
	return nil
}
