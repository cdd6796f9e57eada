package config

import (
	"net/netip"
	"time"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/telemetry"
	"github.com/vaultspan/vaultspan/vault"
)

// Config is a whole vaultspan.yaml.
type Config struct {
	// Listen is the address callers connect to. Default: 127.0.0.1:8443.
	Listen string `yaml:"listen"`
	// URL is how callers reach us: scheme://host[:port]. It is never taken from
	// a Host header. Default: the listen address, when that is loopback.
	URL string `yaml:"url"`
	// TLS is the certificate callers see. Without it the listener speaks plain
	// HTTP/1.1, on loopback only.
	TLS TLS `yaml:"tls"`
	// InsecurePlaintextListen lets a listener without TLS be reached from beyond
	// loopback, for when something in front ends TLS. Tokens then travel in the
	// clear between the two. Default: false.
	InsecurePlaintextListen bool `yaml:"insecure_plaintext_listen"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed. Default:
	// none.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// Admin is where health and metrics are served.
	Admin Admin `yaml:"admin"`
	// ShutdownGrace is how long requests under way may take to end after a
	// signal; then they are cut. Default: 30s.
	ShutdownGrace time.Duration `yaml:"shutdown_grace"`

	// Issuers are the OpenID providers whose tokens are accepted.
	Issuers []authn.IssuerConfig `yaml:"issuers"`
	// Vaults are the machine accounts, one for each environment, by name.
	Vaults map[string]vault.Config `yaml:"vaults"`
	// FingerprintKey keys the fingerprints of secrets' versions: at least 16
	// random bytes, as openssl rand -hex 32 writes them, apart from audit.key.
	// Default: a random key for each start, so that fingerprints can be compared
	// only until a restart.
	FingerprintKey func() string `yaml:"fingerprint_key"`
	// Roles is the RBAC table.
	Roles map[string]policy.Role `yaml:"roles"`
	// Policy names the operator's own Rego modules.
	Policy policy.Config `yaml:"policy"`
	// Routes say which requests go where, wearing which credential.
	Routes []proxy.Route `yaml:"routes"`
	// Audit is the evidence. Required.
	Audit audit.Config `yaml:"audit"`
	// Telemetry is where traces, metrics and logs go.
	Telemetry telemetry.Config `yaml:"telemetry"`

	files    []string
	document *document
}

// TLS is a certificate and its key, PEM files. They are read again when they
// change.
type TLS struct {
	// Cert is the file of the certificate chain.
	Cert string `yaml:"cert"`
	// Key is the file of the private key.
	Key string `yaml:"key"`
}

// Admin is the listener for health and metrics.
type Admin struct {
	// Listen is its address. Default: 127.0.0.1:9443.
	Listen string `yaml:"listen"`
	// InsecureListen lets it be reached from beyond loopback: anyone there can
	// read metrics and readiness. Default: false.
	InsecureListen bool `yaml:"insecure_listen"`
}

// Files lists every file the configuration was made of, to watch.
func (c *Config) Files() []string { return c.files }

// Problem is a problem at a path of this configuration, such as
// vaults.prod.bitwarden, found after it was loaded.
func (c *Config) Problem(path, text string) Problems {
	d := *c.document
	d.problems = nil
	d.at(path, text)
	return d.problems
}
