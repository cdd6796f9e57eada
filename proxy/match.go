package proxy

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vaultspan/vaultspan/telemetry/attr"
	"github.com/vaultspan/vaultspan/vault"
)

// reserved is the path prefix that vaultspan keeps for itself on every host.
const reserved = "/.vaultspan"

// route is a Route made ready to serve.
type route struct {
	Route
	pattern     string // the first of Match, for telemetry
	upstream    *url.URL
	destination vault.Destination
	private     bool // the upstream is on loopback or in a private range
	headers     headerPolicy
	guard       *http.CrossOriginProtection // of requests that a session speaks for
	cors        *crossOrigin                // nil: no script of another origin may
	pool        *pool                       // nil where there is
	certified   *certified                  // connections with the credential on them
	tokens      *pool                       // to where the secret is exchanged for a token; nil: it is worn
	templates   map[string]vault.Template   // of its secrets, those that are another for each caller
	told        []told                      // its identity headers
	inflight    *atomic.Int64               // shared with the route of that name in later settings
	measured    metric.MeasurementOption    // the route, on metrics
	closed      error                       // why the route serves nobody, or nil
}

// ServeHTTP makes a route a handler so that a ServeMux can find it. The mux
// never serves.
func (*route) ServeHTTP(http.ResponseWriter, *http.Request) {}

// table finds the route of a request.
type table struct {
	mux    *http.ServeMux
	hosts  map[string]bool // the hosts we answer for
	ports  map[int]bool    // the ports that may stand in Host
	byName map[string]*route
}

// newTable compiles routes. It reports every route that cannot be compiled.
func newTable(public *url.URL, routes []Route, closed map[string]error) (*table, error) {
	t := &table{mux: http.NewServeMux(), hosts: map[string]bool{}, ports: map[int]bool{}, byName: map[string]*route{}}
	t.answerFor(public)
	var problems []error
	tellers := namesTold(routes) // on all routes: two of them may lead to one upstream
	for _, config := range routes {
		r, err := compile(config, closed[config.Name])
		if err != nil {
			problems = append(problems, fmt.Errorf("route %q: %w", config.Name, err))
			continue
		}
		r.headers.take(tellers)
		t.byName[r.Name] = r
		for _, pattern := range config.Match {
			if err := handle(t.mux, pattern, r); err != nil {
				problems = append(problems, fmt.Errorf("route %q: %w", config.Name, err))
			}
			if host, _, _ := strings.Cut(pattern, "/"); host != "" {
				t.hosts[host] = true
			}
		}
	}
	return t, errors.Join(problems...)
}

// answerFor adds the host and port that callers use by configuration. All
// spellings of loopback are one.
func (t *table) answerFor(public *url.URL) {
	t.hosts[strings.ToLower(public.Hostname())] = true
	if isLoopbackHost(public.Hostname()) {
		t.hosts["localhost"], t.hosts["127.0.0.1"], t.hosts["::1"] = true, true, true
	}
	port, err := strconv.Atoi(cmp.Or(public.Port(), map[string]string{"http": "80"}[public.Scheme], "443"))
	if err == nil {
		t.ports[port] = true
	}
}

// find returns the route of a host and a decoded path, or nil. Redirects and
// not-found pages of the mux are not routes.
func (t *table) find(host, path string) *route {
	if isReserved(path) {
		return nil
	}
	handler, _ := t.mux.Handler(&http.Request{Method: http.MethodGet, Host: host, URL: &url.URL{Path: path}})
	r, _ := handler.(*route)
	return r
}

// answers says whether the authority is one of ours: another host must not be
// able to borrow our routes through a name that it controls (DNS rebinding).
func (t *table) answers(host string, port, listening int) bool {
	return t.hosts[host] && (port == 0 || port == listening || t.ports[port])
}

// handle registers a pattern; a conflict is an error, not a panic.
func handle(mux *http.ServeMux, pattern string, h http.Handler) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("match %q: %v", pattern, v)
		}
	}()
	mux.Handle(pattern, h)
	return nil
}

// tryPattern says whether net/http takes a pattern by itself.
func tryPattern(pattern string) error { return handle(http.NewServeMux(), pattern, &route{}) }

