package proxy

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/vaultspan/vaultspan/authn"
)

const whoamiPath = reserved + "/whoami"

// self is what a caller may know of itself. It lists what may be shown; there is
// no token in it and nothing of the configuration that the caller cannot use.
type self struct {
	Issuer  string     `json:"issuer"`
	Subject string     `json:"subject"`
	Kind    string     `json:"kind"`
	Email   string     `json:"email,omitempty"`
	Groups  []string   `json:"groups"`
	Actors  []string   `json:"actors,omitempty"`
	Method  string     `json:"method"` // bearer or session
	Expires time.Time  `json:"expires"`
	Proven  time.Time  `json:"auth_time,omitzero"` // when it signed in, and
	ACR     string     `json:"acr,omitempty"`      // how well, if the issuer says so
	Roles   []string   `json:"roles"`              // those that let it in somewhere
	Reaches []string   `json:"collections"`        // vault/collection
	Routes  []ownRoute `json:"routes"`
}

// ownRoute is a route that the caller may use.
type ownRoute struct {
	Name  string   `json:"name"`
	Match []string `json:"match"`
	Role  string   `json:"role,omitempty"`
	Weak  bool     `json:"authentication_insufficient,omitempty"` // the route demands more of a sign-in
}

// whoami tells a caller who it is and where it may go, by asking policy about
// the first pattern of each route with the first method that the route takes. A
// policy that looks at paths or addresses may decide otherwise about others.
func (x *exchange) whoami() *refused {
	if refused := x.reads(); refused != nil {
		return refused
	}
	identity, refused := x.identify(x.ctx, nil, true)
	if refused != nil {
		return refused
	}
	x.identity = identity
	answer := self{
		Issuer: identity.Issuer, Subject: identity.Subject, Kind: string(identity.Kind), Email: identity.Email,
		Groups: identity.Groups, Actors: identity.Actors, Method: identity.Method, Expires: identity.Expires.UTC(),
		Proven: identity.AuthTime.UTC(), ACR: identity.ACR,
		Roles: []string{}, Reaches: []string{}, Routes: []ownRoute{},
	}
	for _, name := range slices.Sorted(maps.Keys(x.settings.table.byName)) {
		r := x.settings.table.byName[name]
		if r.Allow.Open() || r.closed != nil || len(r.Match) == 0 {
			continue
		}
		if refused := x.reach(identity, r, &answer); refused != nil {
			return refused
		}
	}
	slices.Sort(answer.Roles)
	slices.Sort(answer.Reaches)
	answer.Roles, answer.Reaches = slices.Compact(answer.Roles), slices.Compact(answer.Reaches)
	body, err := json.Marshal(answer)
	if err != nil {
		return internalError.from(err)
	}
	return x.tell("application/json", "no-store", body)
}

// reach adds a route to the answer if policy lets the caller use it.
func (x *exchange) reach(identity authn.Identity, r *route, answer *self) *refused {
	in := x.policyInput(identity, r)
	in.Request.Method, in.Request.Path, in.Request.Query = r.Methods[0], pathOf(r.Match[0]), nil
	if host := hostOf(r.Match[0]); host != "" {
		in.Request.Host = host
	}
	decision, err := x.settings.Policy.Decide(x.ctx, in)
	if err != nil {
		return policyError.from(err)
	}
	if !decision.Allow {
		return nil
	}
	answer.Routes = append(answer.Routes, ownRoute{
		Name: r.Name, Match: r.Match, Role: decision.Role, Weak: !r.Authentication.Met(identity, time.Now()),
	})
	if decision.Role != "" {
		answer.Roles = append(answer.Roles, decision.Role)
	}
	if decision.Secret != "" {
		answer.Reaches = append(answer.Reaches, collectionOf(decision.Secret))
	}
	return nil
}
