package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// CORS lets scripts of other web origins call a route and read what it answers
// (the Fetch standard, section 3.3). The gateway answers preflights by itself,
// before anybody is asked who they are, and what the upstream says of CORS is
// taken off its answers. Without origins none of this happens: a preflight is
// then a request like any other, and what the upstream says is taken off the
// answers to sessions alone.
type CORS struct {
	// Origins lists the origins, exactly as browsers write them:
	// https://host[:port], in lower case, without a path and without port 443.
	// http is for loopback only: anyone on the way could change the page. There is
	// no pattern, no * and no null. Required.
	Origins []string `yaml:"origins"`
	// Headers lists the header fields that scripts may set, besides those that
	// every script may: Authorization and Content-Type (of JSON), for example.
	// Default: none.
	Headers []string `yaml:"headers"`
	// Expose lists the header fields of responses that scripts may read, besides
	// those that every script may. Default: none.
	Expose []string `yaml:"expose"`
	// Credentials lets scripts of the origins send cookies. With session, an origin
	// of these then speaks for whoever looks at its pages, and may send what
	// changes something, as in origins. The session's cookie is sent from pages of
	// the same site alone, such as app.example.com to api.example.com. Scripts that
	// send a bearer token do not need it. Default: false.
	Credentials bool `yaml:"credentials"`
	// MaxAge is how long browsers need not ask again; most take less than this.
	// Default: their own choice, 5s. At most 24h.
	MaxAge time.Duration `yaml:"max_age"`
}

// unsettable are fields that no script can set, or that would be of no use.
var unsettable = []string{
	"*", "accept-charset", "accept-encoding", "access-control-request-headers", "access-control-request-method", "connection", "content-length",
	"cookie", "cookie2", "date", "dnt", "expect", "host", "keep-alive", "origin", "referer", "set-cookie", "te", "trailer", "transfer-encoding",
	"upgrade", "via",
}

// check reports what is wrong, on a route with sessions or without.
func (c CORS) check(report func(path, problem string)) {
	if c.Origins == nil {
		if c.Headers != nil || c.Expose != nil || c.Credentials || c.MaxAge != 0 {
			report("cors.origins", "is missing: name the origins whose scripts may call the route, such as https://app.example.com")
		}
		return
	}
	if len(c.Origins) == 0 {
		report("cors.origins", "an empty list lets nobody in: name an origin, or remove cors")
	}
	for i, origin := range c.Origins {
		if err := checkOrigin(origin); err != nil {
			report(fmt.Sprintf("cors.origins[%d]", i), err.Error())
		}
	}
	for i, name := range c.Headers {
		folded := strings.ToLower(name)
		if !httpguts.ValidHeaderFieldName(name) || slices.Contains(unsettable, folded) || strings.HasPrefix(folded, "sec-") || strings.HasPrefix(folded, "proxy-") {
			report(fmt.Sprintf("cors.headers[%d]", i), fmt.Sprintf("%q is not the name of a field that a script can set", name))
		}
	}
	for i, name := range c.Expose {
		folded := strings.ToLower(name)
		if !httpguts.ValidHeaderFieldName(name) || name == "*" || folded == "set-cookie" || folded == "set-cookie2" {
			report(fmt.Sprintf("cors.expose[%d]", i), fmt.Sprintf("%q is not the name of a field that a script can read", name))
		}
	}
	if c.MaxAge < 0 || c.MaxAge > 24*time.Hour || c.MaxAge%time.Second != 0 {
		report("cors.max_age", "want whole seconds, at most 24h")
	}
}

// checkOrigin says whether a browser could send this as Origin (RFC 6454 section
// 6.2), from a page that nobody on the way can change.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	switch {
	case origin == "null":
		return fmt.Errorf("null is what every sandboxed page says: any site could make one")
	case strings.Contains(origin, "*"):
		return fmt.Errorf("%q is a pattern: name each origin", origin)
	case err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin || u.Host != strings.ToLower(u.Host) || strings.HasSuffix(u.Host, ":"):
		return fmt.Errorf("%q is not an origin as browsers write it: write https://host[:port] in lower case, without a path", origin)
	case u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80":
		return fmt.Errorf("browsers leave the port of %q out, so it would never match: remove it", origin)
	case u.Scheme == "http" && isLoopbackHost(u.Hostname()):
		return nil
	case u.Scheme != "https":
		return fmt.Errorf("%q is not https: anyone on the way could change the page, and call the route from it", origin)
	}
	return nil
}

// crossOrigin is a CORS made ready. A nil one is that of a route without.
type crossOrigin struct {
	origins                 []string
	methods, headers, reads string
	credentials             bool
	maxAge                  string
}

func newCrossOrigin(c CORS, methods []string) *crossOrigin {
	if len(c.Origins) == 0 {
		return nil
	}
	ready := &crossOrigin{
		origins: c.Origins, methods: strings.Join(methods, ", "), headers: strings.Join(c.Headers, ", "), reads: strings.Join(c.Expose, ", "),
		credentials: c.Credentials,
	}
	if c.MaxAge > 0 {
		ready.maxAge = strconv.FormatInt(int64(c.MaxAge/time.Second), 10)
	}
	return ready
}

// preflight answers a browser that asks whether a script may send a request. It
// sends no credential with that, so nobody is authenticated. What is answered is
// the route's and the same for everybody, and the browser holds the script to
// it. That this gateway is in a private network, as some browsers ask beside
// (Access-Control-Request-Private-Network), is never conceded.
func (x *exchange) preflight() *refused {
	c := x.route.cors
	if c.origin(x.in.Header) == "" {
		return originDenied.because("")
	}
	h := x.out.Header()
	h.Set("Access-Control-Allow-Methods", c.methods)
	if c.headers != "" {
		h.Set("Access-Control-Allow-Headers", c.headers)
	}
	if c.maxAge != "" {
		h.Set("Access-Control-Max-Age", c.maxAge)
	}
	x.out.WriteHeader(http.StatusNoContent)
	return answered
}

// asks says whether a request is a preflight that this route answers.
func (c *crossOrigin) asks(r *http.Request) bool {
	return c != nil && r.Method == http.MethodOptions && r.Header["Origin"] != nil && r.Header["Access-Control-Request-Method"] != nil
}

// origin is the request's origin, if it is one of those listed: there once, and
// byte for byte.
func (c *crossOrigin) origin(h http.Header) string {
	if values := h["Origin"]; len(values) == 1 && slices.Contains(c.origins, values[0]) {
		return values[0]
	}
	return ""
}

// grant puts on a response what lets the script that asked read it. Whether it
// may or not, and whether a script asked or not, caches are told that the origin
// matters: else one would serve what it has to another origin.
func (c *crossOrigin) grant(request, h http.Header) {
	if !slices.ContainsFunc(h["Vary"], func(line string) bool {
		return httpguts.HeaderValuesContainsToken([]string{line}, "Origin") || strings.TrimSpace(line) == "*"
	}) {
		h["Vary"] = append(slices.Clip(h["Vary"]), "Origin")
	}
	origin := c.origin(request)
	if origin == "" {
		return
	}
	h["Access-Control-Allow-Origin"] = []string{origin}
	if c.credentials {
		h["Access-Control-Allow-Credentials"] = []string{"true"}
	}
	if c.reads != "" {
		h["Access-Control-Expose-Headers"] = []string{c.reads}
	}
}

// withoutCORS takes what an upstream says of CORS off its answer: a * of its
// own would open the route to every site.
func withoutCORS(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
}
