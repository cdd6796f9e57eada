package devidp

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Config is a provider to be. The zero Config is the default cast at an issuer
// that Start chooses.
type Config struct {
	// Issuer is the issuer URL: http on a loopback address. New requires it;
	// Start listens on its address, by default on a free port of 127.0.0.1.
	Issuer string
	// People can log in. Default, when Clients is empty too: Cast.
	People []Person
	// Clients are the applications, workloads and agents.
	Clients []Client
	// Audience is the aud of every access token. Default: vaultspan.
	Audience string
	// Lifetime is how long tokens are good for. Default: 1h.
	Lifetime time.Duration
	// Algorithm signs the tokens: ES256, RS256, PS256 or EdDSA. Default: ES256.
	Algorithm jose.SignatureAlgorithm
	// RootCAs verify the clients that are told of logouts by https. Default: the
	// system's.
	RootCAs *x509.CertPool
	// Now is the clock of access tokens and of Claims; ID tokens follow the
	// machine's. Default: time.Now.
	Now func() time.Time
}

// Person is somebody who logs in by clicking their name.
type Person struct {
	Subject string
	Name    string
	Email   string
	// Unverified makes email_verified false.
	Unverified bool
	Groups     []string
	// Roles are the realm_access.roles claim.
	Roles []string
	// Claims are further claims of this person's tokens.
	Claims map[string]any
}

// Client is an application, a workload or an agent.
type Client struct {
	ID string
	// Secret, when set, lets the client ask for tokens of its own (client
	// credentials). A client without one is public.
	Secret func() string
	// RedirectURIs, when given, let people log in to the client. A public
	// client's loopback URI matches with any port (RFC 8252 section 7.3).
	RedirectURIs []string
	// PostLogoutRedirectURIs, when given, let a logout at the end_session endpoint
	// lead back to the client. They are compared like RedirectURIs.
	PostLogoutRedirectURIs []string
	// BackChannelLogoutURI, when given, is told when somebody who logged in to the
	// client signs out here (OpenID Connect Back-Channel Logout). It is on loopback.
	BackChannelLogoutURI string
	// ActsFor names the people this client may exchange tokens of, to act for
	// them (RFC 8693).
	ActsFor []string
	// Groups, Roles and Claims describe the client in tokens of its own.
	Groups []string
	Roles  []string
	Claims map[string]any
}

// Cast returns the people and clients of the demo and of the attack cases:
// alice (dev, payments), carol (pay) and mallory (none); ci-deployer, a
// workload; agent-1, which may act for alice, and agent-2, which may not; cli,
// a public client that people log in to; and vaultspan, a confidential one. The
// secret of a confidential client is its id followed by -dev-secret. Workloads
// and agents say so in the claim kind.
func Cast() ([]Person, []Client) {
	people := []Person{
		{Subject: "alice", Name: "Alice Ames", Email: "alice@example.com", Groups: []string{"dev", "payments"}, Roles: []string{"engineer"}},
		{Subject: "carol", Name: "Carol Cruz", Email: "carol@example.com", Groups: []string{"pay"}, Roles: []string{"accountant"}},
		{Subject: "mallory", Name: "Mallory Moss", Email: "mallory@example.com", Unverified: true},
	}
	callback := []string{"http://127.0.0.1/callback"}
	clients := []Client{
		{ID: "cli", RedirectURIs: callback},
		{ID: "vaultspan", Secret: secretOf("vaultspan"), RedirectURIs: callback},
		{ID: "ci-deployer", Secret: secretOf("ci-deployer"), Groups: []string{"ci"}, Claims: map[string]any{"kind": "workload"}},
		{ID: "agent-1", Secret: secretOf("agent-1"), ActsFor: []string{"alice"}, Groups: []string{"agents"}, Claims: map[string]any{"kind": "agent"}},
		{ID: "agent-2", Secret: secretOf("agent-2"), Groups: []string{"agents"}, Claims: map[string]any{"kind": "agent"}},
	}
	return people, clients
}

func secretOf(id string) func() string { return func() string { return id + "-dev-secret" } }

func (c Config) withDefaults() Config {
	if len(c.People) == 0 && len(c.Clients) == 0 {
		c.People, c.Clients = Cast()
	}
	c.Audience = cmp.Or(c.Audience, "vaultspan")
	c.Lifetime = cmp.Or(c.Lifetime, time.Hour)
	c.Algorithm = cmp.Or(c.Algorithm, jose.ES256)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func (c Config) check() error {
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Scheme != "http" || !loopback(u.Host) || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return errors.New("issuer must be http://ADDRESS:PORT on loopback: this provider lets anyone be anyone")
	}
	seen := map[string]bool{}
	known := func(name string) error {
		// The library joins a token's id and its subject with a colon.
		if name == "" || strings.Contains(name, ":") || seen[name] {
			return fmt.Errorf("%q: people and clients need names of their own, without a colon", name)
		}
		seen[name] = true
		return nil
	}
	for _, p := range c.People {
		err = errors.Join(err, known(p.Subject))
	}
	for _, cl := range c.Clients {
		err = errors.Join(err, known(cl.ID), checkBackChannel(cl))
	}
	for _, cl := range c.Clients {
		for _, name := range cl.ActsFor {
			if !seen[name] {
				err = errors.Join(err, fmt.Errorf("client %s acts for %q, who is nobody", cl.ID, name))
			}
		}
	}
	return err
}

// loopback reports whether an address, with or without a port, is this machine's
// own: an IP address of it, or localhost.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
