package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/vault"
)

// ownCookie starts the names of vaultspan's own cookies: no upstream sees them
// and no upstream may set them.
const ownCookie = "__Host-vaultspan"

// managed names the header fields that the gateway owns, folded. A caller's
// are never forwarded: upstreams read identity, address, target, method and
// configuration from them.
var managed = []string{
	"authorization", "proxy-authorization", "proxy-connection",
	"x-request-id", "traceparent", "tracestate", "baggage", "b3",
	"forwarded", "x-forwarded", "x-real-ip", "x-real-port", "true-client-ip", "x-client-ip", "x-cluster-client-ip",
	"fastly-client-ip", "x-remote-ip", "x-remote-addr", "remote-addr", "x-originating-ip", "x-original-forwarded-for",
	"x-original-url", "x-original-uri", "x-original-host", "x-original-method", "x-rewrite-url", "x-host",
	"x-http-method-override", "x-http-method", "x-method-override", "x-scheme", "x-url-scheme", "front-end-https",
	"client-cert", "client-cert-chain", "x-client-cert", "remote-user", "x-remote-user", "x-webauth-user",
	"expect", "max-forwards", "early-data", "http2-settings",
	"proxy", // httpoxy: CGI makes HTTP_PROXY of it (CVE-2016-5385)
}

// managedPrefixes names the families of such fields.
var managedPrefixes = []string{
	"x-forwarded-", "x-b3-", "x-envoy-", "x-ssl-", "ssl-client-", "x-auth-request-", "x-audit-", "x-client-cert-",
	"x-amzn-oidc-", "x-goog-authenticated-user-", "x-goog-iap-", "x-ms-client-principal", "x-pomerium-", "x-consumer-",
	"cf-connecting-", "cf-access-", "tailscale-user-", "x-vaultspan-", "vaultspan-",
}

// wire names the fields that frame or route a message, folded. They pass under
// their own names only.
var wire = []string{
	"connection", "content-encoding", "content-length", "content-type", "cookie", "host", "keep-alive", "te",
	"trailer", "transfer-encoding", "upgrade",
}

// fold maps the spellings that some upstream cannot tell apart to one. CGI
// (RFC 3875 section 4.1.18) and its descendants make one byte of everything but
// letters and digits: X_Forwarded_User and x.forwarded.user are
// x-forwarded-user to them.
func fold(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'A' <= c && c <= 'Z':
			return c + 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			return c
		}
		return '-'
	}, name)
}

// headerPolicy says which of a caller's header fields a route forwards.
type headerPolicy struct {
	taken   map[string]bool // folded names: the managed ones, token places, injection places, identity headers
	inject  vault.Injection
	noStore bool // no cache may keep a response
	cors    bool // what the upstream says of CORS does not count
}

func newHeaderPolicy(r Route) headerPolicy {
	p := headerPolicy{taken: map[string]bool{}, inject: r.Inject, noStore: r.Cache == "no-store" || r.Cache == "" && r.wears(), cors: len(r.CORS.Origins) > 0}
	for _, names := range [][]string{managed, r.TokenFrom, r.Inject.Places()} {
		p.take(names)
	}
	return p
}

// take makes fields of these names, however they are spelled, not a caller's to
// send.
func (p headerPolicy) take(names []string) {
	for _, name := range names {
		p.taken[fold(name)] = true
	}
}

// forwards says whether a caller's field of this name reaches the upstream.
func (p headerPolicy) forwards(name string) bool {
	folded := fold(name)
	if p.taken[folded] || !strings.EqualFold(folded, name) && slices.Contains(wire, folded) {
		return false
	}
	return !slices.ContainsFunc(managedPrefixes, func(prefix string) bool { return strings.HasPrefix(folded, prefix) })
}

// outbound copies from in, header by header, what may leave for the upstream, of
// whose answer a guard may have to read all. Hop-by-hop fields are gone already,
// by httputil.ReverseProxy.
func (p headerPolicy) outbound(in http.Header, guarded bool) http.Header {
	out := make(http.Header, len(in)+4)
	for name, values := range in {
		if !p.forwards(name) || guarded && isNotOffered(name) {
			continue
		}
		if name == "Cookie" {
			values = withoutOwnCookies(values)
		}
		if len(values) > 0 {
			out[name] = values
		}
	}
	return out
}

