package authn

import (
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// maxActors is the longest chain of actors.
const maxActors = 5

// identify turns the claims of a good token into an Identity. The strings in it
// are copies: an Identity does not keep its token alive.
func (r *rules) identify(claims object) (*Identity, error) {
	subject, _ := claims.text("sub")
	client, _ := clientOf(claims)
	expires, _ := claims.date("exp")
	id := &Identity{
		Issuer: r.name, Subject: subject, Kind: r.kind, ClientID: client, Expires: expires, Method: "bearer",
	}
	id.AuthTime, id.ACR = r.proof(claims)
	if err := r.elsewhere(claims); err != nil {
		return nil, err
	}
	var err error
	if id.Actors, err = actors(claims, r.url); err != nil {
		return nil, err
	}
	find := func(p path) jsontext.Value {
		v, e := p.find(claims)
		if e != nil {
			err = refuse(Invalid, "ambiguous or too deep claim")
		}
		return v
	}
	id.Groups, _ = list(find(r.groups), text)
	id.Roles, _ = list(find(r.roles), text)
	if email, _ := text(find(r.email)); mailbox(email) && verified(claims) {
		id.Email = email
	}
	for _, p := range r.expose {
		if values := values(find(p)); values != nil {
			if id.Claims == nil {
				id.Claims = make(map[string][]string, len(r.expose))
			}
			id.Claims[p.written] = values
		}
	}
	for _, rule := range r.kindRules {
		if slices.Contains(values(find(rule.claim)), rule.value) {
			id.Kind = rule.kind
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return id, nil
}

// proof reads when and how well the caller proved who it is (OpenID Connect Core
// section 2, RFC 9068 section 2.2.1). What cannot be right is as good as absent:
// an auth_time later than the token, or an acr that nobody can demand.
func (r *rules) proof(claims object) (when time.Time, acr string) {
	iat, ok := claims.date("iat")
	if t, said := claims.date("auth_time"); ok && said && !t.After(iat.Add(r.skew)) {
		when = t
	}
	if s, _ := claims.text("acr"); isACR(s) {
		acr = s
	}
	return when, acr
}

// elsewhere refuses a token that leaves a claim we read to a lookup (OpenID
// Connect Core section 5.6.2). Entra does so with groups when there are too
// many: no groups would then mean any number of them, and a rule that takes
// something away by group would not.
func (r *rules) elsewhere(claims object) error {
	const why = "a claim that policies read is left to a lookup (_claim_names)"
	if !claims.has("_claim_names") {
		return nil
	}
	sources, err := r.top.object(claims["_claim_names"])
	if err != nil {
		return refuse(Invalid, why)
	}
	for name := range sources {
		if r.top.exact[name] {
			return refuse(Invalid, why)
		}
	}
	return nil
}

// actorNames are the members read at each level of an act chain.
var actorNames = namesOf("sub", "iss", "act")

// actors returns the subjects of the act chain (RFC 8693 section 4.1), the
// current actor first. An actor of another issuer is refused: its subject alone
// would name somebody else.
func actors(claims object, issuer string) ([]string, error) {
	var chain []string
	for level := claims; level.has("act"); {
		next, err := actorNames.object(level["act"])
		if err != nil || len(chain) == maxActors {
			return nil, refuse(Invalid, "act is malformed or more than 5 actors deep")
		}
		sub, ok := next.text("sub")
		if !ok || !printable(sub) {
			return nil, refuse(Invalid, "act has no usable sub")
		}
		if iss, ok := next.text("iss"); next.has("iss") && (!ok || iss != issuer) {
			return nil, refuse(Invalid, "act names an actor of another issuer")
		}
		chain = append(chain, sub)
		level = next
	}
	return chain, nil
}

// values returns a claim as policies see it: a string, number or bool is a list
// of one. Anything else that is not a list of those is absent.
func values(v jsontext.Value) []string {
	if one, ok := scalar(v); ok {
		return []string{one}
	}
	several, _ := list(v, scalar)
	return several
}

// verified reports whether the issuer does not say that the email is somebody
// else's: email_verified is absent or true. Some issuers write it as a string.
func verified(claims object) bool {
	if !claims.has("email_verified") {
		return true
	}
	v, ok := scalar(claims["email_verified"])
	return ok && v == "true"
}

// mailbox reports whether s is one plain address, local@domain. Quotes,
// comments, a second @ and everything outside ASCII are refused, because rules
// that look at the domain and those who deliver mail would read them
// differently.
func mailbox(s string) bool {
	local, domain, _ := strings.Cut(s, "@")
	return len(s) <= 254 && dotted(local, "!#$%&'*+/=?^_`{|}~-") && dotted(domain, "-")
}

// dotted reports whether s is made of letters, digits and marks, in parts
// separated by single dots.
func dotted(s, marks string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"+marks) != "" {
			return false
		}
	}
	return true
}
