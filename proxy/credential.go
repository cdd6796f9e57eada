package proxy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/vault"
)

// Candidates are the secrets that the route may wear, as written and in order:
// secret, or secrets. Policy chooses one for each request.
func (r Route) Candidates() []string {
	if r.Secret != "" {
		return []string{r.Secret}
	}
	return r.Secrets
}

// CandidateAt is the field of the route that holds the candidate of that index.
func (r Route) CandidateAt(i int) string {
	if r.Secret != "" {
		return "secret"
	}
	return fmt.Sprintf("secrets[%d]", i)
}

// wears says whether requests of the route leave with a credential.
func (r Route) wears() bool { return r.Secret != "" || len(r.Secrets) > 0 }

// checkCredential reports contradictions of secret, inject and allow.
func (r Route) checkCredential(report func(path, problem string)) {
	if r.Session && r.Allow.Open() {
		report("session", "allow: anyone asks nobody who they are: list roles, or remove session")
	}
	switch {
	case !r.wears() && len(r.Allow) == 0:
		report("", "a route has secret, allow: [role], or both: as it stands nobody may use it (write allow: anyone if that is meant)")
	case r.wears() && r.Allow.Open():
		report("allow", "allow: anyone would lend the secret to everyone: list roles, or remove the secret")
	}
	r.checkCandidates(report)
	if r.wears() && r.Host == "preserve" && slices.ContainsFunc(r.Match, func(pattern string) bool { return strings.HasPrefix(pattern, "/") }) {
		report("host", "with a secret, preserve needs a host in every pattern: else the caller chooses the Host that the credential goes out with")
	}
	switch {
	case !r.wears() && (r.Guard != "" || r.Unguarded):
		report("guard", "there is no secret to guard: remove guard and unguarded, or add secret: vault/collection/name")
	case r.Inject.OnConnection() && (r.Guard != "" || r.Unguarded):
		report("guard", "a client certificate cannot come back, for its key is never sent: remove guard and unguarded")
	case r.Guard != "" && r.Unguarded:
		report("unguarded", "takes away what guard asks for: keep one")
	}
	hasInject := r.Inject != vault.Injection{}
	switch {
	case r.wears() && !hasInject:
		report("inject", "a secret needs inject: bearer, {header: NAME}, or another way: see docs/injection.md")
	case !r.wears() && hasInject:
		report("inject", "there is no secret to inject: add secret: vault/collection/name")
	case hasInject:
		r.Inject.Check(func(path, problem string) { report(strings.TrimSuffix("inject."+path, "."), problem) })
		if u, err := parseUpstream(r.Upstream); r.Inject.Path != "" && err == nil && strings.Trim(u.Path, "/") != "" {
			report("inject.path", "goes before the upstream's path, which has a base of its own: move that here, as in /base/bot{secret}")
		}
		if r.Inject.OnConnection() && strings.HasPrefix(r.Upstream, "http:") {
			report("inject", "mtls needs TLS: give an https upstream")
		}
		if len(r.templates()) > 0 {
			r.Inject.CheckOwn(func(problem string) { report("inject", problem) })
		}
		if r.Inject.OnConnection() && len(r.Secrets) > 1 {
			report("inject", "mtls shows one certificate on connections that all requests of the route share: name one secret, and make a route for each other")
		}
		if isOwnCookie(r.Inject.Cookie) {
			report("inject.cookie", "cookies of this name are vaultspan's own: no upstream sees them; name the upstream's")
		}
	}
}

// checkCandidates reports what is wrong with the secrets as they are written. A
// request never holds what is of two vaults.
func (r Route) checkCandidates(report func(path, problem string)) {
	switch {
	case r.Secret != "" && r.Secrets != nil:
		report("secrets", "a route has secret or secrets, not both: put all into the list")
	case r.Secrets != nil && len(r.Secrets) == 0:
		report("secrets", "an empty list holds no credential: name a secret, or remove the key")
	}
	candidates := r.Candidates()
	for i, secret := range candidates {
		at := r.CandidateAt(i)
		if _, err := vault.ParseReference(secret); err != nil {
			report(at, err.Error())
			continue
		}
		if slices.Index(candidates, secret) < i {
			report(at, secret+" is listed twice: remove one")
		}
		if vaultOf(secret) != vaultOf(candidates[0]) {
			report(at, fmt.Sprintf("the secrets of a route are of one vault, and the first is of %s: make a route for each", vaultOf(candidates[0])))
		}
	}
}

// Bindings tie each of the route's secrets to its destination, for the vault.
func (r Route) Bindings() ([]vault.Binding, error) {
	u, err := parseUpstream(r.Upstream)
	if err != nil {
		return nil, err
	}
	var all []vault.Binding
	for _, secret := range r.Candidates() {
		all = append(all, vault.Binding{
			Secret: secret, Route: r.Name, Destination: vault.DestinationOf(u), Inject: r.Inject,
			Plaintext: isLoopbackHost(u.Hostname()), PreserveHost: r.Host == "preserve", Overlap: r.Rotation.Overlap, Unguarded: r.Unguarded,
		})
	}
	return all, nil
}

// Destination is where the route's requests go.
func (r Route) Destination() (vault.Destination, error) {
	u, err := parseUpstream(r.Upstream)
	if err != nil {
		return vault.Destination{}, err
	}
	return vault.DestinationOf(u), nil
}

// TakenMethods are the HTTP methods the route takes.
func (r Route) TakenMethods() []string {
	if len(r.Methods) == 0 {
		return defaultMethods
	}
	return r.Methods
}
