package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/vault"
)

// named is a secret that a route names.
type named struct {
	at, route, secret string
	collection        string
	template          vault.Template
}

// checkPeople keeps callers from the secrets of others, where a name is made of
// what their issuers say of them.
func (c *Config) checkPeople(report func(path, problem string)) {
	var all []named
	for i, route := range c.Routes {
		for j, secret := range route.Candidates() {
			ref, err := vault.ParseReference(secret)
			if err != nil {
				continue // the route says so
			}
			template, _ := vault.ParseTemplate(ref.Name) // read as part of it
			all = append(all, named{fmt.Sprintf("routes[%d].%s", i, route.CandidateAt(j)), route.Name, secret, ref.Collection.String(), template})
		}
	}
	for i, own := range all {
		if len(own.template.Places()) == 0 {
			continue
		}
		c.checkIssuers(own, report)
		for j, other := range all {
			personal := len(other.template.Places()) > 0
			if other.collection != own.collection || other.secret == own.secret || personal && j > i || !own.template.Overlaps(other.template) {
				continue
			}
			report(own.at, fmt.Sprintf("could name for some caller what %s of route %q names: begin the names differently, or keep callers' own secrets in a collection of their own", other.secret, other.route))
		}
	}
}

// checkIssuers wants the issuer in a name that callers of several may ask for: a
// subject, an email and a claim are one caller's only within one issuer.
func (c *Config) checkIssuers(own named, report func(path, problem string)) {
	if slices.Contains(own.template.Places(), "issuer") {
		return
	}
	issuers := make(map[string]bool)
	for _, role := range c.Roles {
		if !has(role.Collections, own.collection) {
			continue
		}
		for _, m := range role.Members {
			issuers[m.Issuer] = true
		}
	}
	if c.Policy.Replace != "" { // it may let anybody reach it
		for _, issuer := range c.Issuers {
			issuers[issuer.Name] = true
		}
	}
	if len(issuers) > 1 {
		name := own.secret[len(own.collection)+1:]
		report(own.at, fmt.Sprintf("callers of %s may use %s, and what one issuer says of its caller another may say of its own: write the issuer's name into it, such as {issuer}:%s",
			strings.Join(slices.Sorted(maps.Keys(issuers)), " and "), own.collection, name))
	}
}
