package proxy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// authority signs client certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	var der []byte
	a.key, der = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "the clients' authority"}, IsCA: true, BasicConstraintsValid: true})
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) sign(template *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, der
}

// client is a secret: a certificate in that name, and its key.
func (a *authority) client(name string) string {
	a.t.Helper()
	key, der := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}})
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// certified is an upstream that demands a client certificate, and answers 401 to
// those in a name it does not know.
type certified struct {
	*httptest.Server
	mu     sync.Mutex
	known  []string
	seen   map[string]string // X-Request-Id → the name in the certificate
	routes map[string]string // the connection → the first part of the paths on it
	mixed  bool              // a connection served two routes
	gone   map[string]chan struct{}
}

func (c *certified) know(names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = names
}

func (c *certified) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := r.TLS.PeerCertificates[0].Subject.CommonName
	c.seen[r.Header.Get("X-Request-Id")] = name
	route := strings.Split(r.URL.Path, "/")[1]
	if before, ok := c.routes[r.RemoteAddr]; ok && before != route {
		c.mixed = true
	}
	c.routes[r.RemoteAddr] = route
	if !slices.Contains(c.known, name) {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	fmt.Fprint(w, name)
}

// newCertified is a bench with two routes to such an upstream, /one/ and /two/ of
// mtls.gw.test, that wear one secret.
func newCertified(t *testing.T, multiplexed bool, a *authority, overlap time.Duration) (*bench, *certified) {
	t.Helper()
	up := &certified{seen: map[string]string{}, routes: map[string]string{}, gone: map[string]chan struct{}{}}
	up.Server = httptest.NewUnstartedServer(up)
	up.EnableHTTP2 = multiplexed
	up.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	up.TLS.ClientCAs.AddCert(a.cert)
	up.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		up.mu.Lock()
		defer up.mu.Unlock()
		switch address := conn.RemoteAddr().String(); state {
		case http.StateNew:
			up.gone[address] = make(chan struct{})
		case http.StateClosed:
			close(up.gone[address])
		}
	}
	up.StartTLS()
	t.Cleanup(func() { up.CloseClientConnections(); up.Close() })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: up.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		b.refresh = time.Hour // only a refusal makes the vault look
		b.secret1.Rotate(a.client("first"))
		for _, name := range []string{"one", "two"} {
			routes = append(routes, proxy.Route{
				Name: "mtls-" + name, Match: []string{"mtls.gw.test/" + name + "/"}, Upstream: up.URL, UpstreamTLS: proxy.UpstreamTLS{CA: ca},
				Secret: "prod/team-dev/U1_KEY", Inject: vault.MTLS(), Rotation: proxy.Rotation{Overlap: overlap},
			})
		}
		return slices.DeleteFunc(routes, func(r proxy.Route) bool {
			return r.Secret == "prod/team-dev/U1_KEY" && !strings.HasPrefix(r.Name, "mtls-")
		})
	})
	up.know("first")
	return b, up
}

// connections are those that are open, of all routes or of one.
func (c *certified) connections(route string) map[string]chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string]chan struct{}{}
	for address, of := range c.routes {
		if route == "" || of == route {
			found[address] = c.gone[address]
		}
	}
	return found
}

