package e2e_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// redisServer is a real server on a port and with a password of its own.
type redisServer struct {
	t        *testing.T
	port     string
	password string
	args     []string
	cmd      *exec.Cmd
}

func newRedisServer(t *testing.T, args ...string) *redisServer {
	t.Helper()
	bench.Need(t, "redis-server")
	port, err := bench.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s := &redisServer{t: t, port: port, password: rand.Text()}
	s.args = append([]string{"--port", port, "--bind", "127.0.0.1", "--requirepass", s.password, "--save", "", "--dir", t.TempDir(), "--logfile", ""}, args...)
	s.start()
	t.Cleanup(s.kill)
	return s
}

// start returns when the server answers: it says so.
func (s *redisServer) start() {
	s.t.Helper()
	s.cmd = exec.Command("redis-server", s.args...)
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan bool, 1)
	go func() {
		defer close(ready)
		told := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if !told && strings.Contains(lines.Text(), "Ready to accept connections") {
				ready <- true
				told = true
			}
		}
	}()
	if !<-ready {
		s.t.Fatal("redis-server ended before it was ready")
	}
}

// kill is what the kernel does to it when memory is short.
func (s *redisServer) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// stall leaves its connections open and answers nothing, until resume.
func (s *redisServer) stall()  { s.signal(syscall.SIGSTOP) }
func (s *redisServer) resume() { s.signal(syscall.SIGCONT) }

func (s *redisServer) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// do is an operator at the server.
func (s *redisServer) do(command ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "redis-cli", append([]string{"-p", s.port}, command...)...)
	cmd.Env = append(os.Environ(), "REDISCLI_AUTH="+s.password)
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "ERR") {
		s.t.Fatalf("%v: %v %s", command, err, out)
	}
}

// cluster is two gateways that share a Redis, a key and a URL.
type cluster struct {
	*bench.Bench
	t       *testing.T
	redis   *redisServer
	program string
	dirs    [2]string
	nodes   [2]*bench.Gateway
}

const clusterConfig = `
listen: 127.0.0.1:0
url: http://localhost:8080
admin: {listen: 127.0.0.1:0, socket: admin.sock}
issuers:
  - name: a
    url: @IDP@
    audience: vaultspan
    login: {client_id: vaultspan, client_secret: "${file:@SECRETS@/client-secret}", scopes: [openid, offline_access]}
vaults:
  prod:
    bitwarden: {organization: @BW_ORG@, access_token: "${file:@SECRETS@/bws-token}", api: @BW_API@, identity: @BW_IDENTITY@}
sessions: {redis: "${file:@SECRETS@/redis.url}", key: "${file:@SECRETS@/session.key}"}
roles:
  dev:
    members: [{issuer: a, groups: dev}]
    collections: {prod/team-dev: any}
routes:
  - {name: u1, match: [/u1/], strip: /u1, upstream: @U1@, secret: prod/team-dev/U1_TOKEN, inject: bearer, session: true}
audit: {dir: audit, key: "${file:@SECRETS@/audit.key}"}
telemetry: {otlp: {endpoint: @OTLP_GRPC@}, sample: 1}
`

