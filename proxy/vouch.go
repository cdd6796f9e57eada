package proxy

import (
	"net/http"
	"strings"
	"time"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/assertion"
	"github.com/vaultspan/vaultspan/telemetry/attr"
)

// Assertions signs who is calling, for upstreams. *assertion.Signer is it.
type Assertions interface {
	// Sign states claims; whole is false if the groups are left out.
	Sign(assertion.Claims) (token string, whole bool, err error)
	// Keys is the set to verify it with, and for how long that may be kept.
	Keys() (set []byte, age time.Duration, err error)
}

// vouch tells the upstream who is calling, in each attempt anew. It comes after
// all that the caller sent, of which nothing under these names is left.
func (x *exchange) vouch(h http.Header) error {
	var omitted []string
	for _, t := range x.route.told {
		delete(h, t.name)
		values, several := says(x.identity, x.decision.Role, t.word)
		switch value, why := carried(values, several); {
		case why != "":
			omitted = append(omitted, t.name+": "+why)
		case value != "":
			h[t.name] = []string{value}
		}
	}
	if x.route.Assertion {
		token, whole, err := x.settings.Assertions.Sign(x.claims())
		if err != nil {
			return &refusedError{internalError.from(err)}
		}
		h[assertion.Header] = []string{token}
		if !whole {
			omitted = append(omitted, assertion.Header+": groups too-long")
		}
	}
	if omitted != nil {
		x.attempt.span.SetAttributes(attr.Omitted.StringSlice(omitted))
	}
	return nil
}

// claims is what an assertion says, and all that an upstream can learn from one.
func (x *exchange) claims() assertion.Claims {
	id := &x.identity
	c := assertion.Claims{
		Route: x.route.Name, Request: x.attempt.id, Issuer: id.Issuer, Subject: id.Subject, Kind: string(id.Kind),
		Email: id.Email, Groups: id.Groups, Actors: id.Actors, Expires: id.Expires,
	}
	if x.decision.Role != "" {
		c.Roles = []string{x.decision.Role}
	}
	return c
}

// says is what an identity header of a word tells, as one value or as a list.
func says(id authn.Identity, role, word string) (values []string, list bool) {
	one := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	switch word {
	case "id":
		return one(assertion.Subject(id.Issuer, id.Subject)), false
	case "issuer":
		return one(id.Issuer), false
	case "subject":
		return one(id.Subject), false
	case "email":
		return one(id.Email), false
	case "kind":
		return one(string(id.Kind)), false
	case "groups":
		return id.Groups, true
	case "role":
		return one(role), true // some upstreams take several there
	case "actor":
		if len(id.Actors) > 0 {
			return one(assertion.Subject(id.Issuer, id.Actors[0])), false
		}
	}
	return nil, false
}

// maxTold is the most that an identity header is long.
const maxTold = 4 << 10

// carried is the value of a header field that tells values, or why there can be
// none. Nothing is escaped, cut or left out of a list: the upstream would take it
// for somebody or something else.
func carried(values []string, list bool) (value, why string) {
	for _, v := range values {
		if why := unfit(v); why != "" {
			return "", why
		}
		if list && (v == "" || strings.ContainsAny(v, `,"`)) {
			return "", "separator"
		}
	}
	if value = strings.Join(values, ","); len(value) > maxTold {
		return "", "too-long"
	}
	return value, ""
}

// unfit says why a header field cannot carry a value so that every recipient
// reads the same: RFC 9110 section 5.5 trims spaces and knows only ASCII, and some
// decode the encoded words of RFC 2047.
func unfit(value string) string {
	for i := range len(value) {
		switch c := value[i]; {
		case c < ' ' || c == 0x7f:
			return "control"
		case c > 0x7f:
			return "not-ascii"
		}
	}
	switch {
	case strings.HasPrefix(value, " ") || strings.HasSuffix(value, " "):
		return "space"
	case strings.Contains(value, "=?"):
		return "encoded-word"
	}
	return ""
}
