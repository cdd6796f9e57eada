package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/authn/session"
	"github.com/vaultspan/vaultspan/policy"
)

// complete fills in the defaults that other sections are checked against, and
// makes file names absolute.
func (c *Config) complete(dir string) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8443"
	}
	if c.Admin.Listen == "" {
		c.Admin.Listen = "127.0.0.1:9443"
	}
	if c.Sessions.SQLite == "" && c.Sessions.Redis == nil && c.Audit.Dir != "" && c.HasPeople() {
		c.Sessions.SQLite = filepath.Join(filepath.Dir(absolute(dir, c.Audit.Dir)), "sessions.db")
	}
	names := []*string{&c.Sessions.SQLite, &c.Sessions.RedisCA, &c.Sessions.Theme.Logo, &c.Admin.Socket, &c.TLS.Cert, &c.TLS.Key, &c.Policy.Replace, &c.Audit.Dir, &c.Telemetry.OTLP.CA}
	for i := range c.Issuers {
		names = append(names, &c.Issuers[i].CA)
	}
	for i := range c.Routes {
		names = append(names, &c.Routes[i].UpstreamTLS.CA, c.Routes[i].Inject.TokenCA())
	}
	for i := range c.Policy.Deny {
		names = append(names, &c.Policy.Deny[i])
	}
	for name, v := range c.Vaults {
		if v.Bitwarden.CA != "" {
			v.Bitwarden.CA = absolute(dir, v.Bitwarden.CA)
			c.Vaults[name] = v
		}
	}
	for _, name := range names {
		if *name != "" {
			*name = absolute(dir, *name)
		}
	}
}

// checkFiles reports the files that cannot be used, and remembers all of them.
func (c *Config) checkFiles(report func(path, problem string)) {
	c.checkAuthorities("telemetry.otlp.ca", c.Telemetry.OTLP.CA, report)
	c.checkAuthorities("sessions.redis_ca", c.Sessions.RedisCA, report)
	for i, issuer := range c.Issuers {
		c.checkAuthorities(fmt.Sprintf("issuers[%d].ca", i), issuer.CA, report)
	}
	for i, route := range c.Routes {
		c.checkAuthorities(fmt.Sprintf("routes[%d].upstream_tls.ca", i), route.UpstreamTLS.CA, report)
		tokens := route.Inject.TokenEndpoint()
		kind, _, _ := strings.Cut(tokens.Key, ".")
		c.checkAuthorities(fmt.Sprintf("routes[%d].inject.%s.ca", i, kind), tokens.CA, report)
	}
	for name, v := range c.Vaults {
		c.checkAuthorities("vaults."+name+".bitwarden.ca", v.Bitwarden.CA, report)
	}
	if logo := c.Sessions.Theme.Logo; logo != "" {
		c.files = append(c.files, logo)
		if _, err := readFile(logo, session.MaxLogo); err != nil {
			report("sessions.theme.logo", filepath.Base(logo)+": "+err.Error())
		}
	}
	c.checkCertificate(report)

	deny, replace, err := c.Policy.Files()
	c.files = append(append(c.files, deny...), replace...)
	if found, ok := errors.AsType[policy.Problems](err); ok {
		for _, p := range found {
			path := "policy.replace"
			if i := slices.Index(c.Policy.Deny, p.File); i >= 0 {
				if _, err := filepath.Match(p.File, ""); err != nil {
					continue // policy.Config.Check has said why
				}
				path = fmt.Sprintf("policy.deny[%d]", i)
			}
			report(path, p.Text)
		}
	}
}

// checkAuthorities wants a PEM file with at least one certificate.
func (c *Config) checkAuthorities(path, name string, report func(path, problem string)) {
	if name == "" {
		return
	}
	c.files = append(c.files, name)
	text, err := readFile(name, maxFile)
	if err != nil {
		report(path, filepath.Base(name)+": "+err.Error())
	} else if !x509.NewCertPool().AppendCertsFromPEM(text) {
		report(path, filepath.Base(name)+": holds no certificate in PEM form")
	}
}

// checkCertificate wants a certificate and the key that belongs to it.
func (c *Config) checkCertificate(report func(path, problem string)) {
	cert, key := c.TLS.Cert, c.TLS.Key
	switch {
	case cert == "" && key == "":
		return
	case cert == "":
		report("tls", "cert is missing: a key needs its certificate")
		return
	case key == "":
		report("tls", "key is missing: a certificate needs its private key")
		return
	}
	c.files = append(c.files, cert, key)
	certText, err := readFile(cert, maxFile)
	if err != nil {
		report("tls.cert", filepath.Base(cert)+": "+err.Error())
	}
	keyText, keyErr := readFile(key, maxFile)
	if keyErr != nil {
		report("tls.key", filepath.Base(key)+": "+keyErr.Error())
	}
	if err != nil || keyErr != nil {
		return
	}
	if _, err := tls.X509KeyPair(certText, keyText); err != nil {
		report("tls", strings.TrimPrefix(err.Error(), "tls: "))
	}
}