func newCluster(t *testing.T, redisArgs ...string) *cluster {
	t.Helper()
	secrets := t.TempDir()
	b, err := bench.Start(t.Context(), secrets)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Bench: b, t: t, redis: newRedisServer(t, redisArgs...)}
	if c.program, err = program(); err != nil {
		t.Fatal(err)
	}
	b.Plant(c.redis.password)
	url := fmt.Sprintf("redis://:%s@127.0.0.1:%s/0\n", c.redis.password, c.redis.port)
	config := placeholder.ReplaceAllStringFunc(clusterConfig, func(m string) string { return b.Env()[strings.Trim(m, "@")] })
	err = os.WriteFile(filepath.Join(secrets, "redis.url"), []byte(url), 0o600)
	for i := range c.dirs {
		c.dirs[i] = t.TempDir()
		err = errors.Join(err, os.WriteFile(filepath.Join(c.dirs[i], "vaultspan.yaml"), []byte(config), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	c.must(0, "audit", "keygen", "e2e.test/cluster", "--out", filepath.Join(secrets, "audit.key"))
	for i, dir := range c.dirs {
		c.nodes[i], err = b.Serve(t.Context(), bench.Run{
			Program: c.program, Dir: dir, Log: filepath.Join(dir, "gateway.log"), Env: []string{"PATH=" + os.Getenv("PATH")},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range c.nodes {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := node.Serving(ctx); err != nil {
			t.Fatal(err)
		}
		c.until("the node is ready", func() bool { return c.status(node.Admin+"/readyz?route=u1") == 200 })
	}
	return c
}

func (c *cluster) status(url string) int {
	resp, err := caller.Get(url)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if !bench.Until(ctx, ok) {
		c.t.Fatalf("it never comes that %s", what)
	}
}

// run is an operator on the machine of a node.
func (c *cluster) run(node int, args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), c.program, args...)
	cmd.Dir = c.dirs[node]
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cluster) must(node int, args ...string) string {
	c.t.Helper()
	out, err := c.run(node, args...)
	if err != nil {
		c.t.Fatalf("%v: %v %s", args, err, out)
	}
	return out
}

// visitor is a browser at a node.
func (c *cluster) visitor(node int) *visitor {
	c.t.Helper()
	v, err := newVisitor(c.Bench, c.nodes[node].Listen)
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// login is a browser of somebody who logged in at a node.
func (c *cluster) login(node int, person string) *visitor {
	c.t.Helper()
	v := c.visitor(node)
	c.enter(v, person)
	return v
}

func (c *cluster) enter(v *visitor, person string) {
	c.t.Helper()
	got, at, err := v.visit(c.t.Context(), bench.PublicURL+"/u1/"+person, person)
	if err != nil || got.status != 200 || at.Path != "/u1/"+person {
		c.t.Fatalf("the login of %s ends at %v: %d %s %v", person, at, got.status, got.body, err)
	}
}

// get asks a node as a program with somebody's cookies does.
func (c *cluster) get(v *visitor, node int, path string) answer {
	got, err := v.at(c.nodes[node]).ask(c.request(path))
	if err != nil {
		c.t.Error(err)
	}
	c.Saw("an answer", got.body)
	return got
}

func (c *cluster) request(path string) *http.Request {
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, bench.PublicURL+path, http.NoBody)
	if err != nil {
		c.t.Fatal(err)
	}
	return req
}

// at is the same browser, connected to another node.
func (v *visitor) at(node *bench.Gateway) *visitor {
	other := *v
	other.node = node.Listen
	other.client = v.connect(&other)
	return &other
}

// end stops the nodes, proves their logs, and looks for secrets in what they left.
func (c *cluster) end() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for i, node := range c.nodes {
		if err := node.Stop(ctx); err != nil {
			c.t.Error(err)
		}
		c.must(i, "audit", "verify", "--dir", "audit", "--key", filepath.Join(c.Env()["SECRETS"], "audit.key.pub"))
	}
	found, err := c.Leaks(c.dirs[:]...)
	if err != nil || len(found) > 0 {
		c.t.Errorf("%v %v", found, err)
	}
}

// log is what a node has logged.
func (c *cluster) log(node int) string {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dirs[node], "gateway.log"))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// isJSON wants a log of whole lines of JSON: no library wrote into it.
func (c *cluster) isJSON(path string) {
	c.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !json.Valid([]byte(line)) {
			c.t.Errorf("%s has %q", path, line)
		}
	}
}

// byTurns connects to another node each time.
func byTurns(c *cluster, turn *atomic.Int64) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasSuffix(bench.PublicURL, "//"+address) {
			address = c.nodes[turn.Add(1)%2].Listen
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// ticking yields at every tick until ctx ends.
func ticking(ctx context.Context, every time.Duration) func(yield func() bool) {
	return func(yield func() bool) {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			if !yield() {
				return
			}
		}
	}
}
