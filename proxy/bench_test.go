package proxy_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/devidp"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
	"github.com/vaultspan/vaultspan/vault/bitwarden"
	"github.com/vaultspan/vaultspan/vault/bwemu"
)

// The credentials of the bench. No test may see them anywhere but at the
// upstream they are for.
const (
	canary1 = "CANARY-U1-5f0c2a77b1{{x}}${HOME}%7B" // J12: never expanded
	canary2 = "CANARY-U2-91d3e8004c"
)

// masked1 is canary1 as a caller sees it when an upstream sends it back.
var masked1 = strings.Repeat("*", len(canary1))

// bench is the gateway of the attack catalogue with real parts around it: an
// OpenID provider, the Bitwarden SDK on the emulator, Rego, the audit log, and
// two upstreams.
type bench struct {
	gateway  *proxy.Gateway
	settings proxy.Settings
	idp      *devidp.Provider
	secret1  *bwemu.Secret
	u1, u2   *upstream
	log      *audit.Log
	auditDir string
	public   string // the audit log's public key
	spans    *tracetest.InMemoryExporter
	logs     *lockedBuffer
	meter    metric.MeterProvider                   // default: none; set it in change
	tracer   *sdktrace.TracerProvider               // default: to spans; set it in change
	refresh  time.Duration                          // of the vault; default: 1s; set it in change
	now      func() time.Time                       // the vault's clock; default: time.Now; set it in change
	secret   func(name, value string) *bwemu.Secret // adds one to team-dev; call it in change
	roles    map[string]policy.Role                 // more may be added in change
	asserts  proxy.Assertions                       // default: none; set it in change

	organization *bwemu.Organization // secrets may be added in change
	projects     []*bwemu.Project    // those that the gateway's account reads: team-dev, team-pay

	plain, tls *httptest.Server // the gateway's listeners: HTTP/1, and TLS with HTTP/2
}

// upstream records what it received.
type upstream struct {
	*httptest.Server
	handler http.HandlerFunc // how it answers; set before the first request

	mu   sync.Mutex
	seen []*http.Request
	body []string
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if u.handler != nil {
		u.record(r, "")
		u.handler(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	u.record(r, string(body))
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"target": r.RequestURI, "host": r.Host})
}

func (u *upstream) record(r *http.Request, body string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen = append(u.seen, r)
	u.body = append(u.body, body)
}

// requests returns what arrived so far.
func (u *upstream) requests() []*http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]*http.Request(nil), u.seen...)
}

