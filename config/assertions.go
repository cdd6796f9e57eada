package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// checkAssertions reports what is missing to tell upstreams who is calling, and
// where they could take one caller for another.
func (c *Config) checkAssertions(report func(path, problem string)) {
	c.Assertions.Check(under("assertions", report))
	first := slices.IndexFunc(c.Routes, func(r proxy.Route) bool { return r.Assertion })
	asserting := first >= 0
	if asserting && c.Assertions.Key == nil {
		c.reportKey("assertions", "assertion.key", fmt.Sprintf("routes[%d].assertion", first), report)
	}
	if sharesKey(c.Assertions.Key, c.Audit.Key, c.FingerprintKey, c.Sessions.Key) {
		report("assertions.key", "is also the key of audit, sessions or fingerprint_key: make one of its own with openssl rand -hex 32")
	}
	naming := asserting
	for i, r := range c.Routes {
		words := slices.Collect(maps.Values(r.IdentityHeaders))
		has := func(some ...string) bool {
			return slices.ContainsFunc(words, func(word string) bool { return slices.Contains(some, word) })
		}
		naming = naming || has("id", "actor")
		if issuers := c.callersOf(r); len(issuers) > 1 && has("subject", "email", "groups") && !has("id", "issuer") {
			report(fmt.Sprintf("routes[%d].identity_headers", i), fmt.Sprintf("callers of %s may use the route, and what one issuer says of its caller another may say of its own: tell id or issuer too, such as X-User-Id: id",
				strings.Join(issuers, " and ")))
		}
	}
	for i, issuer := range c.Issuers {
		if naming && strings.Contains(issuer.Name, ":") {
			report(fmt.Sprintf("issuers[%d].name", i), "has a colon: upstreams are told issuer:subject, and could not tell where one ends")
		}
	}
}

// callersOf are the issuers whose callers may use a route.
func (c *Config) callersOf(r proxy.Route) []string {
	issuers := make(map[string]bool)
	for name, role := range c.Roles {
		reaches := slices.ContainsFunc(r.Candidates(), func(secret string) bool {
			ref, err := vault.ParseReference(secret)
			return err == nil && has(role.Collections, ref.Collection.String())
		})
		if !reaches && !slices.Contains(r.Allow, name) {
			continue
		}
		for _, m := range role.Members {
			issuers[m.Issuer] = true
		}
	}
	if c.Policy.Replace != "" { // it may let in anybody
		for _, issuer := range c.Issuers {
			issuers[issuer.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(issuers))
}
