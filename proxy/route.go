package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/vault"
)

// Route is one entry of routes: which requests, who may, to where, and how the
// credential is worn.
type Route struct {
	// Name is how logs, spans and records refer to the route. Required, unique.
	Name string `yaml:"name"`
	// Match lists net/http patterns without a method: [host]/path/. A pattern
	// that ends in / takes everything below it. Required.
	Match []string `yaml:"match"`
	// Strip is a prefix of the path that the upstream does not see.
	Strip string `yaml:"strip"`
	// Upstream is where requests go: https://host[:port][/base]. http is for
	// loopback, or for routes without a secret that name private ranges. Required.
	Upstream string `yaml:"upstream"`
	// Secret is the credential: vault/collection/name, where name may be an id.
	// In a name, {subject}, {email}, {issuer} and {claims.PATH} stand for what
	// the caller's token says: prod/people/jira-{subject} is another secret for
	// each caller, fetched when it is first used. What fills a place keeps its
	// ASCII letters, digits and . _ @ -, and every other byte becomes % and two
	// upper-case hex digits, so the secret of auth0|42 is called
	// jira-auth0%7C42. Where callers of several issuers reach the collection,
	// the name has {issuer} too, as in {issuer}:{subject}.
	Secret string `yaml:"secret"`
	// Secrets are several instead of secret, of one vault and worn alike: policy
	// chooses. The shipped one takes the first whose collection the caller's
	// roles reach with the request's method, so each is in a collection of its
	// own; within one, only a policy of your own (policy.replace) can choose.
	Secrets []string `yaml:"secrets"`
	// Inject says how the upstream wants the credential. Required with secret
	// and secrets.
	Inject vault.Injection `yaml:"inject"`
	// Guard says what happens when the upstream sends the credential back: mask
	// (the default) puts asterisks in its place; block answers 502
	// secret-reflected instead, or cuts a response whose header has been passed on.
	// For that, block waits for the whole body where Content-Length says up to
	// 64KiB, and for the first piece of any other but event streams and gRPC.
	// Either way it is recorded, logged as an error and counted. It is searched for
	// in the header, the body, trailers and WebSocket messages, as it is, in base64,
	// base64url and hex, percent-encoded and JSON-escaped. The upstream is not
	// offered ranges, compression or WebSocket extensions, so answers are larger
	// on the way from it; what it sends in gzip, br or zstd all the same is decoded.
	Guard string `yaml:"guard"`
	// Unguarded lets a credential of less than 12 bytes be used, which cannot be
	// told from other text. It turns the guard off: the upstream may show the
	// credential to callers, and nobody will know. Ranges, with which downloads are
	// taken up again, and compression then reach the upstream. Default: such a
	// credential is refused.
	Unguarded bool `yaml:"unguarded"`
	// Allow lists roles that may use the route, or is the word anyone, which
	// skips authentication and excludes a secret. With a secret too, the role
	// that reaches the secret must also be listed.
	Allow Allow `yaml:"allow"`
	// Methods lists the HTTP methods the route takes. Default: GET, HEAD, POST,
	// PUT, PATCH, DELETE, OPTIONS. CONNECT and TRACE are never taken.
	Methods []string `yaml:"methods"`
	// TokenFrom lists more header fields a caller may carry its token in, for
	// clients that cannot set Authorization: x-api-key, x-goog-api-key, api-key,
	// proxy-authorization, and x-amz-security-token, where SDKs of AWS send the
	// session token of their credentials.
	TokenFrom []string `yaml:"token_from"`
	// Private lists the private ranges the upstream may resolve to. Without it
	// only public addresses are dialed; loopback only when upstream says so.
	Private []netip.Prefix `yaml:"private"`
	// Host is what the upstream sees as Host: upstream (the default) or preserve.
	Host string `yaml:"host"`
	// UpstreamTLS is for upstreams with a certificate authority of their own.
	UpstreamTLS UpstreamTLS `yaml:"upstream_tls"`
	// Timeouts bound the upstream's part of an exchange.
	Timeouts Timeouts `yaml:"timeouts"`
	// Rotation is for an upstream that refuses the credential.
	Rotation Rotation `yaml:"rotation"`
	// MaxBody is the largest request body accepted. Default: 10MiB.
	MaxBody audit.Bytes `yaml:"max_body"`
	// MaxInflight is how many requests may be under way at once; more are
	// refused. Default: 1000.
	MaxInflight int `yaml:"max_inflight"`
	// Session lets people with a browser in too: who is not logged in is sent to
	// log in at an issuer that has a login, and then is whom its ID token says.
	// Bearer tokens go on working. Default: false.
	Session bool `yaml:"session"`
	// Authentication demands that callers have signed in lately, or by certain means
	// (RFC 9470). A token that does not say so is refused with 401
	// authentication-insufficient and what would do; a browser is sent to sign in
	// again. Default: nothing is demanded.
	Authentication authn.Demand `yaml:"authentication"`
	// Origins lists the web origins, exactly as browsers write them, that may open a
	// WebSocket, besides url's, and, with session, send requests that change something.
	Origins []string `yaml:"origins"`
	// CORS lets scripts of other web origins call the route. Default: it does not.
	CORS CORS `yaml:"cors"`
	// Trace says whether the upstream receives a traceparent: propagate or none.
	// Default: propagate to loopback and private upstreams, none to others.
	Trace string `yaml:"trace"`
	// Forwarded says whether the upstream receives X-Forwarded-For, -Host and
	// -Proto: send or none. Default: as for trace.
	Forwarded string `yaml:"forwarded"`
	// Assertion puts X-Vaultspan-Assertion on requests to the upstream: a signed
	// token that says who is calling, for this route alone, and which the upstream
	// verifies with /.vaultspan/jwks.json (docs/assertions.md). Default: false.
	Assertion bool `yaml:"assertion"`
	// IdentityHeaders are header fields that tell the upstream who is calling, such
	// as X-User: email. What one tells is id (issuer:subject), issuer, subject,
	// email, kind, groups (with commas between them), role (that let the caller in)
	// or actor (who acts for it). A value that no header field can carry unharmed is
	// left out, and the trace says why; a list is left out whole. Callers cannot send
	// a field of that name, on any route. Default: none.
	IdentityHeaders map[string]string `yaml:"identity_headers"`
	// Cache is no-store, which forbids every cache on the way to the caller to
	// keep a response, whatever the upstream says, or upstream, which passes on
	// what it says. Default: no-store for a route with a secret, since a cache in
	// front would serve what one caller may see to another; upstream for others.
	Cache string `yaml:"cache"`
	// Tags are for policies: input.route.tags.
	Tags []string `yaml:"tags"`
}