// CheckConflicts reports the patterns that two routes both claim, and names
// used twice. The path is "routes[i].match[j]".
func CheckConflicts(routes []Route, report func(path, problem string)) {
	mux, names := http.NewServeMux(), map[string]int{}
	for i, r := range routes {
		if first, ok := names[r.Name]; ok && r.Name != "" {
			report(fmt.Sprintf("routes[%d].name", i), fmt.Sprintf("routes[%d] is called %q too: give one another name", first, r.Name))
		} else {
			names[r.Name] = i
		}
		for j, pattern := range r.Match {
			if r.checkPattern(pattern) != nil {
				continue // reported by Check
			}
			owner := "another route"
			if _, taken := mux.Handler(&http.Request{Method: http.MethodGet, Host: hostOf(pattern), URL: &url.URL{Path: pathOf(pattern)}}); taken == pattern {
				owner = fmt.Sprintf("route %q", ownerOf(routes[:i+1], pattern))
			}
			if handle(mux, pattern, &route{}) != nil {
				report(fmt.Sprintf("routes[%d].match[%d]", i, j), fmt.Sprintf("%q conflicts with a pattern of %s: neither is more specific", pattern, owner))
			}
		}
	}
}

func hostOf(pattern string) string { return pattern[:strings.IndexByte(pattern, '/')] }
func pathOf(pattern string) string { return pattern[strings.IndexByte(pattern, '/'):] }

// ownerOf names the first route that holds the pattern.
func ownerOf(routes []Route, pattern string) string {
	for _, r := range routes {
		if slices.Contains(r.Match, pattern) {
			return r.Name
		}
	}
	return ""
}

// compile makes a route ready. closed keeps it from serving anybody.
func compile(config Route, closed error) (*route, error) {
	upstream, err := parseUpstream(config.Upstream)
	if err != nil {
		return nil, err
	}
	r := &route{
		Route: config, upstream: upstream, closed: closed,
		destination: vault.DestinationOf(upstream),
		templates:   config.templates(),
		told:        config.told(),
		private:     len(config.Private) > 0 || isLoopbackHost(upstream.Hostname()),
		inflight:    new(atomic.Int64),
		measured:    metric.WithAttributeSet(attribute.NewSet(attr.Route.String(config.Name))),
	}
	if len(config.Match) > 0 {
		r.pattern = config.Match[0]
	}
	r.Methods = config.TakenMethods()
	r.Strip = strings.TrimSuffix(config.Strip, "/")
	r.MaxBody = cmp.Or(config.MaxBody, 10<<20)
	if r.Rotation.Refused == nil {
		r.Rotation.Refused = []int{http.StatusUnauthorized}
	}
	r.Rotation.Resend = cmp.Or(config.Rotation.Resend, 64<<10)
	r.MaxInflight = cmp.Or(config.MaxInflight, 1000)
	r.Timeouts.Connect = cmp.Or(config.Timeouts.Connect, 5*time.Second)
	r.Timeouts.Response = cmp.Or(config.Timeouts.Response, 60*time.Second)
	r.Timeouts.Idle = cmp.Or(config.Timeouts.Idle, 5*time.Minute)
	r.headers = newHeaderPolicy(config)
	r.cors = newCrossOrigin(config.CORS, r.Methods)
	trusted := config.Origins
	if config.CORS.Credentials {
		trusted = slices.Concat(trusted, config.CORS.Origins)
	}
	if r.guard, err = newGuard(trusted); err != nil {
		return nil, fmt.Errorf("origins: %w", err)
	}
	open, err := newUpstreamPool(r)
	switch {
	case err != nil:
		return nil, err
	case r.Inject.OnConnection():
		r.certified = &certified{open: open, most: 1}
		if r.Rotation.Overlap > 0 {
			r.certified.most = 2
		}
	default:
		r.pool = open(nil)
	}
	r.tokens, err = newTokenPool(r)
	return r, err
}

// says resolves a setting whose default depends on where the upstream is.
func (r *route) says(setting, yes string) bool {
	return setting == yes || setting == "" && r.private
}

// newUpstreamPool makes what makes the route's own pools: connections, and with
// them any authentication bound to a connection, are never shared between routes.
func newUpstreamPool(r *route) (func(present) *pool, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cmp.Or(r.UpstreamTLS.ServerName, r.upstream.Hostname())}
	if r.UpstreamTLS.CA != "" {
		pem, err := os.ReadFile(r.UpstreamTLS.CA)
		if err != nil {
			return nil, fmt.Errorf("upstream_tls.ca: %w", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("upstream_tls.ca: %s holds no PEM certificate", r.UpstreamTLS.CA)
		}
	}
	d := &boundDialer{address: r.upstream.Host, private: r.Private, loopback: isLoopbackHost(r.upstream.Hostname())}
	return func(certificate present) *pool {
		own := settings.Clone()
		own.GetClientCertificate = certificate
		return newPool(r.upstream, d, own, r.Timeouts)
	}, nil
}
