package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/proxy"
)

// pathName is an issuer's name that is spelled in one way in a URL.
var pathName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

// HasPeople says whether people log in on some route.
func (c *Config) HasPeople() bool {
	return slices.ContainsFunc(c.Routes, func(r proxy.Route) bool { return r.Session })
}

// SessionHosts are the hosts that people log in on, besides url's own.
func (c *Config) SessionHosts() []string {
	var hosts []string
	for _, r := range c.Routes {
		for _, pattern := range r.Match {
			if host, _, _ := strings.Cut(pattern, "/"); r.Session && host != "" {
				hosts = append(hosts, host)
			}
		}
	}
	slices.Sort(hosts)
	own := ""
	if u, err := url.Parse(c.URL); err == nil {
		own = strings.ToLower(u.Hostname())
	}
	return slices.DeleteFunc(slices.Compact(hosts), func(host string) bool { return host == own })
}

// checkSessions reports what people need to log in, where they may.
func (c *Config) checkSessions(report func(path, problem string)) {
	c.Sessions.Check(under("sessions", report))
	first := slices.IndexFunc(c.Routes, func(r proxy.Route) bool { return r.Session })
	if first < 0 {
		return
	}
	at := fmt.Sprintf("routes[%d].session", first)
	logins := slices.DeleteFunc(slices.Clone(c.Issuers), func(i authn.IssuerConfig) bool { return i.Login.ClientID == "" })
	if len(logins) == 0 {
		report(at, "there is no issuer to log in at: add login: {client_id: …} to one")
	}
	for i, issuer := range c.Issuers {
		if len(logins) > 1 && issuer.Login.ClientID != "" && issuer.Name != "" && !pathName.MatchString(issuer.Name) {
			report(fmt.Sprintf("issuers[%d].name", i), "is in its redirect URI, where people log in at several issuers: use letters, digits and hyphens")
		}
	}
	if c.Sessions.Key == nil {
		c.reportKey("sessions", "session.key", at, report)
	} else if sharesKey(c.Sessions.Key, c.Audit.Key, c.FingerprintKey) {
		report("sessions.key", "is also the key of audit or fingerprint_key: make one of its own with openssl rand -hex 32")
	}
	c.checkHosts(report)
}

const overTLS = "people log in over TLS only: browsers keep our cookies for https, and for loopback"

// checkHosts wants https where people log in from elsewhere than this machine.
func (c *Config) checkHosts(report func(path, problem string)) {
	public, err := url.Parse(c.URL)
	if err != nil || public.Scheme == "https" || c.URL == "" && c.TLS.Cert != "" {
		return
	}
	if c.URL != "" && !loopback(public.Hostname()) {
		report("url", overTLS)
		return
	}
	for i, r := range c.Routes {
		for j, pattern := range r.Match {
			host, _, _ := strings.Cut(pattern, "/")
			if r.Session && host != "" && !loopback(host) && !strings.HasSuffix(host, ".localhost") {
				report(fmt.Sprintf("routes[%d].match[%d]", i, j), overTLS+"; write url: https://…")
			}
		}
	}
}

// sharesKey says whether a line of a key file is also in one of the others.
func sharesKey(key func() string, others ...func() string) bool {
	lines := func(key func() string) []string {
		if key == nil {
			return nil
		}
		return strings.Fields(strings.ToLower(key()))
	}
	own := lines(key)
	return slices.ContainsFunc(others, func(other func() string) bool {
		return slices.ContainsFunc(lines(other), func(line string) bool { return slices.Contains(own, line) })
	})
}

// reportKey reports that a section has no key: there, or else at the setting that
// wants it.
func (c *Config) reportKey(section, file, wanted string, report func(path, problem string)) {
	how := fmt.Sprintf("make one with openssl rand -hex 32 > %s, and write ", file)
	if _, written := c.doc().places[section]; written {
		report(section+".key", fmt.Sprintf("is missing: %skey: \"${file:%s}\"", how, file))
	} else {
		report(wanted, fmt.Sprintf("needs a key: %s%s: {key: \"${file:%s}\"}", how, section, file))
	}
}

// advise says what works, but not well.
func (c *Config) advise() Problems {
	var all Problems
	warn := func(path, problem string) { all = append(all, c.doc().problem(path, problem)) }
	if ratio, ok := c.Sessions.Theme.Contrast(); ok && ratio < 4.5 {
		warn("sessions.theme.colour", fmt.Sprintf("is hard to read white on: the contrast is %.1f to 1, and WCAG asks for 4.5; choose a darker one", ratio))
	}
	if c.Sessions.Redis != nil {
		if u, err := url.Parse(c.Sessions.Redis()); err == nil && u.Scheme == "redis" && !loopback(u.Hostname()) {
			warn("sessions.redis", "is not TLS: whoever is on the way reads the password, and can end sessions or bring them back; write rediss://")
		}
	}
	return all
}
