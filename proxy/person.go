package proxy

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/vault"
)

// lend asks a vault for what was granted. Where the granted secret's name is a
// template, that is the secret of this caller's own: the name is made here, of
// what the issuer said, and of nothing on the request.
func (x *exchange) lend(ctx context.Context, v Vault, grant policy.Grant) (*vault.Lease, *refused) {
	template, personal := x.route.templates[grant.Secret()]
	if !personal {
		lease, err := v.Lease(ctx, grant.Route(), grant.Secret())
		if err != nil {
			return nil, fromVault(err)
		}
		return lease, nil
	}
	name, err := template.Expand(x.said)
	if err != nil { // names the place, and it is the caller's token
		return nil, denied.because("no credential is the caller's own: " + err.Error())
	}
	lease, err := v.LeaseOwn(ctx, grant.Route(), grant.Secret(), name)
	switch {
	case errors.Is(err, vault.ErrNobody):
		return nil, &refused{Refusal: noCredential, detail: "there is no credential of the caller's own", err: err}
	case err != nil:
		return nil, fromVault(err)
	}
	return lease, nil
}

// said is what the caller's issuer says for a place of a template. A claim of
// several values says nothing: which of them is meant is anybody's guess.
func (x *exchange) said(place string) string {
	switch place {
	case "subject":
		return x.identity.Subject
	case "email":
		return x.identity.Email
	case "issuer":
		return x.identity.Issuer
	}
	if values := x.identity.Claims[strings.TrimPrefix(place, "claims.")]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// templates are the route's secrets that are another for each caller.
func (r Route) templates() map[string]vault.Template {
	all := make(map[string]vault.Template)
	for _, secret := range r.Candidates() {
		ref, err := vault.ParseReference(secret)
		if err != nil || !ref.Personal() {
			continue
		}
		if t, err := vault.ParseTemplate(ref.Name); err == nil {
			all[secret] = t
		}
	}
	return all
}

// ClaimPaths are the claims that the names of the route's secrets are made of:
// authn must expose them.
func (r Route) ClaimPaths() []string {
	var paths []string
	for _, t := range r.templates() {
		for _, place := range t.Places() {
			if path, ok := strings.CutPrefix(place, "claims."); ok {
				paths = append(paths, path)
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
