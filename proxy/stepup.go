package proxy

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vaultspan/vaultspan/authn"
)

// assure refuses a caller who did not prove who it is as lately or as well as
// the route demands (RFC 9470). Who is refused learns what to ask its issuer
// for; a browser is sent to do so.
func (x *exchange) assure() *refused {
	if x.route.Authentication.Met(x.identity, time.Now()) {
		return nil
	}
	return &refused{
		Refusal: weakAuthentication, detail: "the caller signed in too long ago, or by other means than the route takes",
		demand: x.route.Authentication,
	}
}

// signInPath is where a person signs in as the route demands, and then comes
// back. Who is signed in already does so at the same issuer.
func (x *exchange) signInPath(back string) string {
	query := x.route.Authentication.Parameters()
	if back != "" {
		query.Set("return", back)
	}
	if x.session != "" && x.identity.Issuer != "" {
		query.Set("issuer", x.identity.Issuer)
	}
	if len(query) == 0 {
		return loginPath
	}
	return loginPath + "?" + query.Encode()
}

// demanded are the parameters of a challenge that say what would do (RFC 9470
// section 3). None of them needs escaping: see authn.Demand.Check.
func demanded(d authn.Demand) string {
	var text strings.Builder
	parameters := d.Parameters()
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		text.WriteString(", " + name + `="` + parameters.Get(name) + `"`)
	}
	return text.String()
}