// isOwnCookie says whether a cookie pair or a Set-Cookie field is of a cookie
// of ours. Some clients send a cookie without a name, "=a=b", as a=b.
func isOwnCookie(pair string) bool {
	pair = strings.TrimLeft(pair, " \t=")
	return len(pair) >= len(ownCookie) && strings.EqualFold(pair[:len(ownCookie)], ownCookie)
}

// withoutOwnCookies takes vaultspan's own cookies off Cookie lines and leaves
// lines without one byte for byte.
func withoutOwnCookies(lines []string) []string {
	var kept []string
	for _, line := range lines {
		if pairs := strings.Split(line, ";"); slices.ContainsFunc(pairs, isOwnCookie) {
			line = strings.TrimSpace(strings.Join(slices.DeleteFunc(pairs, isOwnCookie), ";"))
		}
		if line != "" {
			kept = append(kept, line)
		}
	}
	return kept
}

// inbound removes from an upstream's answer what is not to reach the caller.
func (x *exchange) inbound(h http.Header) {
	x.route.headers.inbound(h)
	if x.session != "" { // it did not log anybody in, and cannot know who else may read
		withoutCORS(h)
	}
	if x.lease != nil {
		x.lease.Conceal(h)
	}
}

// inbound removes from an upstream's answer what would hand on a credential of
// the injection: its cookie renewed, and its parameter in a redirect to where
// the caller asked for, which then leads through the gateway again.
func (p headerPolicy) inbound(h http.Header) {
	cleanResponse(h)
	if p.cors {
		withoutCORS(h)
	}
	if slices.ContainsFunc(h["Set-Cookie"], p.inject.SetsCookie) {
		h["Set-Cookie"] = slices.DeleteFunc(h["Set-Cookie"], p.inject.SetsCookie)
	}
	for _, name := range []string{"Location", "Content-Location"} {
		for i, value := range h[name] {
			h[name][i] = p.withoutParameter(value)
		}
	}
}

// caching takes what an upstream says to caches off its answer, and forbids all
// of them to keep it (RFC 9111 section 5.2.2.5). What some caches read before
// Cache-Control goes too: fields for one kind of cache (RFC 9213), and those of
// Akamai, nginx and Varnish.
func (p headerPolicy) caching(h http.Header) {
	if !p.noStore {
		return
	}
	for name := range h {
		switch folded := strings.ToLower(name); folded {
		case "expires", "pragma", "edge-control", "surrogate-control", "x-accel-expires":
			delete(h, name)
		default:
			if strings.HasSuffix(folded, "cache-control") {
				delete(h, name)
			}
		}
	}
	h["Cache-Control"] = []string{"no-store"}
}

// withoutParameter is a URL reference without the injection's parameter.
func (p headerPolicy) withoutParameter(reference string) string {
	target, fragment, _ := strings.Cut(reference, "#")
	path, query, _ := strings.Cut(target, "?")
	rest, found := p.inject.CutQuery(query)
	if !found {
		return reference
	}
	if rest != "" {
		path += "?" + rest
	}
	if fragment != "" {
		path += "#" + fragment
	}
	return path
}

// cleanResponse removes from an upstream's answer, or from its trailer, what
// would act on the gateway or on the way back to it.
func cleanResponse(h http.Header) {
	delete(h, "Alt-Svc")            // would send clients past the gateway
	delete(h, "X-Request-Id")       // ours
	delete(h, "Proxy-Authenticate") // we are not that proxy
	if slices.ContainsFunc(h["Set-Cookie"], isOwnCookie) {
		if h["Set-Cookie"] = slices.DeleteFunc(h["Set-Cookie"], isOwnCookie); len(h["Set-Cookie"]) == 0 {
			delete(h, "Set-Cookie")
		}
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
	if !isTrusted(current) {
		return current
	}
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
