package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// check lets every section check itself, then checks what no section sees alone.
func (c *Config) check(secretFiles map[string]string) {
	doc := c.doc()
	report := func(path, problem string) {
		// What follows from a value that could not be read is not news.
		if !slices.ContainsFunc(doc.broken, func(broken string) bool { return related(broken, path) }) {
			doc.problems = append(doc.problems, doc.problem(path, problem))
		}
	}
	c.checkSections(report)
	c.checkListeners(report)
	c.checkFiles(report)
	c.checkVaults(report)
	c.checkRoles(report)
	c.checkRoutes(report)
	c.checkPeople(report)
	c.checkKeys(secretFiles, report)
	c.checkSessions(report)
	c.checkAssertions(report)
}

// related says whether one path is the other, or above it.
func related(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	rest, ok := strings.CutPrefix(b, a)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// under reports at paths below a parent.
func under(parent string, report func(path, problem string)) func(path, problem string) {
	return func(path, problem string) {
		if path == "" || path[0] == '[' {
			report(parent+path, problem)
		} else {
			report(parent+"."+path, problem)
		}
	}
}

func (c *Config) checkSections(report func(path, problem string)) {
	for _, section := range []struct{ name, why string }{
		{"routes", "nothing would be served"},
		{"issuers", "nobody could prove who they are"},
		{"audit", "no request is forwarded without a record"},
	} {
		if section.name == "issuers" && !slices.ContainsFunc(c.Routes, func(r proxy.Route) bool { return !r.Allow.Open() }) {
			continue
		}
		if _, written := c.doc().places[section.name]; !written {
			report(section.name, "is missing: "+section.why)
		}
	}
	authn.Check(c.Issuers, under("issuers", report))
	for i, issuer := range c.Issuers {
		issuer.Check(under(fmt.Sprintf("issuers[%d]", i), report))
	}
	for name, v := range c.Vaults {
		if name == "" || strings.ContainsAny(name, "/ ") {
			report("vaults."+name, "a vault's name is the first part of vault/collection: use no slash and no space")
		}
		v.Check(under("vaults."+name, report))
	}
	for i, route := range c.Routes {
		route.Check(under(fmt.Sprintf("routes[%d]", i), report))
	}
	proxy.CheckConflicts(c.Routes, report)
	c.rules().Check(report)
	if _, written := c.doc().places["audit"]; written {
		c.Audit.Check(under("audit", report))
	}
	c.Telemetry.Check(under("telemetry", report))
}

// rules is what policy sees of the configuration.
func (c *Config) rules() policy.Rules {
	rules := policy.Rules{Roles: c.Roles, Config: c.Policy}
	for _, r := range c.Routes {
		input := policy.RouteInput{Name: r.Name}
		if !r.Allow.Open() {
			input.Allow = r.Allow
		}
		rules.Routes = append(rules.Routes, input)
	}
	return rules
}

// checkVaults keeps environments apart: two vaults on one access token would be
// two names for the same secrets. It is known by its id: a copy with another
// secret or key in it is that token spoilt. Whether two tokens are of one machine
// account is for `check --online` to ask.
func (c *Config) checkVaults(report func(path, problem string)) {
	holder := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(c.Vaults)) {
		id := c.Vaults[name].Bitwarden.TokenID()
		if id == "" {
			continue
		}
		if first, taken := holder[id]; taken {
			report("vaults."+name+".bitwarden.access_token", fmt.Sprintf("is also the access token of vault %s: give each vault a machine account of its own", first))
		} else {
			holder[id] = name
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Vaults)) {
		c.checkMaxAge(name, report)
	}
}

// checkMaxAge wants each age to be of something that a route wears: one that is
// of nothing, for a slip in its name, would limit nothing.
func (c *Config) checkMaxAge(name string, report func(path, problem string)) {
	var worn []string
	for _, r := range c.Routes {
		for _, secret := range r.Candidates() {
			if ref, err := vault.ParseReference(secret); err == nil && ref.Collection.Vault == name {
				worn = append(worn, ref.Collection.Name, ref.Collection.Name+"/"+ref.Name)
			}
		}
	}
	slices.Sort(worn)
	worn = slices.Compact(worn)
	for of := range c.Vaults[name].MaxAge {
		if !slices.Contains(worn, of) {
			report("vaults."+name+".max_age."+of, missing("route's collection or secret", of, worn))
		}
	}
}

