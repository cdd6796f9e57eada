package session_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/vaultspan/vaultspan/authn/session"
)

// operator is somebody who may do anything to the server.
func (s *redisServer) operator() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + s.port, DisableIdentity: true})
	s.t.Cleanup(func() { c.Close() })
	return c
}

// noLogin wants a login to fail with a page that says that sessions cannot be
// stored, and to leave nothing in the browser but what a next login needs.
func (b *browser) noLogin(p *provider, why string) {
	b.t.Helper()
	back := b.finish(p, b.begin("/x"), "carol")
	if back.status != 503 || !strings.Contains(back.body, "Sessions cannot be stored") || b.cookie() != "" {
		b.t.Errorf("%s: %d, cookie %q, %s", why, back.status, b.cookie(), back.body)
	}
}

// TestRedisTakesNoWrites: a server that is full, or has become a replica, lets
// nobody in and breaks nothing: who is in goes on, logins fail with a page, and when
// it is itself again all is well (FS05, FS07). A full one must not keep anybody in.
func TestRedisTakesNoWrites(t *testing.T) {
	server := newRedisServer(t)
	p, g, b := start(t, options{store: server.open()})
	operator := server.operator()
	b.login(p, "/x", "alice")
	do := func(args ...any) {
		t.Helper()
		if err := operator.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	do("REPLICAOF", "127.0.0.1", "1") // of nobody: it answers reads, and refuses writes
	p.clock.advance(believed)
	b.reads("/x", "alice")
	newBrowser(t, g).noLogin(p, "a replica")
	if _, err := g.Revoke(t.Context(), session.Filter{Subject: "alice"}); err == nil {
		t.Error("a revocation that a replica refused was taken for done")
	}
	do("REPLICAOF", "NO", "ONE")

	do("CONFIG", "SET", "maxmemory", "1")
	p.clock.advance(believed)
	b.reads("/x", "alice")
	newBrowser(t, g).noLogin(p, "a full server")
	if n, err := g.Revoke(t.Context(), session.Filter{Subject: "alice"}); err != nil || n != 1 {
		t.Errorf("on a full server %d sessions were revoked: %v", n, err)
	}
	do("CONFIG", "SET", "maxmemory", "0")
	newBrowser(t, g).login(p, "/x", "carol")
	if strings.Contains(g.logs.String(), "unfit") {
		t.Errorf("a server as it should be is unfit: %s", g.logs)
	}

	// One that drops keys loses the sets by which sessions are found.
	do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	p.clock.advance(time.Minute)
	newBrowser(t, g).login(p, "/x", "mallory")
	if !strings.Contains(g.logs.String(), "maxmemory-policy allkeys-lru") {
		t.Errorf("nobody is told of a server that drops sessions: %s", g.logs)
	}
	do("CONFIG", "SET", "maxmemory", "1") // the next write drops all there is
	operator.Set(t.Context(), "x", "y", 0)
	p.clock.advance(believed)
	b.out("/x")
	if got := b.api("/x"); got != 401 {
		t.Errorf("a session that was dropped: %d, want 401", got)
	}
}

// TestRedisForgets: FLUSHALL logs everybody out, once, and to log in again is all
// there is to do.
func TestRedisForgets(t *testing.T) {
	server := newRedisServer(t)
	p, _, b := start(t, options{store: server.open()})
	for range 2 {
		b.login(p, "/x", "alice")
		if err := server.operator().FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		p.clock.advance(believed)
		if got := b.api("/x"); got != 401 {
			t.Errorf("a program: %d, want 401", got)
		}
		b.out("/x")
	}
	b.login(p, "/x", "alice")
}

// TestRedisOverTLS: the authorities in a file decide, and nothing in the address
// turns that off.
func TestRedisOverTLS(t *testing.T) {
	server := newRedisServer(t)
	server.stop()
	dir := t.TempDir()
	ca := certify(t, dir, "server")
	strangers := certify(t, dir, "stranger")
	server.args = []string{
		"--port", "0", "--tls-port", server.port, "--tls-auth-clients", "no", "--requirepass", "a-password",
		"--tls-cert-file", filepath.Join(dir, "server.crt"), "--tls-key-file", filepath.Join(dir, "server.key"), "--tls-ca-cert-file", ca,
	}
	server.start()
	open := func(address, ca string) session.Store {
		t.Helper()
		store, err := session.OpenRedis(address, ca)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		return store
	}
	address := "rediss://:a-password@127.0.0.1:" + server.port + "/0"
	if _, err := open(address, ca).List(t.Context(), session.Filter{}); err != nil {
		t.Error(err)
	}
	for name, store := range map[string]session.Store{
		"another authority": open(address, strangers),
		"the system's":      open(address, ""),
		"a wrong password":  open(strings.Replace(address, "a-password", "another-password", 1), ca),
		"no TLS":            open(strings.Replace(address, "rediss", "redis", 1), ""),
	} {
		if _, err := store.List(t.Context(), session.Filter{}); err == nil || strings.Contains(err.Error(), "a-password") || strings.Contains(err.Error(), "another-password") {
			t.Errorf("%s: %v; want an error, without the password", name, err)
		}
	}
	for _, c := range []struct{ address, ca, problem string }{
		{address, ca, ""},
		{address, "", ""},
		{address + "?skip_verify=true", ca, "redis"},
		{strings.Replace(address, "rediss", "redis", 1), ca, "redis_ca"},
		{"unix:///run/redis.sock", "", "redis"},
	} {
		config := session.Config{Redis: secret(c.address), RedisCA: c.ca}
		found := ""
		config.Check(func(path, _ string) { found = path })
		if found != c.problem {
			u, _ := url.Parse(c.address)
			t.Errorf("%s: a problem with %q, want one with %q", u.Redacted(), found, c.problem)
		}
	}
}

// certify writes NAME.crt, which is its own authority for 127.0.0.1, and NAME.key.
func certify(t *testing.T, dir, name string) string {
	t.Helper()
	key := newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey((*ecdsa.PrivateKey)(key))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name+".crt")
	for file, block := range map[string]*pem.Block{path: {Type: "CERTIFICATE", Bytes: cert}, filepath.Join(dir, name+".key"): {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}
