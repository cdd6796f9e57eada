package proxy

import (
	"net/textproto"
	"strings"
)

// token takes the caller's bearer token off the request (RFC 6750 section 2.1),
// or from the places the route names for clients that cannot set Authorization.
// It returns "" when there is none. A token in the query or the body is never
// looked for (RFC 9700 section 2.4).
func token(header map[string][]string, places []string) (string, *refused) {
	found, refused := tokenIn(header, "authorization", "Bearer")
	if refused != nil {
		return "", refused
	}
	for _, place := range places {
		place = strings.ToLower(place)
		next, refused := tokenIn(header, place, tokenHeaders[place])
		switch {
		case refused != nil:
			return "", refused
		case next == "" || next == found:
		case found == "":
			found = next
		default:
			return "", ambiguousCredentials.because("two different tokens are on the request")
		}
	}
	return found, nil
}

// tokenIn reads one header field. scheme is the authentication scheme that
// stands before the token, or empty. Another scheme is not a token of ours.
func tokenIn(header map[string][]string, name, scheme string) (string, *refused) {
	values := header[textproto.CanonicalMIMEHeaderKey(name)]
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", ambiguousCredentials.because("the field " + name + " is there twice")
	}
	value := values[0]
	if scheme != "" {
		if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
			return "", nil
		}
		// RFC 6750 says one space; anything else after the scheme's name is an
		// error, not another scheme.
		rest, ok := strings.CutPrefix(value[len(scheme):], " ")
		if !ok {
			return "", malformedToken.because("")
		}
		value = rest
	}
	if !isToken68(value) {
		return "", malformedToken.because("")
	}
	return value, nil
}

// isToken68 is RFC 9110 section 11.2.
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	if s == "" {
		return false
	}
	for i := range len(s) {
		if !isUnreserved(s[i]) && s[i] != '+' && s[i] != '/' {
			return false
		}
	}
	return true
}