// UpstreamTLS says how to verify an upstream.
type UpstreamTLS struct {
	// CA is a PEM file of certificate authorities. Default: the system's.
	CA string `yaml:"ca"`
	// ServerName is the name the certificate must have. Default: upstream's host.
	ServerName string `yaml:"server_name"`
}

// Rotation says what happens when the upstream refuses the credential: the
// secret is read anew at once, and when the vault has another version of it the
// request is sent once more, with that version and a record of its own.
type Rotation struct {
	// Refused lists the statuses by which the upstream refuses a credential.
	// Default: [401].
	Refused []int `yaml:"refused"`
	// Resend is the largest request body that is kept to be sent again. The
	// refusal of a larger one is passed on. Default: 64KiB.
	Resend audit.Bytes `yaml:"resend"`
	// Overlap is how long after a rotation the version before is tried too, when
	// the upstream refuses the new one: it may learn of it later than the vault.
	// Default: not at all. At most 24h.
	Overlap time.Duration `yaml:"overlap"`
}

// Timeouts bound the upstream's part of an exchange.
type Timeouts struct {
	// Connect bounds resolving, connecting and the TLS handshake. Default: 5s.
	Connect time.Duration `yaml:"connect"`
	// Response bounds the wait for the response's header. Default: 60s.
	Response time.Duration `yaml:"response"`
	// Idle ends an exchange in which nothing moved for so long. Default: 5m.
	Idle time.Duration `yaml:"idle"`
}

