package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
)

// check reports what is wrong: each section by itself, in the words of the
// package that owns it, and then what one section says of another.
func (c *Config) check() {
	under := func(path string) func(string, string) {
		return func(rest, text string) {
			switch {
			case rest == "":
				c.document.at(path, text)
			case path == "" || strings.HasPrefix(rest, "["):
				c.document.at(path+rest, text)
			default:
				c.document.at(join(path, rest), text)
			}
		}
	}
	c.checkListeners()
	authn.Check(c.Issuers, under("issuers"))
	for _, name := range slices.Sorted(maps.Keys(c.Vaults)) {
		c.Vaults[name].Check(under(join("vaults", name)))
	}
	policy.Rules{Roles: c.Roles, Config: c.Policy}.Check(under(""))
	for i, r := range c.Routes {
		r.Check(under(fmt.Sprintf("routes[%d]", i)))
	}
	proxy.CheckConflicts(c.Routes, under(""))
	c.Audit.Check(under("audit"))
	c.Telemetry.Check(under("telemetry"))
	if c.FingerprintKey != nil && len(c.FingerprintKey()) < 16 {
		c.document.at("fingerprint_key", "too short to be a key: write 16 random bytes or more, such as openssl rand -hex 32 makes")
	}
	c.checkFiles()
	c.checkPresence()
	c.checkReferences()
	c.checkVaults()
}

// checkPresence reports what nothing works without. There is no default
// issuer, route or key.
func (c *Config) checkPresence() {
	if len(c.Routes) == 0 {
		c.document.at("routes", "there is no route: nothing would be served")
	}
	needsIssuer := slices.ContainsFunc(c.Routes, func(r proxy.Route) bool { return !r.Allow.Open() })
	if len(c.Issuers) == 0 && needsIssuer {
		c.document.at("issuers", "there is no issuer, so nobody can sign in: name an OpenID provider")
	}
}

// checkListeners reports addresses that would expose what they should not.
func (c *Config) checkListeners() {
	at := c.document.at
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		at("tls", "a certificate needs both cert and key")
	}
	loopback, err := isLoopback(c.Listen)
	switch {
	case err != nil:
		at("listen", err.Error())
	case !loopback && c.TLS.Cert == "" && !c.InsecurePlaintextListen:
		at("listen", "tokens would travel in the clear: add tls: {cert: …, key: …}, or listen on loopback (insecure_plaintext_listen: true if something in front ends TLS)")
	case !loopback && c.URL == "":
		at("listen", "url is needed when the listener is not on loopback: it says which host callers use")
	}
	if loopback, err := isLoopback(c.Admin.Listen); err != nil {
		at("admin.listen", err.Error())
	} else if !loopback && !c.Admin.InsecureListen {
		at("admin.listen", "health and metrics would be open to the network: listen on loopback (insecure_listen: true if that is meant)")
	}
	if c.Admin.Listen == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
		at("admin.listen", "is the same address as listen: give it another port")
	}
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			at("url", "want scheme://host[:port], as callers write it")
		} else if host, _ := isLoopback(net.JoinHostPort(u.Hostname(), "1")); u.Scheme == "http" && !host && !c.InsecurePlaintextListen {
			at("url", "callers would send tokens in the clear: write https")
		}
	}
	for i, p := range c.TrustedProxies {
		if p.Bits() == 0 {
			at(fmt.Sprintf("trusted_proxies[%d]", i), "would believe everybody: name the networks of your own proxies")
		} else if p.Masked() != p {
			at(fmt.Sprintf("trusted_proxies[%d]", i), fmt.Sprintf("has bits behind the mask: write %s", p.Masked()))
		}
	}
}