func (c *Config) checkRoles(report func(path, problem string)) {
	issuers := make([]string, len(c.Issuers))
	for i, issuer := range c.Issuers {
		issuers[i] = issuer.Name
	}
	for name, role := range c.Roles {
		for i, member := range role.Members {
			if member.Issuer != "" && !slices.Contains(issuers, member.Issuer) {
				report(fmt.Sprintf("roles.%s.members[%d].issuer", name, i), missing("issuer", member.Issuer, issuers))
			}
		}
		for collection := range role.Collections {
			if v, _, ok := strings.Cut(collection, "/"); ok && !has(c.Vaults, v) {
				report("roles."+name+".collections."+collection, missing("vault", v, slices.Sorted(maps.Keys(c.Vaults))))
			}
		}
		c.checkSpan(role, under("roles."+name, report))
	}
}

// checkSpan wants a role to reach one environment, or to say that it does not.
func (c *Config) checkSpan(role policy.Role, report func(path, problem string)) {
	named := make(map[string]bool)
	for collection := range role.Collections {
		v, _, _ := strings.Cut(collection, "/")
		named[v] = true
	}
	known := slices.DeleteFunc(slices.Sorted(maps.Keys(named)), func(v string) bool { return !has(c.Vaults, v) })
	switch {
	case len(known) > 1 && !role.Spans:
		report("collections", "reaches the vaults "+strings.Join(known, " and ")+", which are kept apart: make a role for each, or say spans: true if one is meant to reach them all")
	case len(named) < 2 && role.Spans:
		report("spans", "spans: true is for a role that reaches more than one vault: remove it, or it would let in the next one unnoticed")
	}
}

func (c *Config) checkRoutes(report func(path, problem string)) {
	for i, route := range c.Routes {
		at := fmt.Sprintf("routes[%d].", i)
		if route.Allow != nil && len(route.Allow) == 0 {
			report(at+"allow", "an empty list grants nothing: name a role, or remove the key")
		}
		if destination, err := route.Destination(); err == nil {
			c.checkLoop(destination, at+"upstream", report)
		}
		if tokens := route.Inject.TokenEndpoint(); tokens.URL != nil {
			c.checkLoop(tokens.Destination(), at+"inject."+tokens.Key, report)
		}
		c.checkCandidates(route, under(strings.TrimSuffix(at, "."), report))
	}
}

// checkKeys keeps the keys of the evidence apart from it, and from each other.
func (c *Config) checkKeys(secretFiles map[string]string, report func(path, problem string)) {
	if file := secretFiles["audit.key"]; file != "" && c.Audit.Dir != "" && inside(c.Audit.Dir, file) {
		report("audit.key", "the key lies in the directory that it signs: whoever can change the log could sign the change; move it elsewhere")
	}
	if c.FingerprintKey == nil {
		return
	}
	if len(c.FingerprintKey()) < 16 {
		report("fingerprint_key", "too short: values could be guessed from their fingerprints; make 16 bytes or more, such as with openssl rand -hex 32")
	}
	if c.Audit.Key != nil && c.Audit.Key() == c.FingerprintKey() {
		report("fingerprint_key", "is the audit log's signing key: make another, such as with openssl rand -hex 32")
	}
}

// inside says whether a file is below a directory, links followed where they
// exist.
func inside(dir, file string) bool {
	resolve := func(name string) string {
		if real, err := filepath.EvalSymlinks(name); err == nil {
			return real
		}
		return name
	}
	rel, err := filepath.Rel(resolve(dir), resolve(file))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func has[V any](m map[string]V, key string) bool {
	_, ok := m[key]
	return ok
}

// missing says that a name refers to nothing, and what there is.
func missing(kind, name string, known []string) string {
	text := fmt.Sprintf("there is no %s %q", kind, name)
	if close := closest(name, known); close != "" {
		return text + ": did you mean " + close + "?"
	}
	if len(known) == 0 {
		return text + ": define it first"
	}
	return text + ": there is " + strings.Join(known, ", ")
}
