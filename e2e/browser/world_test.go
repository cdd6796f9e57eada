// Package browser_test has people sign in, stay in and get out with a real
// Chromium, through the gateway as a binary: at Dex, and at the provider of
// package devidp.
//
// Every test has a bench (package bench), the two providers with the gateway as
// their client, a site behind the gateway, a site of somebody else, and one
// gateway with TLS on the hosts gw.test and wiki.gw.test. It ends with the
// gateway's clean exit and a scan of all that it wrote.
//
// Chromium and npm, for the accessibility checker, are looked up in PATH; without
// them the tests are skipped, or fail where CI=true. VAULTSPAN_BINARY names a
// gateway to drive instead of building one. Run with -shots DIR for pictures of
// every page.
package browser_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn/devidp"
	"github.com/vaultspan/vaultspan/e2e/bench"
	"github.com/vaultspan/vaultspan/e2e/dex"
)

// patience bounds every wait; none is meant to last.
const patience = 30 * time.Second

var shots = flag.String("shots", "", "put pictures of the pages into this directory")

// program builds the gateway when the first test serves.
var program func() (string, error)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "vaultspan-browser-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	program = bench.Program("../..", dir)
	if identity, err = bench.NewCertificate("gw.test", "*.gw.test", "evil.test"); err != nil {
		panic(err)
	}
	defer quit()
	return m.Run()
}

// clientSecret is that of the gateway as a client, at every issuer of devidp.
const clientSecret = "CANARY-client-secret-of-the-gateway"

// world is what one test has.
type world struct {
	*bench.Bench
	t    *testing.T
	ctx  context.Context // outlives the test's, which ends before its cleanups
	dir  string          // all that the gateway writes
	exe  string
	site *site

	gateway *bench.Gateway
	port    string
	corp    *devidp.Provider // where sessions are refreshed
	brief   *devidp.Provider // which gives no refresh token, and for brevity only
	dex     *dex.Provider
	other   string // the port of somebody else's server
}

// briefly is how long a login at the issuer brief lasts.
const briefly = 15 * time.Second

// open starts all of it. Tests run side by side: most of their time is waiting.
func open(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	chromium(t)
	exe, err := program()
	if err != nil {
		t.Fatal(err)
	}
	b, ctx, dir := bench.Open(t)
	b.Plant(clientSecret, dex.Password)
	w := &world{Bench: b, t: t, ctx: ctx, dir: dir, exe: exe, site: newSite(b)}
	if w.port, err = bench.FreePort(); err != nil {
		t.Fatal(err)
	}
	w.providers()
	_, w.other, _ = net.SplitHostPort(w.serveTLS(http.HandlerFunc(elsewhere)))
	w.start(b.Env()["SECRETS"])
	return w
}

// at is a URL of the gateway.
func (w *world) at(host, path string) string { return "https://" + host + ":" + w.port + path }

// providers starts where people sign in, with the gateway as a client of each.
func (w *world) providers() {
	w.t.Helper()
	relay := "http://" + w.serve(w.relay()) + "/.vaultspan/backchannel-logout"
	var callbacks, signedOut []string
	for _, host := range []string{"gw.test", "wiki.gw.test"} {
		for _, issuer := range []string{"corp", "dex", "brief", "gone"} {
			callbacks = append(callbacks, w.at(host, "/.vaultspan/callback/"+issuer))
		}
		signedOut = append(signedOut, w.at(host, "/.vaultspan/signed-out"))
	}
	people, _ := devidp.Cast()
	client := devidp.Client{
		ID: "gateway", Secret: func() string { return clientSecret },
		RedirectURIs: callbacks, PostLogoutRedirectURIs: signedOut, BackChannelLogoutURI: relay,
	}
	var err error
	for provider, lifetime := range map[**devidp.Provider]time.Duration{&w.corp: time.Hour, &w.brief: briefly} {
		if *provider, err = devidp.Start(w.ctx, devidp.Config{People: people, Clients: []devidp.Client{client}, Lifetime: lifetime}); err != nil {
			w.t.Fatal(err)
		}
	}
	w.dex, err = dex.Start(w.ctx, dex.Config{
		People:       map[string][]string{"alice": {"dev"}, "mallory": {}},
		RedirectURIs: callbacks, PostLogoutRedirectURIs: signedOut, BackChannelLogoutURI: relay,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// relay passes requests on to the gateway. Providers on loopback do not know
// gw.test, nor who signed its certificate.
func (w *world) relay() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: "gw.test:" + w.port})
			r.Out.Host = "gw.test:" + w.port
		},
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: identity.Pool},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+w.port)
			},
		},
	}
}

