package policy

import "errors"

var errMethods = errors.New(`want a list of HTTP methods such as [GET, POST], or the word any`)

// Input is the input document of Rego: the API for policy authors. Every
// documented field is always present; lists are never null. Path is the
// escaped path as judged and as forwarded; headers are not part of it.
type Input struct {
	Identity IdentityInput `json:"identity"`
	Route    RouteInput    `json:"route"`
	Request  RequestInput  `json:"request"`
}

// IdentityInput is the caller. Claims holds only the paths that members,
// claims.expose or the names of secrets name, each a list of strings.
type IdentityInput struct {
	Issuer  string              `json:"issuer"`
	Subject string              `json:"subject"`
	Kind    string              `json:"kind"`
	Email   string              `json:"email"`
	Groups  []string            `json:"groups"`
	Roles   []string            `json:"roles"`
	Claims  map[string][]string `json:"claims"`
	Actors  []string            `json:"actors"`
}

// RouteInput is the route that matched. Secrets are the candidates as written,
// "vault/collection/name": where a name is made of what the caller is, the
// template, such as "prod/people/{subject}".
type RouteInput struct {
	Name    string   `json:"name"`
	Secrets []string `json:"secrets"`
	Allow   []string `json:"allow"`
	Tags    []string `json:"tags"`
}

// RequestInput is the request as forwarded.
type RequestInput struct {
	Method   string              `json:"method"`
	Host     string              `json:"host"`
	Path     string              `json:"path"`
	Query    map[string][]string `json:"query"`
	ClientIP string              `json:"client_ip"`
}

// Decision is the answer to one Input. The zero Decision denies.
type Decision struct {
	Allow    bool
	Reason   string // a stable word or sentence for the caller and the record
	Role     string // the role that allowed; empty on a denial
	Secret   string // one of the route's candidates, or empty
	Revision string // names the policy and data that decided: 12 hex digits
	Cached   bool   // answered from memory
}

// Grant is one secret of one collection for one route. Only an allowing
// Decision makes one.
type Grant struct{ route, secret string }

// Grant returns the right to use the decision's secret on the route, if the
// decision allows and names one.
func (d Decision) Grant(route string) (Grant, bool) {
	if !d.Allow || d.Secret == "" {
		return Grant{}, false
	}
	return Grant{route: route, secret: d.Secret}, true
}

// Route is the name of the route the grant is for.
func (g Grant) Route() string { return g.route }

// Secret is the granted secret, "vault/collection/name".
func (g Grant) Secret() string { return g.secret }
