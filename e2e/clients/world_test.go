// Package clients_test drives the clients that people use through the gateway
// as a binary: the SDKs of LLM providers and of MCP, grpc-go, WebSocket clients,
// curl and git, none of them changed, against upstreams that speak as the real
// ones do.
//
// Every test has a bench (package bench), upstreams that demand exactly the
// vault's credential and refuse a caller's token, and the gateway twice, with
// TLS and without. It ends with the gateways' clean exit and a scan of all they
// wrote, of what the clients showed and kept, and of what the upstreams got.
//
// The clients are looked up in PATH; one that is missing skips its test, or
// fails it where CI=true. VAULTSPAN_BINARY names a gateway to drive instead of
// building one.
package clients_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/grpclog"

	"github.com/vaultspan/vaultspan/e2e/bench"
	"github.com/vaultspan/vaultspan/e2e/canary"
)

// patience bounds every wait; none is meant to last.
const patience = 30 * time.Second

// program builds the gateway when the first test serves.
var program func() (string, error)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vaultspan-clients-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	program = bench.Program("../..", dir)
	grpclog.SetLoggerV2(interopLog{grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)})
	return m.Run()
}

// world is a bench with upstreams and gateways of one test.
type world struct {
	*bench.Bench
	t     *testing.T
	ctx   context.Context // outlives the test's, which ends before its cleanups
	dir   string          // all that the gateways write
	keys  canary.Scanner  // what is in the vault, and in no client
	ca    string          // the file of who signed the gateway's certificate
	trust *tls.Config     // a client's, that believes it
}

// gateway is one of the two.
type gateway struct {
	*bench.Gateway
	name string // plaintext or tls
	url  string
}

// open starts a bench, and scans for leaks when everything else has ended.
func open(t *testing.T) *world {
	t.Helper()
	b, ctx, dir := bench.Open(t)
	w := &world{Bench: b, t: t, ctx: ctx, dir: dir}
	w.certify()
	return w
}

// secret puts a credential into the vault, as prod/team-dev/NAME.
func (w *world) secret(name string) string {
	w.t.Helper()
	value := "CANARY-" + name + "-" + rand.Text()
	if err := w.AddSecret("team-dev", name, value); err != nil {
		w.t.Fatal(err)
	}
	if err := w.keys.Add(value, wide(value)); err != nil {
		w.t.Fatal(err)
	}
	return value
}

// token is a caller's: agent-1 and alice may use everything, agent-2 and carol
// nothing, and agent-1's may have expired.
func (w *world) token(who string) string {
	w.t.Helper()
	token, err := w.Token(w.t.Context(), who)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// serve runs the gateway with these routes, in YAML, on both listeners.
func (w *world) serve(routes ...string) []gateway {
	return []gateway{w.serveOn("plaintext", routes...), w.serveOn("tls", routes...)}
}

// serveOn runs the gateway on one listener.
func (w *world) serveOn(name string, routes ...string) gateway {
	w.t.Helper()
	exe, err := program()
	if err != nil {
		w.t.Fatal(err)
	}
	dir := filepath.Join(w.dir, name)
	env := w.Env()
	key := filepath.Join(env["SECRETS"], name+"-audit.key")
	if out, err := exec.CommandContext(w.ctx, exe, "audit", "keygen", "e2e.test/audit", "--out", key).CombinedOutput(); err != nil {
		w.t.Fatalf("keygen: %v\n%s", err, out)
	}
	listener, scheme := "url: http://127.0.0.1", "http://"
	if name == "tls" {
		listener = fmt.Sprintf("url: https://127.0.0.1\ntls: {cert: %s, key: %s}", w.ca, filepath.Join(env["SECRETS"], "tls.key"))
		scheme = "https://"
	}
	config := fmt.Sprintf(`listen: 127.0.0.1:0
%s
admin: {listen: 127.0.0.1:0}
issuers: [{name: a, url: %s, audience: vaultspan}]
vaults:
  prod:
    bitwarden: {organization: %s, access_token: "${file:%s/bws-token}", api: %s, identity: %s}
roles:
  agent:
    members: [{issuer: a, subject: agent-1}, {issuer: a, groups: dev}]
    collections: {prod/team-dev: any}
routes:
  - %s
audit: {dir: %s/audit, key: "${file:%s}"}
telemetry: {otlp: {endpoint: %s}, sample: 1, log_level: debug}
`, listener, env["IDP"], env["BW_ORG"], env["SECRETS"], env["BW_API"], env["BW_IDENTITY"],
		strings.Join(routes, "\n  - "), dir, key, env["OTLP_GRPC"])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vaultspan.yaml"), []byte(config), 0o600); err != nil {
		w.t.Fatal(err)
	}
	log := filepath.Join(dir, "gateway.log")
	g, err := w.Serve(w.ctx, bench.Run{Program: exe, Dir: dir, Log: log, Env: []string{"HOME=" + dir, "TMPDIR=" + dir}})
	if err != nil {
		w.t.Fatal(err)
	}
	show := func() {
		text, _ := os.ReadFile(log)
		w.t.Logf("the gateway's log:\n%s", text)
	}
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		defer cancel()
		if err := g.Stop(ctx); err != nil {
			w.t.Error(err)
		}
		if w.t.Failed() {
			show()
		}
	})
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := g.Serving(ctx); err != nil {
		w.t.Fatal(err)
	}
	w.ready(ctx, g.Admin)
	return gateway{g, name, scheme + g.Listen}
}

// ready waits until the gateway has everything that its routes need.
func (w *world) ready(ctx context.Context, admin string) {
	w.t.Helper()
	if !bench.Until(ctx, func() bool {
		resp, err := http.Get(admin + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}) {
		w.t.Fatal("the gateway is not ready")
	}
}

// certify makes the gateway's certificate, and clients that believe it.
func (w *world) certify() {
	w.t.Helper()
	c, err := bench.NewCertificate("127.0.0.1", "*.gw.test")
	if err == nil {
		err = c.Write(w.Env()["SECRETS"])
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.ca = filepath.Join(w.Env()["SECRETS"], "tls.crt")
	w.trust = &tls.Config{RootCAs: c.Pool}
}

// listen serves on a free port of loopback, and returns its address.
func (w *world) listen(serve func(net.Listener) error) string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	go serve(l)
	return l.Addr().String()
}
