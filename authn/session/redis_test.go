package session_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/authn/session"
)

// redisServer is a real server on a port of its own, which a test may stop and
// start again. It keeps nothing when it stops.
type redisServer struct {
	t    testing.TB
	port string
	dir  string
	args []string // further ones
	cmd  *exec.Cmd
}

func newRedisServer(t testing.TB) *redisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no redis-server: what runs in CI installs it")
		}
		t.Skip("this test needs a real Redis: apt-get install redis-server")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free, and stays so most likely
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	s := &redisServer{t: t, port: port, dir: t.TempDir()}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// start returns when the server answers: it says so on a pipe.
func (s *redisServer) start() {
	s.t.Helper()
	s.cmd = exec.Command("redis-server", append([]string{"--port", s.port, "--bind", "127.0.0.1", "--save", "", "--dir", s.dir, "--logfile", ""}, s.args...)...)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan bool, 1)
	go awaitLine(out, "Ready to accept connections", ready)
	if !<-ready {
		s.t.Fatal("redis-server ended before it was ready")
	}
}

// awaitLine says whether a line that holds text came before the end.
func awaitLine(r io.Reader, text string, found chan<- bool) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			found <- true
			text = "\x00" // and read on, so that nobody waits for us
		}
	}
	close(found)
}

func (s *redisServer) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *redisServer) open() *session.Redis {
	s.t.Helper()
	store, err := session.OpenRedis(fmt.Sprintf("redis://127.0.0.1:%s/0", s.port), "")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { store.Close() })
	return store
}

// TestRedis: a real Redis keeps the contract of a Store.
func TestRedis(t *testing.T) {
	storeContract(t, func(t *testing.T) (one, other session.Store) {
		server := newRedisServer(t)
		return server.open(), server.open()
	})
}

// TestRedisIsKilled: while Redis is gone sessions are 503; when it is back it has
// forgotten them, and people log in again. Nothing hangs and nobody restarts us.
func TestRedisIsKilled(t *testing.T) {
	server := newRedisServer(t)
	p, _, b := start(t, options{store: server.open()})
	b.login(p, "/x", "alice")
	server.stop()
	p.clock.advance(believed)
	if got := b.api("/x"); got != 503 {
		t.Errorf("while it is gone: %d, want 503", got)
	}
	server.start()
	if got := b.api("/x"); got != 401 {
		t.Errorf("when it has forgotten: %d, want 401", got)
	}
	b.login(p, "/x", "alice")
}

// TestTwoNodesOnRedis: log in on one, use the other, revoke on either.
func TestTwoNodesOnRedis(t *testing.T) {
	server := newRedisServer(t)
	p, g, b := start(t, options{store: server.open()})
	b.login(p, "/x", "alice")
	setup := g.setup
	setup.Store = server.open()
	other, err := session.New(setup)
	if err != nil {
		t.Fatal(err)
	}
	if _, identity, err := other.Identify(t.Context(), b.fields()); err != nil || identity.Subject != "alice" {
		t.Fatalf("the other node: %v %v", identity, err)
	}
	if n, err := other.Revoke(t.Context(), session.Filter{Subject: "alice"}); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	p.clock.advance(believed)
	b.out("/x")
}