// Anyone is what the word anyone stands for in Allow.
const Anyone = "*"

// Allow is a list of roles, or anyone.
type Allow []string

// UnmarshalText reads the word anyone, the only scalar that Allow may be.
func (a *Allow) UnmarshalText(text []byte) error {
	if string(text) != "anyone" {
		return errors.New("want a list of roles such as [wiki-reader], or the word anyone")
	}
	*a = Allow{Anyone}
	return nil
}

// Open says whether the route takes callers without a token.
func (a Allow) Open() bool { return len(a) == 1 && a[0] == Anyone }

// defaultMethods are taken by a route that lists none.
var defaultMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
	http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// tokenHeaders are the places token_from may name, with the scheme each has.
var tokenHeaders = map[string]string{
	"x-api-key": "", "x-goog-api-key": "", "api-key": "", "proxy-authorization": "Bearer",
	"x-amz-security-token": "",
}

// Check reports everything that is wrong with the route by itself.
func (r Route) Check(report func(path, problem string)) {
	if r.Name == "" {
		report("name", "a route needs a name: records and spans refer to it")
	}
	if len(r.Match) == 0 {
		report("match", "a route needs at least one pattern, such as [/stripe/] or [wiki.example.com/]")
	}
	for i, pattern := range r.Match {
		if err := r.checkPattern(pattern); err != nil {
			report(fmt.Sprintf("match[%d]", i), err.Error())
		}
	}
	r.checkUpstream(report)
	r.checkCredential(report)
	for i, method := range r.Methods {
		if !httpguts.ValidHeaderFieldName(method) || method != strings.ToUpper(method) {
			report(fmt.Sprintf("methods[%d]", i), fmt.Sprintf("%q is not a method: write it in upper case, such as GET", method))
		} else if slices.Contains([]string{"CONNECT", "TRACE", "TRACK"}, method) {
			report(fmt.Sprintf("methods[%d]", i), method+" is never forwarded: remove it")
		}
	}
	for i, place := range r.TokenFrom {
		if _, ok := tokenHeaders[strings.ToLower(place)]; !ok {
			report(fmt.Sprintf("token_from[%d]", i), fmt.Sprintf("%q cannot carry a token: write x-api-key, x-goog-api-key, api-key, proxy-authorization or x-amz-security-token", place))
		}
	}
	for i, origin := range r.Origins {
		if u, err := url.Parse(origin); err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin {
			report(fmt.Sprintf("origins[%d]", i), fmt.Sprintf("%q is not an origin: write scheme://host[:port] without a path", origin))
		} else if err := checkOrigin(origin); err != nil && (r.Session || strings.Contains(origin, "*")) {
			report(fmt.Sprintf("origins[%d]", i), err.Error())
		}
	}
	oneOf := func(path, value string, words ...string) {
		if value != "" && !slices.Contains(words, value) {
			report(path, fmt.Sprintf("%q is not known here: write %s", value, strings.Join(words, " or ")))
		}
	}
	oneOf("guard", r.Guard, "mask", block)
	oneOf("host", r.Host, "upstream", "preserve")
	oneOf("trace", r.Trace, "propagate", "none")
	oneOf("forwarded", r.Forwarded, "send", "none")
	oneOf("cache", r.Cache, "no-store", "upstream")
	r.checkTold(report)
	for i, p := range r.Private {
		if p.Bits() == 0 {
			report(fmt.Sprintf("private[%d]", i), fmt.Sprintf("%s is every address, metadata services among them: name the ranges", p))
		}
	}
	if r.Host == "preserve" && r.wears() && slices.ContainsFunc(r.Match, func(pattern string) bool { return strings.HasPrefix(pattern, "/") }) {
		report("host", "a route with a secret preserves only hosts it names: behind a shared front the host chooses who gets the credential; write them in match")
	}
	for path, d := range map[string]time.Duration{"connect": r.Timeouts.Connect, "response": r.Timeouts.Response, "idle": r.Timeouts.Idle} {
		if d < 0 {
			report("timeouts."+path, "a timeout cannot be negative")
		}
	}
	r.Rotation.check(r.wears(), report)
	r.CORS.check(report)
	r.Authentication.Check(func(path, problem string) { report("authentication."+path, problem) })
	if r.Allow.Open() && !r.Authentication.IsZero() {
		report("authentication", "nobody is authenticated on a route with allow: anyone: list roles, or remove it")
	}
	if r.MaxInflight < 0 {
		report("max_inflight", "a limit cannot be negative")
	}
}

