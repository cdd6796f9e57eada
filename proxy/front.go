package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxFields bounds the header fields of one request; their bytes are bounded by
// the server.
const maxFields = 200

// front refuses what could be read in two ways, before anything else looks at the
// request.
func (x *exchange) front() *refused {
	r := x.in
	// A request whose end two parsers may see in different places (HTTP/1.0 with
	// a Transfer-Encoding, HTTP/1.1 with both framings, which net/http does not
	// show us) is the last of its connection (RFC 9112 section 6.1).
	x.out.final = r.ProtoMajor == 1 && (r.ProtoMinor == 0 || len(r.TransferEncoding) > 0)
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		x.client = clientIP(peer.Addr(), r.Header["X-Forwarded-For"], x.settings.TrustedProxies).String()
	}
	if x.gateway.draining.Load() {
		x.out.final = true
		return draining.because("")
	}
	fields := 0
	for _, values := range r.Header {
		fields += len(values)
	}
	if fields > maxFields {
		return headersTooLarge.because("")
	}
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		return &refused{Refusal: methodNotAllowed, allow: defaultMethods}
	}
	if refused := x.readAuthority(); refused != nil {
		return refused
	}
	var err error
	if x.target, err = parseTarget(r.RequestURI); err != nil {
		return targetNoncanonical.because(err.Error())
	}
	if expect := r.Header["Expect"]; len(expect) > 1 || len(expect) == 1 && !strings.EqualFold(expect[0], "100-continue") {
		return expectationFailed.because("")
	}
	return x.upgradeKind()
}

// readAuthority reads Host (or :authority) into x.host and x.authority.
func (x *exchange) readAuthority() *refused {
	r := x.in
	// net/http keeps a Host field beside :authority; two answers to "which host
	// is meant" are one too many (RFC 9113 section 8.3.1).
	if host, ok := r.Header["Host"]; ok && (len(host) != 1 || host[0] != r.Host) {
		return authorityMismatch.because("")
	}
	host, port, err := parseAuthority(r.Host)
	if err != nil {
		return authorityMismatch.because("")
	}
	listening := 0
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		listening = addr.Port
	}
	if !x.settings.table.answers(host, port, listening) {
		return misdirected.because("")
	}
	x.host, x.authority = host, host
	if strings.Contains(host, ":") {
		x.authority = "[" + host + "]"
	}
	if port != 0 {
		x.authority += ":" + strconv.Itoa(port)
	}
	return nil
}

// upgradeKind accepts an upgrade only if it is to websocket (RFC 6455 section
// 4.1) and from a web origin that may.
func (x *exchange) upgradeKind() *refused {
	r := x.in
	upgrade := r.Header["Upgrade"]
	asks := slices.ContainsFunc(r.Header["Connection"], func(line string) bool {
		return slices.ContainsFunc(strings.Split(line, ","), func(option string) bool {
			return strings.EqualFold(strings.TrimSpace(option), "upgrade")
		})
	})
	switch {
	case len(upgrade) == 0 && !asks:
		return nil
	case len(upgrade) != 1 || !strings.EqualFold(upgrade[0], "websocket") || !asks:
		return upgradeUnsupported.because("")
	case r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.ContentLength != 0:
		return upgradeUnsupported.because("a websocket handshake is a GET of HTTP/1.1 without a body")
	case len(r.Header["Sec-Websocket-Key"]) != 1:
		return upgradeUnsupported.because("a websocket handshake has one Sec-WebSocket-Key")
	}
	x.websocket = true
	return nil
}

// originAllowed says whether a browser page may open this WebSocket: browsers
// send no preflight for it, so any page could (cross-site WebSocket hijacking).
// Clients that are not browsers send no Origin.
func (x *exchange) originAllowed() bool {
	origins := x.in.Header["Origin"]
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	own := url.URL{Scheme: x.settings.URL.Scheme, Host: x.settings.URL.Host}
	return origins[0] == own.String() || x.route.Session && origins[0] == x.here() || slices.Contains(x.route.Origins, origins[0])
}

// here is the origin of the route's own pages, which people look at.
func (x *exchange) here() string {
	return (&url.URL{Scheme: x.settings.URL.Scheme, Host: x.authority}).String()
}

// match finds the route, and what the route says of the request before anyone
// knows who is asking.
func (x *exchange) match() *refused {
	if x.route = x.settings.table.find(x.host, x.target.plain); x.route == nil {
		return noRoute.because("")
	}
	if c := x.route.cors; c != nil { // refusals too: a script is to read the code
		x.out.grant = func(h http.Header) { c.grant(x.in.Header, h) }
	}
	if x.route.closed != nil {
		return routeClosed.from(x.route.closed)
	}
	if x.route.cors.asks(x.in) {
		return x.preflight()
	}
	// OPTIONS with Max-Forwards asks somebody on the way (RFC 9110 section 7.6.2)
	if !slices.Contains(x.route.Methods, x.in.Method) || x.in.Method == http.MethodOptions && x.in.Header["Max-Forwards"] != nil {
		return &refused{Refusal: methodNotAllowed, allow: x.route.Methods}
	}
	if rest, ok := strings.CutPrefix(x.target.path, x.route.Strip); !ok || x.route.Strip != "" && rest != "" && rest[0] != '/' {
		return targetNoncanonical.because("the path spells the route's prefix in another way")
	}
	if x.route.Inject.Reserves(x.target.raw) {
		return parameterReserved.because("")
	}
	if x.websocket && !x.originAllowed() {
		return originDenied.because("")
	}
	if x.in.ContentLength > int64(x.route.MaxBody) {
		return bodyTooLarge.because("")
	}
	return nil
}
