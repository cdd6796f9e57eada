package session_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/session"
)

// gateway is a Manager behind TLS, and one page for people: whoever is logged in
// reads who they are, and everybody else is sent to log in.
type gateway struct {
	*session.Manager
	url    string
	store  session.Store
	issuer *authn.Authenticator
	logs   *bytes.Buffer
	setup  session.Setup
	tracer trace.TracerProvider // of the requests; nil: they have no spans

	mu      sync.Mutex
	changes []session.Change
}

// options change how a gateway is set up.
type options struct {
	login  authn.Login
	config session.Config
	store  session.Store
	more   []authn.IssuerConfig
	skew   time.Duration // the issuer's clock_skew
	// transport is how the provider is reached. Default: as it is.
	transport http.RoundTripper
	meter     metric.MeterProvider
	tracer    trace.TracerProvider
}

const testKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

func secret(s string) func() string { return func() string { return s } }

func newGateway(t *testing.T, p *provider, o options) *gateway {
	t.Helper()
	g := &gateway{logs: &bytes.Buffer{}, store: o.store, tracer: o.tracer}
	if o.login.ClientID == "" {
		o.login.ClientID = "web"
	}
	o.login.ClientSecret = secret("web-secret")
	var err error
	logger := slog.New(slog.NewTextHandler(&locked{w: g.logs}, nil))
	g.issuer, err = authn.New(context.Background(), authn.Config{
		Issuers: append([]authn.IssuerConfig{{Name: "corp", URL: p.url, Audience: "vaultspan", ClockSkew: o.skew, Login: o.login}}, o.more...), Now: p.clock.now, Logger: logger, Transport: o.transport, Tracer: o.tracer,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.issuer.Close)
	if g.store == nil {
		g.store = openStore(t)
	}
	server := httptest.NewUnstartedServer(g)
	server.StartTLS()
	t.Cleanup(server.Close)
	g.url = server.URL
	public, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if o.config.Key == nil {
		o.config.Key = secret(testKey)
	}
	g.setup = session.Setup{
		Config: o.config, URL: public, Issuers: g.issuer, Store: g.store, Now: p.clock.now, Logger: logger, Meter: o.meter,
		OnChange: func(c session.Change) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.changes = append(g.changes, c)
		},
	}
	if g.Manager, err = session.New(g.setup); err != nil {
		t.Fatal(err)
	}
	return g
}

// another is a second node: its own memory, the same store.
func (g *gateway) another(t *testing.T) *session.Manager {
	t.Helper()
	m, err := session.New(g.setup)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// locked serialises writes of a log.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.tracer != nil {
		ctx, span := g.tracer.Tracer("test").Start(r.Context(), "request")
		defer span.End()
		r = r.WithContext(ctx)
	}
	if strings.HasPrefix(r.URL.Path, "/.vaultspan/") {
		g.Serve(w, r, "127.0.0.1", "trace-1")
		return
	}
	id, identity, err := g.Identify(r.Context(), r.Header["Cookie"])
	refusal, _ := err.(*authn.Error)
	switch {
	case refusal != nil && refusal.Reason == authn.Ambiguous:
		http.Error(w, "ambiguous", http.StatusBadRequest)
	case refusal != nil && (refusal.Reason == authn.NoStore || refusal.Reason == authn.Unavailable):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case (id == "" || err != nil) && r.Header.Get("Accept") == "application/json":
		http.Error(w, fmt.Sprint(err), http.StatusUnauthorized)
	case id == "" || err != nil:
		http.Redirect(w, r, "/.vaultspan/login?"+url.Values{"return": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
	default:
		fmt.Fprintf(w, "%s of %s in %v\n", identity.Subject, identity.Issuer, identity.Groups)
	}
}

// browser keeps cookies and follows no redirect by itself.
type browser struct {
	t       *testing.T
	gateway *gateway
	client  *http.Client
	header  http.Header // on every request
}

func newBrowser(t *testing.T, g *gateway) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.InsecureSkipVerify = true // the test server's own certificate
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, gateway: g, header: http.Header{}, client: &http.Client{
		Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// page is an answer, read.
type page struct {
	status int
	header http.Header
	body   string
}

func (p page) location() string { return p.header.Get("Location") }

// get asks for a path of the gateway, or a whole URL.
func (b *browser) get(to string) page { b.t.Helper(); return b.do("GET", to, nil, nil) }

func (b *browser) do(method, to string, form url.Values, header http.Header) page {
	b.t.Helper()
	if strings.HasPrefix(to, "/") {
		to = b.gateway.url + to
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequest(method, to, body)
	if err != nil {
		b.t.Fatal(err)
	}
	maps.Copy(r.Header, b.header)
	maps.Copy(r.Header, header)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{res.StatusCode, res.Header, string(text)}
}

// begin asks for a page without a session and stops at the provider's door.
func (b *browser) begin(path string) (asked url.Values) {
	b.t.Helper()
	p := b.get(path)
	if p.status != 303 || !strings.HasPrefix(p.location(), "/.vaultspan/login?") {
		b.t.Fatalf("GET %s: %d to %q; want a redirect to the login", path, p.status, p.location())
	}
	p = b.get(p.location())
	u, err := url.Parse(p.location())
	if err != nil || p.status != 303 || u.Path != "/authorize" {
		b.t.Fatalf("the login leads to %d %q %s", p.status, p.location(), p.body)
	}
	return u.Query()
}

// finish comes back from the provider as somebody.
func (b *browser) finish(p *provider, asked url.Values, subject string) page {
	b.t.Helper()
	return b.get(asked.Get("redirect_uri") + "?" + url.Values{"state": {asked.Get("state")}, "code": {p.code(asked, subject)}}.Encode())
}

// login is the whole way; it ends on the page that was asked for.
func (b *browser) login(p *provider, path, subject string) {
	b.t.Helper()
	back := b.finish(p, b.begin(path), subject)
	if back.status != 303 || back.location() != path {
		b.t.Fatalf("the callback leads to %d %q %s\n%s", back.status, back.location(), back.body, b.gateway.logs)
	}
	b.reads(path, subject)
}

// reads wants the page of somebody.
func (b *browser) reads(path, subject string) {
	b.t.Helper()
	if got := b.get(path); got.status != 200 || !strings.HasPrefix(got.body, subject+" of corp") {
		b.t.Fatalf("GET %s: %d %q to %s; want the page of %s\n%s", path, got.status, got.body, got.location(), subject, b.gateway.logs)
	}
}

// out wants no session.
func (b *browser) out(path string) {
	b.t.Helper()
	if got := b.get(path); got.status != 303 {
		b.t.Fatalf("GET %s: %d %q; want to be sent to the login", path, got.status, got.body)
	}
}

// cookie is the session cookie, or "".
func (b *browser) cookie() string {
	u, _ := url.Parse(b.gateway.url)
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == "__Host-vaultspan" {
			return c.Value
		}
	}
	return ""
}
