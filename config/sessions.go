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
		report("sessions.key", "is missing: make one with openssl rand -hex 32 > session.key, and write key: \"${file:session.key}\"")
	} else if sharesKey(c.Sessions.Key, c.Audit.Key, c.FingerprintKey) {
		report("sessions.key", "is another key too: make one of its own with openssl rand -hex 32")
	}
	if u, err := url.Parse(c.URL); c.URL != "" && err == nil && u.Scheme != "https" && !loopback(u.Hostname()) {
		report("url", "people log in over TLS only: browsers keep our cookies for https, and for loopback")
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