// check reports what is wrong, on a route with a secret or without one.
func (r Rotation) check(secret bool, report func(path, problem string)) {
	given := r.Refused != nil || r.Resend != 0 || r.Overlap != 0
	if given && !secret {
		report("rotation", "there is no secret to rotate: add secret: vault/collection/name, or remove it")
	}
	for i, status := range r.Refused {
		if status < 400 || status > 499 {
			report(fmt.Sprintf("rotation.refused[%d]", i), fmt.Sprintf("%d does not refuse a credential: write a status from 400 to 499, such as 401 or 403", status))
		}
	}
	if r.Refused != nil && len(r.Refused) == 0 {
		report("rotation.refused", "an empty list would notice no refusal: remove it for [401]")
	}
	if r.Overlap < 0 || r.Overlap > 24*time.Hour {
		report("rotation.overlap", "want at most 24h, and not less than nothing")
	}
	if r.Resend > 16<<20 {
		report("rotation.resend", "want at most 16MiB: it is kept in memory for every request under way")
	}
}

// checkPattern says whether a pattern can be matched as written.
func (r Route) checkPattern(pattern string) error {
	host, path, ok := strings.Cut(pattern, "/")
	path = "/" + path
	switch {
	case !ok || strings.ContainsAny(pattern, " \t"):
		return fmt.Errorf("%q is not a pattern: write [host]/path without a method", pattern)
	case host != strings.ToLower(host) || strings.HasSuffix(host, ".") || strings.Contains(host, ":"):
		return fmt.Errorf("the host of %q must be in lower case, without a port and without a final dot", pattern)
	case isReserved(path):
		return fmt.Errorf("%s is reserved for vaultspan itself", reserved)
	case r.Strip != "" && path != r.Strip && !strings.HasPrefix(path, strings.TrimSuffix(r.Strip, "/")+"/"):
		return fmt.Errorf("strip %q is not a prefix of %q at a segment boundary", r.Strip, pattern)
	}
	return tryPattern(pattern)
}

// checkUpstream reports what is wrong with where requests would go.
func (r Route) checkUpstream(report func(path, problem string)) {
	if r.Strip != "" && !strings.HasPrefix(r.Strip, "/") {
		report("strip", "a prefix starts with /")
	}
	u, err := parseUpstream(r.Upstream)
	if err != nil {
		report("upstream", err.Error())
		return
	}
	if u.Scheme == "https" || isLoopbackHost(u.Hostname()) {
		return
	}
	if r.wears() {
		report("upstream", "a credential is sent over https only (or to loopback): anyone on the path could read it")
	} else if len(r.Private) == 0 {
		report("upstream", "http is for loopback, or for private networks: add private: [10.0.0.0/8] (your range), or use https")
	}
}

// parseUpstream reads an upstream's URL into one with an explicit port.
func parseUpstream(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return nil, errors.New("a route needs an upstream, such as https://api.example.com")
	case err != nil:
		return nil, errors.New("not a URL: write https://host[:port][/base]")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("the scheme %q cannot be proxied: write https (or http on loopback)", u.Scheme)
	case u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return nil, errors.New("write https://host[:port][/base], without user, query or fragment")
	case u.Path != "" && checkPath(u.EscapedPath()) != nil:
		return nil, errors.New("the base path is not in canonical form")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return nil, fmt.Errorf("the port %q is not one", port)
	}
	u.Host = net.JoinHostPort(strings.ToLower(u.Hostname()), port)
	return u, nil
}

// isLoopbackHost says whether a configured host names loopback by itself.
func isLoopbackHost(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