// The credential is on the connection: a rotation brings another connection, no
// request goes on one of another version than its record says, and no two routes
// share one.
func TestAClientCertificate(t *testing.T) {
	for _, multiplexed := range []bool{false, true} {
		a := newAuthority(t)
		b, up := newCertified(t, multiplexed, a, 0)
		token := b.token(t, "alice")
		get := func(path string) (int, string, string) {
			res, body := b.do(t, "GET", "https://mtls.gw.test"+path, token)
			return res.StatusCode, body, res.Header.Get("X-Request-Id")
		}
		for range 3 {
			for _, path := range []string{"/one/x", "/two/x"} {
				if status, body, _ := get(path); status != 200 || body != "first" {
					t.Fatalf("h2=%v %s: %d %s", multiplexed, path, status, body)
				}
			}
		}
		old := up.connections("one")
		b.secret1.Rotate(a.client("second"))
		up.know("second")
		status, body, trace := get("/one/x")
		if status != 200 || body != "second" || up.seen[trace+"-1"] != "first" || up.seen[trace+"-2"] != "second" {
			t.Errorf("h2=%v after the rotation: %d %s, the upstream saw %v", multiplexed, status, body, up.seen)
		}
		for address, gone := range old {
			select {
			case <-gone:
			case <-time.After(patience):
				t.Errorf("h2=%v: the connection %s of the version before stays open", multiplexed, address)
			}
		}
		versions := map[string]map[string]bool{}
		for _, e := range b.records(t) {
			if name := up.seen[e.Attempt]; name != "" {
				if versions[e.Version] == nil {
					versions[e.Version] = map[string]bool{}
				}
				versions[e.Version][name] = true
			}
		}
		if len(versions) != 2 {
			t.Errorf("h2=%v: recorded versions: %v", multiplexed, versions)
		}
		for version, names := range versions {
			if len(names) != 1 {
				t.Errorf("h2=%v: version %s was shown as %v", multiplexed, version, names)
			}
		}
		if up.mixed {
			t.Errorf("h2=%v: two routes shared a connection", multiplexed)
		}
	}
}

// While two versions overlap each has connections of its own, and many callers
// at once never meet the wrong ones.
func TestCertificatesThatOverlap(t *testing.T) {
	a := newAuthority(t)
	b, up := newCertified(t, true, a, time.Hour)
	token := b.token(t, "alice")
	if res, body := b.do(t, "GET", "https://mtls.gw.test/one/x", token); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	b.secret1.Rotate(a.client("second"))
	up.know("second")
	var callers sync.WaitGroup
	get := func() {
		client := b.client()
		defer client.CloseIdleConnections()
		if err := sends(client, "GET", "https://mtls.gw.test/one/x", "mtls.gw.test", token, 200); err != nil {
			t.Error(err)
		}
	}
	for range 20 {
		callers.Go(get)
	}
	callers.Wait()
	up.know("first") // the upstream is back at the one before: each request tries both
	for range 20 {
		callers.Go(get)
	}
	callers.Wait()
	if n := len(up.connections("one")); n > 4 {
		t.Errorf("two versions made %d connections, of HTTP/2", n)
	}
	byVersion := map[string]string{}
	for _, e := range b.records(t) {
		name := up.seen[e.Attempt]
		if before := byVersion[e.Version]; name != "" && before != "" && before != name {
			t.Errorf("version %s was shown as %s and as %s", e.Version, before, name)
		}
		byVersion[e.Version] = name
	}
}

// An upstream that does not accept a certificate ends the handshake: the attempt
// was recorded before. What is no certificate is no credential.
func TestACertificateThatIsNotAccepted(t *testing.T) {
	a := newAuthority(t)
	for _, multiplexed := range []bool{false, true} {
		b, up := newCertified(t, multiplexed, a, 0)
		token := b.token(t, "alice")
		if res, body := b.do(t, "GET", "https://mtls.gw.test/one/x", token); res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
		up.know()
		b.secret1.Rotate(newAuthority(t).client("stranger"))
		res, body := b.do(t, "GET", "https://mtls.gw.test/one/x", token) // first's 401 brings the stranger's
		told := "upstream-tls"
		if strings.Contains(body, "upstream-reset") { // its alert was lost: it closed what had more to read (RFC 9112, section 9.6)
			told = "upstream-reset"
		}
		refused(t, res, body, 502, told)
		var codes []string
		for _, e := range b.records(t) {
			if e.Trace == res.Header.Get("X-Request-Id") && e.Code != "" {
				codes = append(codes, e.Code)
			}
		}
		if fmt.Sprint(codes) != "[credential-refused "+told+"]" {
			t.Errorf("h2=%v recorded %v", multiplexed, codes)
		}
	}
}

// A certificate is for TLS only.
func TestACertificateNeedsAnUpstreamWithTLS(t *testing.T) {
	r := proxy.Route{Name: "r", Match: []string{"/x/"}, Upstream: "http://localhost:1", Secret: "prod/a/KEY", Inject: vault.MTLS()}
	var problems []string
	r.Check(func(path, problem string) { problems = append(problems, path+": "+problem) })
	if len(problems) != 1 || problems[0] != "inject: mtls needs TLS: give an https upstream" {
		t.Errorf("problems: %q", problems)
	}
}
