package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ownCookie starts the names of vaultspan's own cookies: no upstream sees them
// and no upstream may set them.
const ownCookie = "__Host-vaultspan"

// managed names the header fields that the gateway owns, folded. A caller's
// are never forwarded: upstreams read identity, address, target and method
// from them.
var managed = []string{
	"authorization", "proxy-authorization", "proxy-connection",
	"x-request-id", "traceparent", "tracestate", "baggage", "b3",
	"forwarded", "x-real-ip", "true-client-ip", "x-client-ip", "x-cluster-client-ip", "fastly-client-ip",
	"x-original-url", "x-original-uri", "x-original-host", "x-original-method", "x-rewrite-url", "x-host",
	"x-http-method-override", "x-http-method", "x-method-override",
	"client-cert", "client-cert-chain", "x-client-cert", "remote-user", "x-remote-user", "x-webauth-user",
	"expect", "max-forwards",
}

// managedPrefixes names the families of such fields.
var managedPrefixes = []string{
	"x-forwarded-", "x-b3-", "x-envoy-", "x-ssl-", "ssl-client-", "x-auth-request-", "x-audit-", "x-client-cert-",
	"x-amzn-oidc-", "x-goog-authenticated-user-", "x-ms-client-principal", "x-pomerium-", "cf-connecting-", "tailscale-user-",
	"x-vaultspan-", "vaultspan-",
}

// fold maps the spellings that CGI, WSGI and PHP upstreams cannot tell apart to
// one: X_Forwarded_User and x.forwarded.user become x-forwarded-user.
func fold(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '_' || c == '.':
			return '-'
		case 'A' <= c && c <= 'Z':
			return c + 'a' - 'A'
		}
		return c
	}, name)
}

// headerPolicy says which of a caller's header fields a route forwards.
type headerPolicy struct {
	taken map[string]bool // folded names: the managed ones, token places, injection places
}

func newHeaderPolicy(r Route) headerPolicy {
	p := headerPolicy{taken: map[string]bool{}}
	for _, names := range [][]string{managed, r.TokenFrom, r.Inject.Places()} {
		for _, name := range names {
			p.taken[fold(name)] = true
		}
	}
	return p
}

// forwards says whether a caller's field of this name reaches the upstream.
func (p headerPolicy) forwards(name string) bool {
	folded := fold(name)
	return !p.taken[folded] && !slices.ContainsFunc(managedPrefixes, func(prefix string) bool { return strings.HasPrefix(folded, prefix) })
}

// outbound copies from in, header by header, what may leave for the upstream.
// Hop-by-hop fields are gone already, by httputil.ReverseProxy.
func (p headerPolicy) outbound(in http.Header) http.Header {
	out := make(http.Header, len(in)+4)
	for name, values := range in {
		if !p.forwards(name) {
			continue
		}
		if name == "Cookie" {
			values = withoutOwnCookies(values)
		} else if fold(name) == "cookie" {
			continue
		}
		if len(values) > 0 {
			out[name] = values
		}
	}
	return out
}

// withoutOwnCookies takes vaultspan's own cookies off Cookie lines and leaves
// the rest byte for byte.
func withoutOwnCookies(lines []string) []string {
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, ownCookie) }) {
		return lines
	}
	var kept []string
	for _, line := range lines {
		pairs := slices.DeleteFunc(strings.Split(line, ";"), func(pair string) bool {
			return strings.HasPrefix(strings.TrimSpace(pair), ownCookie)
		})
		if line = strings.TrimSpace(strings.Join(pairs, ";")); line != "" {
			kept = append(kept, line)
		}
	}
	return kept
}

// cleanResponse removes from an upstream's answer what would act on the gateway
// or on the way back to it.
func cleanResponse(h http.Header) {
	h.Del("Alt-Svc")            // would send clients past the gateway
	h.Del("X-Request-Id")       // ours
	h.Del("Proxy-Authenticate") // we are not that proxy
	cookies := h["Set-Cookie"]
	cookies = slices.DeleteFunc(slices.Clone(cookies), func(c string) bool {
		return strings.HasPrefix(strings.TrimSpace(c), ownCookie)
	})
	if len(cookies) == 0 {
		h.Del("Set-Cookie")
	} else {
		h["Set-Cookie"] = cookies
	}
}

// clientIP is the address a request came from: the peer's, or, where the peer
// is a trusted proxy, the nearest address in X-Forwarded-For that is not one.
// A value that is not an address ends the search: nothing behind it is believed.
func clientIP(peer netip.Addr, forwarded []string, trusted []netip.Prefix) netip.Addr {
	isTrusted := func(addr netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	current := peer.Unmap().WithZone("")
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !isTrusted(current) {
			return current
		}
		addr, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return current
		}
		current = addr.Unmap().WithZone("")
	}
	return current
}
