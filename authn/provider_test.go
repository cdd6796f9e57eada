package authn_test

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/authn"
)

// TestDiscovery: which discovery documents lead to keys. What is refused keeps
// the issuer from ever being ready, and nobody else is asked (E17, E18, H09).
func TestDiscovery(t *testing.T) {
	document := func(issuer, jwks string) http.HandlerFunc {
		return answer(map[string]string{"issuer": issuer, "jwks_uri": jwks})
	}
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
	}
	const self, keys = "https://a.test", "https://a.test/jwks"
	for _, c := range []struct {
		id, name  string
		discovery http.HandlerFunc
		ready     bool
	}{
		{"", "good", document(self, keys), true},
		{"", "keys on another host, as Google has them", document(self, "https://keys.test/jwks"), true},
		{"E17", "another slash", document(self+"/", keys), false},
		{"E17", "another case", document("https://A.test", keys), false},
		{"E17", "another host", document("https://b.test", keys), false},
		{"E17", "a path more", document(self+"/x", keys), false},
		{"E17", "no issuer", answer(map[string]string{"jwks_uri": keys}), false},
		{"E17", "an issuer of another type", answer(map[string]any{"issuer": []string{self}, "jwks_uri": keys}), false},
		{"E17", "two issuers", raw(200, "application/json", `{"issuer":"`+self+`","issuer":"`+self+`","jwks_uri":"`+keys+`"}`), false},
		{"E17", "a case variant", raw(200, "application/json", `{"issuer":"`+self+`","Issuer":"x","jwks_uri":"`+keys+`"}`), false},
		{"E17", "no jwks_uri", answer(map[string]string{"issuer": self}), false},
		{"E18", "redirected to another host", redirect("https://evil.test/.well-known/openid-configuration"), false},
		{"E18", "redirected to itself", redirect(self + "/other"), false},
		{"E18", "redirected to plain http", redirect("http://a.test/.well-known/openid-configuration"), false},
		{"E18", "redirected to the metadata service", redirect("http://169.254.169.254/latest"), false},
		{"H09", "keys over plain http", document(self, "http://a.test/jwks"), false},
		{"H09", "keys over plain http on loopback", document(self, "http://127.0.0.1/jwks"), false},
		{"H09", "keys in a file", document(self, "file:///etc/passwd"), false},
		{"H09", "keys in a data URL", document(self, "data:application/json,{}"), false},
		{"H09", "keys without a host", document(self, "/jwks"), false},
		{"H09", "keys with a user", document(self, "https://x:y@a.test/jwks"), false},
		{"H09", "HTML", raw(200, "text/html", "<html>"), false},
		{"H09", "long", raw(200, "application/json", `{"x":"`+strings.Repeat("x", 300<<10)+`"}`), false},
		{"H09", "deep", raw(200, "application/json", `{"x":`+strings.Repeat("[", 9000)+strings.Repeat("]", 9000)+`}`), false},
	} {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p, evil := fakeIDP("a.test", public("k1", rsaKey())), fakeIDP("evil.test", public("k1", rsaKey()))
				p.discovery = c.discovery
				reach := network{"a.test": p, "keys.test": p, "evil.test": evil, "b.test": evil, "A.test": evil, "127.0.0.1": evil, "169.254.169.254": evil}
				a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("a")}, Transport: reach})
				time.Sleep(time.Hour)
				synctest.Wait()
				if s := a.Status()[0]; s.Ready != c.ready || (s.Reason == "") != c.ready {
					t.Errorf("status %+v; want ready %v", s, c.ready)
				}
				if asked := evil.visits(); len(asked) > 0 {
					t.Errorf("another host was asked: %v", asked)
				}
			})
		})
	}
}

// TestTLS: an issuer is reached over TLS by the authorities it was configured
// with, and a redirect is not followed there either (FI13, H09, E18).
func TestTLS(t *testing.T) {
	p := &idp{}
	p.keys = append(p.keys, public("k1", rsaKey()))
	server := httptest.NewUnstartedServer(p)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it is about to be distrusted
	server.StartTLS()
	defer server.Close()
	p.url = server.URL
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	config := p.config("corp")
	if err := authn.Probe(t.Context(), config); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without its ca: %v; want a certificate error", err)
	}
	if got := reason(t, start(t, authn.Config{Issuers: []authn.IssuerConfig{config}}), mintNow(t, p)); got != "unavailable" {
		t.Errorf("without its ca: got %s, want unavailable", got)
	}
	config.CA = ca
	if err := authn.Probe(t.Context(), config); err != nil {
		t.Errorf("with its ca: %v", err)
	}
	if got := reason(t, start(t, authn.Config{Issuers: []authn.IssuerConfig{config}}), mintNow(t, p)); got != "ok" {
		t.Errorf("with its ca: got %s, want ok", got)
	}

	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	p.set(func(p *idp) {
		p.jwks = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }
	})
	if err := authn.Probe(t.Context(), config); err == nil || elsewhere.Load() > 0 {
		t.Errorf("a redirect of jwks_uri: %v, followed %d times", err, elsewhere.Load())
	}
}

// TestProbe says in one sentence what keeps an issuer from working, and quotes
// nothing of what it answered.
func TestProbe(t *testing.T) {
	p := newIDP(t, public("k1", rsaKey()))
	config := p.config("corp")
	if err := authn.Probe(t.Context(), config); err != nil {
		t.Errorf("a good issuer: %v", err)
	}
	config.Algorithms = []string{"ES512"}
	if err := authn.Probe(t.Context(), config); err == nil || !strings.Contains(err.Error(), "algorithms") {
		t.Errorf("no key for the algorithms: %v", err)
	}
	if err := authn.Probe(t.Context(), authn.IssuerConfig{Name: "x"}); err == nil {
		t.Error("an empty configuration is no error")
	}
	config.Algorithms = nil
	for _, page := range []http.HandlerFunc{
		raw(200, "text/html", "<html>SECRET"), raw(500, "application/json", `{"error":"SECRET"}`),
		raw(200, "application/json", `{"SECRET":1,"SECRET":2}`), raw(302, "text/plain", "SECRET"),
		func(w http.ResponseWriter, _ *http.Request) { // not HTTP at all
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = conn.Write([]byte("SECRET\r\n\r\n"))
			_ = conn.Close()
		},
	} {
		p.set(func(p *idp) { p.discovery = page })
		err := authn.Probe(t.Context(), config)
		if err == nil || !strings.HasPrefix(err.Error(), "issuer corp: discovery: ") || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("got %v; want an error of the discovery that quotes nothing", err)
		}
	}
}