// checkReferences reports names that one section uses and another does not
// have, with the likeliest one.
func (c *Config) checkReferences() {
	at := c.document.at
	issuers := map[string]bool{}
	for _, i := range c.Issuers {
		issuers[i.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(c.Roles)) {
		role := c.Roles[name]
		for i, m := range role.Members {
			if m.Issuer != "" && !issuers[m.Issuer] {
				at(fmt.Sprintf("roles.%s.members[%d].issuer", name, i), unknown("issuer", m.Issuer, issuers))
			}
		}
		for _, collection := range slices.Sorted(maps.Keys(role.Collections)) {
			v, _, _ := strings.Cut(collection, "/")
			if _, ok := c.Vaults[v]; !ok {
				at(join("roles."+name+".collections", collection), unknown("vault", v, c.Vaults))
			}
		}
	}
	for i, r := range c.Routes {
		path := fmt.Sprintf("routes[%d]", i)
		for j, role := range r.Allow {
			if _, ok := c.Roles[role]; !ok && !r.Allow.Open() {
				at(fmt.Sprintf("%s.allow[%d]", path, j), unknown("role", role, c.Roles))
			}
		}
		if r.Secret != "" {
			c.checkSecret(path, r.Secret)
		}
		c.checkSelf(path, r.Upstream)
	}
}

// checkSecret reports a secret that nobody could reach.
func (c *Config) checkSecret(path, secret string) {
	v, _, _ := strings.Cut(secret, "/")
	if _, ok := c.Vaults[v]; !ok {
		c.document.at(path+".secret", unknown("vault", v, c.Vaults))
		return
	}
	if c.Policy.Replace != "" || strings.Count(secret, "/") < 2 {
		return
	}
	collection := secret[:strings.LastIndexByte(secret, '/')]
	for _, role := range c.Roles {
		if _, ok := role.Collections[collection]; ok {
			return
		}
	}
	c.document.at(path+".secret", fmt.Sprintf("no role reaches %s, so nobody could use this route: add it to a role's collections", collection))
}

// checkSelf reports a route that leads back to us: to the admin's pages, or in
// a circle.
func (c *Config) checkSelf(path, upstream string) {
	u, err := url.Parse(upstream)
	if err != nil || u.Host == "" {
		return // reported by the route itself
	}
	for setting, listen := range map[string]string{"listen": c.Listen, "admin.listen": c.Admin.Listen} {
		host, port, err := net.SplitHostPort(listen)
		if err != nil || port == "0" || u.Port() != port {
			continue
		}
		mine, _ := isLoopback(net.JoinHostPort(u.Hostname(), "1"))
		if strings.EqualFold(u.Hostname(), host) || mine {
			c.document.at(path+".upstream", "leads back to our own "+setting)
		}
	}
}

// checkVaults reports vaults that are not apart.
func (c *Config) checkVaults() {
	owner := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Vaults)) {
		token := c.Vaults[name].Bitwarden.AccessToken
		if token == nil {
			continue
		}
		if first, ok := owner[token()]; ok {
			c.document.at("vaults."+name+".bitwarden.access_token", fmt.Sprintf("is the same machine account as vault %s: give each environment one of its own", first))
			continue
		}
		owner[token()] = name
	}
}

// checkFiles reports files that are missing, and an audit key beside the log it
// signs.
func (c *Config) checkFiles() {
	d := c.document
	files := map[string]string{"tls.cert": c.TLS.Cert, "tls.key": c.TLS.Key, "telemetry.otlp.ca": c.Telemetry.OTLP.CA}
	for i, issuer := range c.Issuers {
		files[fmt.Sprintf("issuers[%d].ca", i)] = issuer.CA
	}
	for i, r := range c.Routes {
		files[fmt.Sprintf("routes[%d].upstream_tls.ca", i)] = r.UpstreamTLS.CA
	}
	for name, v := range c.Vaults {
		files["vaults."+name+".bitwarden.ca"] = v.Bitwarden.CA
	}
	for path, name := range files {
		if name == "" {
			continue
		}
		if f, err := os.Open(name); err != nil {
			d.at(path, "cannot read "+name+": "+reason(err))
		} else {
			f.Close()
		}
	}
	key := d.nodes["audit.key"]
	if key == nil || c.Audit.Dir == "" {
		return
	}
	if m := reference.FindStringSubmatch(key.Value); m != nil && m[1] == "file" {
		if rel, err := filepath.Rel(c.Audit.Dir, d.abs(m[2])); err == nil && filepath.IsLocal(rel) {
			d.at("audit.key", "the key lies in the directory it vouches for: whoever can change the log could sign the change. Move it elsewhere")
		}
	}
}

// unknown says that a name is not there, and which one may be meant.
func unknown[V any](kind, name string, known map[string]V) string {
	text := fmt.Sprintf("there is no %s %q", kind, name)
	if near := nearest(name, known); near != "" {
		return text + ": did you mean " + near + "?"
	}
	if len(known) == 0 {
		return text + ": none is configured"
	}
	return text + ": there is " + strings.Join(sortedKeys(known), ", ")
}

// isLoopback says whether an address to listen on is reached from this machine
// only.
func isLoopback(address string) (bool, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return false, fmt.Errorf("%q is not an address: want host:port, such as 127.0.0.1:8443", address)
	}
	if host == "localhost" {
		return true, nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil && host != "" {
		return false, nil // a name, of any address
	}
	return addr.IsLoopback(), nil
}

// reason is why a file cannot be read, without the path that the text has
// already.
func reason(err error) string {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err.Error()
	}
	return err.Error()
}
