package policy

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// kinds are what an issuer may say a caller is.
var kinds = []string{"human", "workload", "agent"}

// Check reports every problem of the roles, of the routes as policy sees them,
// and of the policy section. It reads no file.
func (r Rules) Check(report func(path, problem string)) {
	for _, name := range slices.Sorted(maps.Keys(r.Roles)) {
		path := "roles." + name
		if problem := roleName(name); problem != "" {
			report(path, problem)
		}
		r.Roles[name].Check(under(path, report))
	}
	for i, route := range r.Routes {
		if slices.Equal(route.Allow, []string{Any}) {
			continue // open to anyone: nothing is decided
		}
		for j, name := range route.Allow {
			if _, ok := r.Roles[name]; !ok {
				report(fmt.Sprintf("routes[%d].allow[%d]", i, j),
					fmt.Sprintf("route %q allows role %q, which does not exist: define it under roles, or correct the name", route.Name, name))
			}
		}
	}
	r.Config.Check(under("policy", report))
}

// roleName keeps role names to characters that look like themselves: a role
// with a Kelvin sign for a K would fold to one it is not.
func roleName(name string) string {
	switch {
	case name == "anyone":
		return "anyone is the word that opens a route, not a role: choose another name"
	case name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:@") != "":
		return fmt.Sprintf("role name %q: use letters, digits and . _ - : @ only", name)
	}
	return ""
}

// Check reports every problem of one role.
func (r Role) Check(report func(path, problem string)) {
	if len(r.Members) == 0 {
		report("members", "an empty list grants nothing: name who has the role, or remove the role")
	}
	for i, m := range r.Members {
		m.Check(under(fmt.Sprintf("members[%d]", i), report))
	}
	// A role without the key is for routes that allow it by name; an empty list
	// looks like a grant and is none.
	if r.Collections != nil && len(r.Collections) == 0 {
		report("collections", "an empty list grants nothing: name a collection, or remove the key")
	}
	for _, collection := range slices.Sorted(maps.Keys(r.Collections)) {
		path := "collections." + collection
		if problem := collectionKey(collection); problem != "" {
			report(path, problem)
		}
		r.Collections[collection].Check(under(path, report))
	}
}

// collectionKey wants exactly vault/collection. It is compared, never expanded:
// a wildcard or a template that looks like one would grant nothing, silently.
func collectionKey(key string) string {
	vault, collection, ok := strings.Cut(key, "/")
	switch {
	case !ok || vault == "" || collection == "" || strings.Contains(collection, "/"):
		return fmt.Sprintf("collection %q: want vault/collection, two parts", key)
	case strings.TrimSpace(vault) != vault || strings.TrimSpace(collection) != collection || strings.ContainsFunc(key, isControl):
		return fmt.Sprintf("collection %q: no surrounding spaces or control characters", key)
	case vault == "*" || collection == "*" || strings.ContainsAny(key, "{}"):
		return fmt.Sprintf("collection %q: there are no wildcards and no templates: name each collection", key)
	}
	return ""
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// Check reports every problem of one member.
func (m Member) Check(report func(path, problem string)) {
	if m.Issuer == "" {
		report("issuer", "missing: a subject or group means nothing without its issuer")
	}
	alone := m.Subject == "" && m.Kind == "" && m.Email == "" && m.Groups == "" && m.Roles == "" && len(m.Claims) == 0
	switch {
	case alone && !m.Anyone:
		report("", "the issuer alone is everyone it ever vouches for: add subject, kind, email, groups, roles or claims, or say anyone: true")
	case !alone && m.Anyone:
		report("anyone", "anyone: true stands alone with issuer: remove it, or remove the other fields")
	}
	if m.Kind != "" && !slices.Contains(kinds, m.Kind) {
		report("kind", fmt.Sprintf("%q is no kind: want human, workload or agent", m.Kind))
	}
	for _, path := range slices.Sorted(maps.Keys(m.Claims)) {
		if path == "" || m.Claims[path] == "" {
			report("claims."+path, "want a claim's path and the value it must have, neither empty")
		}
	}
}

// Check reports every problem of a list of methods.
func (m Methods) Check(report func(path, problem string)) {
	if len(m) == 0 {
		report("", "an empty list grants nothing: remove it, or write any")
	}
	for i, method := range m {
		path := fmt.Sprintf("[%d]", i)
		switch {
		case method == Any && len(m) == 1:
		case method == Any || strings.EqualFold(method, "any"):
			report(path, "any stands alone: write it instead of the list")
		case method == "CONNECT" || method == "TRACE":
			report(path, method+" is never forwarded: remove it")
		case method == "" || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'+-.^_`|~") != "":
			report(path, fmt.Sprintf("%q is no method: methods are compared exactly, and written in upper case", method))
		case slices.Index(m, method) < i:
			report(path, method+" is listed twice: remove one")
		}
	}
}

// Check reports every problem of the policy section.
func (c Config) Check(report func(path, problem string)) {
	for i, pattern := range c.Deny {
		if _, err := filepath.Match(pattern, ""); err != nil || pattern == "" {
			report(fmt.Sprintf("deny[%d]", i), fmt.Sprintf("%q is neither a file nor a glob", pattern))
		}
	}
}

func under(parent string, report func(path, problem string)) func(path, problem string) {
	return func(path, problem string) {
		switch {
		case path == "":
			path = parent
		case path[0] == '[':
			path = parent + path
		default:
			path = parent + "." + path
		}
		report(path, problem)
	}
}