// start runs the gateway.
func (w *world) start(secrets string) {
	w.t.Helper()
	for name, text := range map[string]string{
		"client": clientSecret + "\n", "dex": dex.Password + "\n", "session.key": hex.EncodeToString(random(32)) + "\n",
	} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := identity.Write(secrets); err != nil {
		w.t.Fatal(err)
	}
	if out, err := exec.CommandContext(w.ctx, w.exe, "audit", "keygen", "e2e.test/audit", "--out", filepath.Join(secrets, "audit.key")).CombinedOutput(); err != nil {
		w.t.Fatalf("keygen: %v\n%s", err, out)
	}
	config := strings.NewReplacer("SECRETS", secrets, "PORT", w.port, "CORP", w.corp.Issuer(), "BRIEF", w.brief.Issuer(), "DEX", w.dex.Issuer(),
		"SITE", "http://"+w.serve(w.site), "OTLP", w.Env()["OTLP_GRPC"]).Replace(configuration)
	if err := os.WriteFile(filepath.Join(w.dir, "vaultspan.yaml"), []byte(config), 0o600); err != nil {
		w.t.Fatal(err)
	}
	log := filepath.Join(w.dir, "gateway.log")
	g, err := w.Serve(w.ctx, bench.Run{Program: w.exe, Dir: w.dir, Log: log, Env: []string{"HOME=" + w.dir, "TMPDIR=" + w.dir}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.gateway = g
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		defer cancel()
		if err := g.Stop(ctx); err != nil {
			w.t.Error(err)
		}
		if w.t.Failed() {
			text, _ := os.ReadFile(log)
			w.t.Logf("the gateway's log:\n%s", text)
		}
	})
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := g.Serving(ctx); err != nil {
		w.t.Fatal(err)
	}
}

const configuration = `listen: 127.0.0.1:PORT
url: https://gw.test:PORT
tls: {cert: SECRETS/tls.crt, key: SECRETS/tls.key}
admin: {listen: 127.0.0.1:0, socket: admin.sock}
issuers:
  - name: corp
    url: CORP
    audience: vaultspan
    login: {client_id: gateway, client_secret: "${file:SECRETS/client}", title: Acme staff, scopes: [openid, profile, email, offline_access]}
  - name: dex
    url: DEX
    audience: vaultspan
    tokens: [id]
    login: {client_id: vaultspan, client_secret: "${file:SECRETS/dex}", title: Partners, scopes: [openid, profile, email, groups, offline_access], logout_token_types: [none]}
  - name: brief
    url: BRIEF
    audience: vaultspan
    login: {client_id: gateway, client_secret: "${file:SECRETS/client}", title: Visitors, scopes: [openid]}
  - name: gone
    url: http://127.0.0.1:1
    audience: vaultspan
    login: {client_id: gateway, title: Closed}
sessions:
  key: "${file:SECRETS/session.key}"
  theme: {name: Acme gateway, help: "Ask for access in #gateway, with the id below."}
roles:
  reader:
    members: [{issuer: corp, groups: dev}, {issuer: corp, subject: carol}, {issuer: dex, groups: dev}, {issuer: brief, groups: dev}]
routes:
  - {name: wiki, match: [wiki.gw.test/], upstream: SITE, allow: [reader], session: true}
  - {name: api, match: [api.gw.test/], upstream: SITE, allow: [reader]}
  - {name: app, match: [/app/], upstream: SITE, allow: [reader], session: true}
audit: {dir: audit, key: "${file:SECRETS/audit.key}"}
telemetry: {otlp: {endpoint: OTLP}, sample: 1, log_level: debug}
`

// serve listens on a free port of loopback until the test's world ends.
func (w *world) serve(handler http.Handler) string {
	w.t.Helper()
	return w.listen(handler, func(l net.Listener) net.Listener { return l })
}

// serveTLS is serve with the certificate.
func (w *world) serveTLS(handler http.Handler) string {
	w.t.Helper()
	return w.listen(handler, func(l net.Listener) net.Listener {
		return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{identity.Pair}})
	})
}

func (w *world) listen(handler http.Handler, wrap func(net.Listener) net.Listener) string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(w.ctx, func() { server.Close() })
	go server.Serve(wrap(l))
	return l.Addr().String()
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// identity is the gateway's certificate, and that of the sites beside it.
var identity *bench.Certificate

// elsewhere is a page of somebody else, which has the browser send what its
// query says to the gateway.
func elsewhere(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprintf(w, "<!doctype html><title>elsewhere</title><h1>elsewhere</h1><form method=post action=%q><button>win</button></form>", r.URL.Query().Get("to"))
}
