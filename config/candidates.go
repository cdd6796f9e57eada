package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// checkCandidates reports the secrets of a route that do not exist as far as the
// file says, and those that nobody would ever be given.
func (c *Config) checkCandidates(route proxy.Route, report func(path, problem string)) {
	var earlier []string // collections
	for i, secret := range route.Candidates() {
		at := route.CandidateAt(i)
		ref, err := vault.ParseReference(secret)
		if err != nil {
			continue // the route says so
		}
		if !has(c.Vaults, ref.Collection.Vault) {
			report(at, missing("vault", ref.Collection.Vault, slices.Sorted(maps.Keys(c.Vaults))))
			continue
		}
		collection := ref.Collection.String()
		if slices.Index(route.Candidates(), secret) < i {
			continue // the route says so
		}
		if c.Policy.Replace == "" { // a policy of one's own may choose otherwise
			c.checkReach(route, i, collection, earlier, report)
		}
		earlier = append(earlier, collection)
	}
}

// checkReach reports a secret that nobody is given: no role reaches it, none of
// those that the route allows does, or each that does reaches one before it.
func (c *Config) checkReach(route proxy.Route, i int, collection string, earlier []string, report func(path, problem string)) {
	at := route.CandidateAt(i)
	var reaching []string
	for _, name := range slices.Sorted(maps.Keys(c.Roles)) {
		if has(c.Roles[name].Collections, collection) {
			reaching = append(reaching, name)
		}
	}
	counts := func(role string) bool { return len(route.Allow) == 0 || slices.Contains(route.Allow, role) }
	switch {
	case route.Allow.Open():
	case len(reaching) == 0 && len(route.Candidates()) > 1:
		report(at, fmt.Sprintf("no role reaches %s: nobody is ever given this secret; add the collection to a role", collection))
	case len(reaching) == 0:
		report(at, fmt.Sprintf("no role reaches %s: nobody can use this route; add the collection to a role", collection))
	case !slices.ContainsFunc(reaching, counts) && len(route.Candidates()) > 1:
		report(at, fmt.Sprintf("none of the roles in allow reaches %s: nobody is ever given this secret; %s does", collection, strings.Join(reaching, ", ")))
	case !slices.ContainsFunc(reaching, counts):
		report("allow", fmt.Sprintf("none of these roles reaches %s: nobody can use this route; %s does", collection, strings.Join(reaching, ", ")))
	case slices.Contains(earlier, collection):
		report(at, fmt.Sprintf("never chosen: it is in %s, as a secret before it, and policy takes the first that a role reaches; put it into a collection of its own, or choose in policy.replace", collection))
	case len(earlier) > 0 && !slices.ContainsFunc(reaching, func(role string) bool {
		return counts(role) && c.reachesOnly(role, route, collection, earlier)
	}):
		report(at, fmt.Sprintf("never chosen: every role reaches a secret before it with each method it may use with %s, and policy takes the first; change the order, or the methods of a role", collection))
	}
}

// reachesOnly says whether some method that the route takes leads a role to a
// collection and to none of the earlier ones.
func (c *Config) reachesOnly(role string, route proxy.Route, collection string, earlier []string) bool {
	may := func(collection, method string) bool {
		methods := c.Roles[role].Collections[collection]
		return slices.Contains(methods, method) || slices.Contains(methods, policy.Any)
	}
	return slices.ContainsFunc(route.TakenMethods(), func(method string) bool {
		return may(collection, method) && !slices.ContainsFunc(earlier, func(e string) bool { return may(e, method) })
	})
}
