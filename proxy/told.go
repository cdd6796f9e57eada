package proxy

import (
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/vaultspan/vaultspan/authn/assertion"
)

// identityWords are what a header field can tell of a caller.
var identityWords = []string{"id", "issuer", "subject", "email", "kind", "groups", "role", "actor"}

// told is a header field that tells the upstream one of identityWords.
type told struct{ name, word string }

// told lists the route's identity headers.
func (r Route) told() []told {
	var all []told
	for _, name := range slices.Sorted(maps.Keys(r.IdentityHeaders)) {
		all = append(all, told{textproto.CanonicalMIMEHeaderKey(name), r.IdentityHeaders[name]})
	}
	return all
}

// namesTold are the fields that tell an upstream who is calling, on any route.
func namesTold(routes []Route) []string {
	var names []string
	for _, r := range routes {
		names = slices.AppendSeq(names, maps.Keys(r.IdentityHeaders))
	}
	return names
}

// identityFields are managed fields that tell who is calling: a route may set
// them.
var identityFields = []string{
	"remote-user", "x-remote-user", "x-webauth-user",
	"x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username",
	"x-auth-request-user", "x-auth-request-email", "x-auth-request-groups", "x-auth-request-preferred-username",
}

// meaningful starts the names of fields that HTTP gives a meaning.
var meaningful = []string{"accept", "access-control-", "cache-control", "content-", "date", "if-", "origin", "proxy-", "range", "referer", "sec-", "set-cookie", "user-agent", "via"}

// checkTold reports what is wrong with how the upstream is told who is calling.
func (r Route) checkTold(report func(path, problem string)) {
	for path, asked := range map[string]bool{"assertion": r.Assertion, "identity_headers": r.IdentityHeaders != nil} {
		if asked && r.Allow.Open() {
			report(path, "allow: anyone asks nobody who they are: list roles, or remove "+path)
		}
	}
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(r.IdentityHeaders)) {
		at, word, folded := "identity_headers."+name, r.IdentityHeaders[name], fold(name)
		if !slices.Contains(identityWords, word) {
			report(at, fmt.Sprintf("%q is nothing that is known of a caller: write %s", word, strings.Join(identityWords, ", ")))
		}
		if err := r.checkTeller(name); err != nil {
			report(at, err.Error())
		} else if other := seen[folded]; other != "" {
			report(at, "is "+other+" again: remove one")
		} else {
			seen[folded] = name
		}
	}
}

// checkTeller says whether a header field may tell something of a caller.
func (r Route) checkTeller(name string) error {
	folded := fold(name)
	starts := func(prefix string) bool { return strings.HasPrefix(folded, prefix) }
	is := func(field string) bool { return fold(field) == folded }
	switch {
	case !httpguts.ValidHeaderFieldName(name) || folded != strings.ToLower(name):
		return errors.New("is not the name of a header field that all servers read alike: use letters, digits and hyphens, such as X-User")
	case is(assertion.Header):
		return errors.New("carries the assertion: say assertion: true")
	case slices.ContainsFunc(slices.Concat(r.TokenFrom, r.Inject.Places()), is):
		return errors.New("carries a credential on this route: choose another, such as X-User")
	case slices.Contains(identityFields, folded) || starts("x-vaultspan-"):
		return nil
	case slices.Contains(wire, folded) || slices.ContainsFunc(meaningful, starts) || slices.Contains(managed, folded) || slices.ContainsFunc(managedPrefixes, starts):
		return errors.New("has another meaning: choose a field such as X-User, X-Forwarded-User or X-Vaultspan-User")
	}
	return nil
}