// last returns the newest request, or fails.
func (u *upstream) last(t *testing.T) *http.Request {
	t.Helper()
	all := u.requests()
	if len(all) == 0 {
		t.Fatal("the upstream received nothing")
	}
	return all[len(all)-1]
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newBench starts everything. change may edit the routes before they are served.
func newBench(t testing.TB, change ...func(*bench, []proxy.Route) []proxy.Route) *bench {
	t.Helper()
	b := &bench{spans: tracetest.NewInMemoryExporter(), logs: &lockedBuffer{}, auditDir: filepath.Join(t.TempDir(), "audit")}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var err error
	b.idp, err = devidp.Start(ctx, devidp.Config{})
	must(err)

	emulator := bwemu.New()
	organization := emulator.AddOrganization()
	dev, pay := organization.AddProject("team-dev"), organization.AddProject("team-pay")
	b.secret1 = organization.AddSecret("U1_KEY", canary1, "", dev)
	organization.AddSecret("U2_KEY", canary2, "", pay)
	organization.AddSecret("FIELDS", fmt.Sprintf(`{"username": "svc", "password": %q}`, canary1), "", dev)
	b.secret = func(name, value string) *bwemu.Secret { return organization.AddSecret(name, value, "", dev) }
	b.organization, b.projects = organization, []*bwemu.Project{dev, pay}
	server, err := emulator.Start(ctx)
	must(err)

	b.u1, b.u2 = &upstream{}, &upstream{}
	b.u1.Server = httptest.NewUnstartedServer(b.u1)
	b.u1.EnableHTTP2 = true
	b.u1.StartTLS()
	b.u2.Server = httptest.NewServer(b.u2)
	t.Cleanup(func() { b.u1.CloseClientConnections(); b.u1.Close(); b.u2.CloseClientConnections(); b.u2.Close() })
	ca := filepath.Join(t.TempDir(), "u1.pem")
	must(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.u1.Certificate().Raw}), 0o600))

	var header vault.Injection
	header.Header = "X-Api-Key"
	routes := []proxy.Route{
		{Name: "R1", Match: []string{"app.gw.test/"}, Upstream: b.u1.URL, Secret: "prod/team-dev/U1_KEY", Inject: vault.Bearer(), UpstreamTLS: proxy.UpstreamTLS{CA: ca}},
		{Name: "R2", Match: []string{"pay.gw.test/"}, Upstream: b.u2.URL, Secret: "prod/team-pay/U2_KEY", Inject: header, Methods: []string{"POST"}},
		{Name: "R3", Match: []string{"app.gw.test/public/"}, Upstream: b.u1.URL, Allow: proxy.Allow{proxy.Anyone}, UpstreamTLS: proxy.UpstreamTLS{CA: ca}},
		{Name: "R5", Match: []string{"ws.gw.test/"}, Upstream: b.u2.URL, Secret: "prod/team-dev/U1_KEY", Inject: vault.Bearer(), Origins: []string{"https://good.test"}},
		{Name: "R7", Match: []string{"api.gw.test/api/"}, Strip: "/api", Upstream: b.u2.URL + "/base", Secret: "prod/team-dev/U1_KEY", Inject: vault.Bearer()},
	}
	b.roles = map[string]policy.Role{
		"dev": {Members: []policy.Member{{Issuer: "idp", Groups: "dev"}}, Collections: map[string]policy.Methods{"prod/team-dev": {policy.Any}}},
		"pay": {Members: []policy.Member{{Issuer: "idp", Groups: "pay"}}, Collections: map[string]policy.Methods{"prod/team-pay": {"POST"}}},
	}
	for _, f := range change {
		routes = f(b, routes)
	}
	token := organization.AddAccount("gateway", b.projects...).AccessToken()
	tracer := cmp.Or(b.tracer, sdktrace.NewTracerProvider(sdktrace.WithSyncer(b.spans)))
	logger := slog.New(slog.NewJSONHandler(b.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var paths []string
	for _, r := range routes {
		paths = append(paths, r.ClaimPaths()...)
	}
	authenticator, err := authn.New(ctx, authn.Config{Issuers: []authn.IssuerConfig{{Name: "idp", URL: b.idp.Issuer(), Audience: "vaultspan"}}, Paths: paths, Logger: logger})
	must(err)
	t.Cleanup(authenticator.Close)
	engine, err := policy.New(ctx, policy.Rules{Roles: b.roles, Deadline: patience})
	must(err)

	account := vault.Config{Bitwarden: vault.Bitwarden{
		Organization: organization.ID, AccessToken: func() string { return token }, API: server.API, Identity: server.Identity, Refresh: cmp.Or(b.refresh, time.Second),
	}}
	source, err := bitwarden.New(bitwarden.Setup{Name: "prod", Config: account.Bitwarden, Tracer: tracer, Logger: logger})
	must(err)
	var bindings []vault.Binding
	for _, r := range routes {
		some, err := r.Bindings()
		must(err)
		bindings = append(bindings, some...)
	}
	prod, err := vault.Open(vault.Setup{Name: "prod", Config: account, Source: source, Bindings: bindings, FingerprintKey: func() string { return "0123456789abcdef" }, Logger: logger, Now: b.now})
	must(err)
	t.Cleanup(prod.Close)
	_ = prod.Wait(ctx) // a slow machine is not what is tested

	private, public, err := audit.Keygen("bench")
	must(err)
	b.public = public
	b.log, err = audit.Open(audit.Setup{Config: audit.Config{Dir: b.auditDir, Key: func() string { return private }, Wait: patience}, Logger: logger})
	must(err)
	t.Cleanup(func() { b.log.Close(context.Background()) })

	b.gateway = &proxy.Gateway{
		Audit: b.log, Tracer: tracer, Meter: b.meter, Logger: logger, UserID: func(issuer, subject string) string { return issuer + "|" + subject },
	}
	gw, _ := url.Parse("https://gw.test")
	b.settings = proxy.Settings{
		URL: gw, Routes: routes, Authenticator: authenticator, Policy: engine, Vaults: map[string]proxy.Vault{"prod": prod}, Assertions: b.asserts,
	}
	must(b.gateway.Swap(b.settings))
	b.plain = &httptest.Server{Config: proxy.NewServer(ctx, b.gateway, nil)}
	b.plain.Listener, err = net.Listen("tcp", "127.0.0.1:0")
	must(err)
	b.plain.Start()
	t.Cleanup(func() { b.plain.CloseClientConnections(); b.plain.Close(); b.gateway.Wait() })
	b.tls = &httptest.Server{Config: proxy.NewServer(ctx, b.gateway, &tls.Config{NextProtos: []string{"h2", "http/1.1"}}), EnableHTTP2: true}
	b.tls.Listener, err = net.Listen("tcp", "127.0.0.1:0")
	must(err)
	b.tls.StartTLS()
	t.Cleanup(func() { b.tls.CloseClientConnections(); b.tls.Close(); b.gateway.Wait() })
	return b
}

// token is a real access token of somebody.
func (b *bench) token(t testing.TB, who string) string {
	t.Helper()
	token, err := b.idp.Token(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// client speaks to the gateway whatever host a URL names.
func (b *bench) client() *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(b.tls.Certificate())
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			ForceAttemptHTTP2: true,
			TLSClientConfig:   &tls.Config{RootCAs: pool, ServerName: "example.com"},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				target := b.plain.Listener.Addr().String()
				if strings.HasSuffix(address, ":443") {
					target = b.tls.Listener.Addr().String()
				}
				return new(net.Dialer).DialContext(ctx, network, target)
			},
		},
	}
}

