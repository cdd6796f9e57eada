package session_test

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/session"
)

// wire is how a gateway reaches its provider, until a test cuts it.
type wire struct {
	http.RoundTripper
	fault atomic.Pointer[func(*http.Request) error]
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if fault := w.fault.Load(); fault != nil {
		if err := (*fault)(r); err != nil {
			return nil, err
		}
	}
	return w.RoundTripper.RoundTrip(r)
}

func (w *wire) cut(fault func(*http.Request) error) { w.fault.Store(&fault) }
func (w *wire) mend()                               { w.fault.Store(nil) }

// TestProviderUnreachable: whatever it is that keeps the gateway from its provider, a
// session goes on until the tokens that it was given expire, a new login is a page,
// and when it is over the session is as before (FI12, FI13, FI03).
func TestProviderUnreachable(t *testing.T) {
	for name, fault := range map[string]error{
		"FI12 no name":                &net.DNSError{Err: "server misbehaving", Name: "idp.test", IsTemporary: true},
		"FI12 refused":                &net.OpError{Op: "dial", Err: errors.New("connection refused")},
		"FI13 certificate too old":    x509.CertificateInvalidError{Reason: x509.Expired},
		"FI13 somebody else's":        x509.UnknownAuthorityError{},
		"FI13 of another host's":      x509.HostnameError{Host: "idp.test", Certificate: &x509.Certificate{}},
		"an answer that is cut short": errors.New("unexpected EOF"),
	} {
		t.Run(name, func(t *testing.T) {
			way := &wire{RoundTripper: http.DefaultTransport}
			p, g, b := start(t, options{transport: way})
			b.login(p, "/x", "alice")
			other := newBrowser(t, g)
			asked := other.begin("/y")
			way.cut(func(*http.Request) error { return fault })
			p.clock.advance(5 * time.Minute)
			for range 3 {
				b.reads("/x", "alice")
			}
			if back := other.finish(p, asked, "carol"); back.status != 503 || !strings.Contains(back.body, "Load this page again in a minute") {
				t.Errorf("a login: %d %s", back.status, back.body)
			}
			way.mend()
			p.clock.advance(31 * time.Second)
			b.reads("/x", "alice")
			if n := p.count("refresh_token"); n != 1 {
				t.Errorf("%d refreshes arrived, want the one after", n)
			}
			if back := other.finish(p, asked, "carol"); back.status != 303 {
				t.Errorf("the same login, later: %d %s", back.status, back.body)
			}
		})
	}
}

// TestKeysRotateUnderSessions: a session goes on over a change of the provider's
// keys (FI04), also when they cannot be had at that moment: then until the tokens
// that it was given before expire (FI03).
func TestKeysRotateUnderSessions(t *testing.T) {
	rotate := func(p *provider) {
		p.key, p.kid = newKey(), "k2"
		p.keys = append(p.keys, jose.JSONWebKey{KeyID: "k2", Key: p.key.Public(), Use: "sig"})
	}
	t.Run("FI04", func(t *testing.T) {
		p, _, b := start(t, options{})
		b.login(p, "/x", "alice")
		p.set(rotate)
		p.set(func(p *provider) { p.claims["groups"] = []string{"new"} })
		p.clock.advance(5 * time.Minute)
		if got := b.get("/x"); !strings.Contains(got.body, "[new]") {
			t.Errorf("after a rotation and a refresh: %d %q", got.status, got.body)
		}
	})
	t.Run("FI03", func(t *testing.T) {
		way := &wire{RoundTripper: http.DefaultTransport}
		p, _, b := start(t, options{transport: way})
		b.login(p, "/x", "alice")
		p.set(rotate)
		way.cut(func(r *http.Request) error {
			if r.URL.Path == "/jwks" {
				return errors.New("connection refused")
			}
			return nil
		})
		p.clock.advance(5 * time.Minute)
		b.reads("/x", "alice")
		if n := p.count("refresh_token"); n != 1 {
			t.Errorf("%d refreshes, want one, whose ID token could not be judged", n)
		}
		way.mend()
		p.set(func(p *provider) { p.claims["groups"] = []string{"new"} })
		p.clock.advance(31 * time.Second)
		if got := b.get("/x"); !strings.Contains(got.body, "[new]") {
			t.Errorf("when they can be had again: %d %q; want the refresh token that came then to have been kept", got.status, got.body)
		}
	})
}

// TestTokenEndpointHangs: it is waited for five seconds, then there is a page; the
// login is not lost, and the same page loaded again ends it (FI07). The seconds are
// those of a bubble.
func TestTokenEndpointHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	store, err := session.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	store.List(t.Context(), session.Filter{}) // its connections are made outside
	p := newProvider(t, &clock{})
	synctest.Test(t, func(t *testing.T) {
		p.clock = &clock{}
		way := &wire{RoundTripper: served{p.mux}}
		issuer, err := authn.New(t.Context(), authn.Config{
			Issuers:   []authn.IssuerConfig{{Name: "corp", URL: p.url, Audience: "vaultspan", Login: authn.Login{ClientID: "web", ClientSecret: secret("web-secret")}}},
			Transport: way,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer issuer.Close()
		m, err := session.New(session.Setup{
			Config: session.Config{Key: secret(testKey)}, URL: &url.URL{Scheme: "https", Host: "gw.test"}, Issuers: issuer, Store: store, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		get := func(path, cookie string) *http.Response {
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("Cookie", cookie)
			w := httptest.NewRecorder()
			m.Serve(w, r, "gw.test", "trace-1")
			return w.Result()
		}
		res := get("/.vaultspan/login?return=/x", "")
		asked, err := res.Location()
		if err != nil || len(res.Cookies()) != 1 {
			t.Fatal(res.Status, err)
		}
		flow := res.Cookies()[0]
		callback := "/.vaultspan/callback?" + url.Values{"state": {asked.Query().Get("state")}, "code": {p.code(asked.Query(), "alice")}}.Encode()
		way.cut(func(r *http.Request) error {
			if r.URL.Path != "/token" {
				return nil
			}
			select {
			case <-r.Context().Done():
				return r.Context().Err()
			case <-time.After(20 * time.Second):
				return nil
			}
		})
		began := time.Now()
		res = get(callback, flow.Name+"="+flow.Value)
		if took := time.Since(began); res.StatusCode != 503 || took != 5*time.Second || len(res.Cookies()) != 0 {
			t.Errorf("%s after %v, sets %v; want 503 after five seconds, and the login's cookie left", res.Status, took, res.Cookies())
		}
		way.mend()
		if res = get(callback, flow.Name+"="+flow.Value); res.StatusCode != 303 || res.Header.Get("Location") != "/x" {
			t.Errorf("again: %s to %q", res.Status, res.Header.Get("Location"))
		}
	})
}

// served is a provider without a network.
type served struct{ http.Handler }

func (s served) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
	return w.Result(), nil
}
