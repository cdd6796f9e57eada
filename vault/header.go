package vault

import (
	"net/http"
	"strings"
)

// isManaged says whether a header belongs to the connection (RFC 9110, section
// 7.6.1), to the message's framing, or to the gateway. An alias counts.
func isManaged(name string) bool {
	switch name := fold(name); name {
	case "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization",
		"te", "trailer", "trailers", "transfer-encoding", "upgrade", "http2-settings",
		"host", "content-length", "content-type", "content-encoding", "expect", "date", "range",
		"cookie", "set-cookie", "origin", "alt-used", "via",
		"forwarded", "x-real-ip", "x-request-id",
		"traceparent", "tracestate", "baggage":
		return true
	default:
		return strings.HasPrefix(name, "x-forwarded-") || strings.HasPrefix(name, "sec-")
	}
}

// fold maps the names that some server takes for one header to one name: CGI
// (RFC 3875, section 4.1.18) and its descendants turn every byte that is not a
// letter or a digit into the same one.
func fold(name string) string {
	return strings.Map(func(r rune) rune { return rune(foldByte(byte(r))) }, name)
}

func foldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	}
	return '-'
}

// isAlias says whether some server would take a for b. It does not allocate.
func isAlias(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if foldByte(a[i]) != foldByte(b[i]) {
			return false
		}
	}
	return true
}

// removeAliases takes every header off h that some server would take for name.
func removeAliases(h http.Header, name string) {
	for k := range h {
		if isAlias(k, name) {
			delete(h, k)
		}
	}
}

// isToken is RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !isTokenByte(r) })
}

func isTokenByte(r rune) bool {
	return r < 0x80 && (foldByte(byte(r)) != '-' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
}