// do sends a request and returns the response with its body read.
func (b *bench) do(t *testing.T, method, target, token string, edit ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, f := range edit {
		f(r)
	}
	c := b.client()
	defer c.CloseIdleConnections()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// refused says whether a response is the refusal of that code.
func refused(t *testing.T, res *http.Response, body string, status int, code string) {
	t.Helper()
	var problem struct {
		Code    string `json:"code"`
		TraceID string `json:"trace_id"`
	}
	if err := json.Unmarshal([]byte(body), &problem); err != nil || res.StatusCode != status || problem.Code != code {
		t.Fatalf("got %d %s, want %d %s", res.StatusCode, body, status, code)
	}
	if problem.TraceID == "" || problem.TraceID != res.Header.Get("X-Request-Id") {
		t.Errorf("trace id %q, X-Request-Id %q", problem.TraceID, res.Header.Get("X-Request-Id"))
	}
}

// records closes nothing: it reads the audit log as it is on disk once the
// gateway has nothing in flight.
func (b *bench) records(t *testing.T) []audit.Event {
	t.Helper()
	b.plain.CloseClientConnections()
	b.tls.CloseClientConnections()
	b.gateway.Wait()
	if err := b.log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Verify(audit.VerifyOptions{Dir: b.auditDir, PublicKey: b.public}); err != nil {
		t.Fatalf("the audit log does not verify: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(b.auditDir, "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	var events []audit.Event
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			var e audit.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			events = append(events, e)
		}
	}
	return events
}
