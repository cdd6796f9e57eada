package authn_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultspan/vaultspan/authn"
)

// bubble runs a test in fake time, with issuers that are reached without a
// network.
func bubble(t *testing.T, test func(t *testing.T)) {
	rsaKey() // made outside: what is made in a bubble stays in it
	otherRSA()
	ecKey()
	synctest.Test(t, test)
}

// network finds issuers by host.
type network map[string]http.RoundTripper

func (n network) RoundTrip(r *http.Request) (*http.Response, error) {
	if to := n[r.URL.Host]; to != nil {
		return to.RoundTrip(r)
	}
	return nil, &net.DNSError{Err: "server misbehaving", Name: r.URL.Host}
}

func fakeIDP(host string, keys ...jose.JSONWebKey) *idp {
	return &idp{url: "https://" + host, keys: keys}
}

func fresh(t *testing.T, p *idp, key crypto.Signer, kid string) string {
	alg := jose.RS256
	if key == crypto.Signer(ecKey()) {
		alg = jose.ES256
	}
	return mint(t, alg, key, kid, "at+jwt", p.claims(time.Now(), map[string]any{"jti": time.Now().UnixNano()}))
}

// TestBrokenKeySet: whatever an issuer answers instead of keys, the last good
// ones serve until max_key_age, then its callers, and only they, are told so;
// and all is well again once it is (H06, FI03, FI12, FI13, FI14).
func TestBrokenKeySet(t *testing.T) {
	long := strings.Repeat(" ", 600<<10)
	many := strings.TrimSuffix(strings.Repeat(`{"kty":"RSA"},`, 101), ",")
	for _, c := range []struct {
		id, name string
		jwks     http.HandlerFunc
		fault    error
	}{
		{"H06", "an empty object", raw(200, "application/json", `{}`), nil},
		{"H06", "no keys", raw(200, "application/json", `{"keys":[]}`), nil},
		{"H06", "null", raw(200, "application/json", `{"keys":null}`), nil},
		{"H06", "unusable keys", raw(200, "application/json", `{"keys":[{"kty":"oct","k":"AA"}]}`), nil},
		{"H06", "case variants", raw(200, "application/json", `{"Keys":[]}`), nil},
		{"H06", "truncated", raw(200, "application/json", `{"keys":[{"kty":"RSA"`), nil},
		{"H06", "too many keys", raw(200, "application/json", `{"keys":[`+many+`]}`), nil},
		{"H06", "too long", raw(200, "application/json", long), nil},
		{"H06", "wrong content type", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = fmt.Fprintf(w, `{"keys":[]}`)
		}, nil},
		{"H06", "status 500", raw(500, "application/json", `{}`), nil},
		{"FI14", "HTML", raw(200, "text/html", `<html>Sign in to the network`), nil},
		{"FI14", "HTML that says it is JSON", raw(200, "application/json", `<html>`), nil},
		{"H09", "a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://b.test/jwks", http.StatusFound)
		}, nil},
		{"FI12", "no address", nil, &net.DNSError{Err: "server misbehaving", Name: "a.test"}},
		{"FI12", "refused", nil, errors.New("connection refused")},
		{"FI13", "an expired certificate", nil, errors.New("x509: certificate has expired")},
	} {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p, b := fakeIDP("a.test", public("k1", rsaKey())), fakeIDP("b.test", public("k1", otherRSA()))
				b.keys = append(b.keys, public("evil", ecKey()))
				reach := network{"a.test": p, "b.test": b}
				config := p.config("a")
				config.MaxKeyAge = 2 * time.Hour
				a := start(t, authn.Config{Issuers: []authn.IssuerConfig{config, b.config("b")}, Transport: reach})
				expect := func(when, want string) {
					t.Helper()
					if got := reason(t, a, fresh(t, p, rsaKey(), "k1")); got != want {
						t.Errorf("%s: got %s, want %s", when, got, want)
					}
					if got := reason(t, a, fresh(t, b, otherRSA(), "k1")); got != "ok" {
						t.Errorf("%s: the other issuer: got %s, want ok", when, got)
					}
				}
				expect("at first", "ok")
				p.set(func(p *idp) { p.jwks, p.fault = c.jwks, c.fault })
				time.Sleep(100 * time.Minute)
				expect("after 100 min", "ok")
				if s := a.Status()[0]; !s.Ready || s.Reason == "" || s.KeysAge < 90*time.Minute {
					t.Errorf("after 100 min: status %+v; want ready, with a reason", s)
				}
				if got := reason(t, a, fresh(t, p, ecKey(), "evil")); got != "unavailable" {
					t.Errorf("a key nobody can look up: got %s, want unavailable", got)
				}
				time.Sleep(25 * time.Minute)
				expect("after 125 min", "unavailable")
				if s := a.Status()[0]; s.Ready || s.Reason == "" {
					t.Errorf("after 125 min: status %+v; want not ready, with a reason", s)
				}
				p.set(func(p *idp) { p.jwks, p.fault = nil, nil })
				time.Sleep(time.Minute)
				expect("repaired", "ok")
				if s := a.Status()[0]; !s.Ready || s.Reason != "" {
					t.Errorf("repaired: status %+v; want ready", s)
				}
			})
		})
	}
}

// TestDownAtStart closes only the callers of the issuer that is down, asks it
// again with back-off, and when a caller comes (FI01).
func TestDownAtStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, b := fakeIDP("a.test", public("k1", rsaKey())), fakeIDP("b.test", public("k1", otherRSA()))
		p.discovery = raw(503, "text/plain", "down")
		a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("a"), b.config("b")}, Transport: network{"a.test": p, "b.test": b}})
		if got := reason(t, a, fresh(t, b, otherRSA(), "k1")); got != "ok" {
			t.Errorf("B: got %s, want ok", got)
		}
		if got := reason(t, a, fresh(t, p, rsaKey(), "k1")); got != "unavailable" {
			t.Errorf("A: got %s, want unavailable", got)
		}
		time.Sleep(time.Hour)
		if n := len(p.visits()); n < 30 || n > 100 {
			t.Errorf("asked %d times in an hour; want about once a minute", n)
		}
		p.set(func(p *idp) { p.discovery = nil })
		if got := reason(t, a, fresh(t, p, rsaKey(), "k1")); got != "ok" {
			t.Errorf("A, up again: got %s, want ok at once, since a caller asked", got)
		}
	})
}

// TestRotation: a new key is known when it is first used, an old one is not
// when it is gone, and there is no moment in between at which a good token is
// refused (FI04).
func TestRotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := fakeIDP("a.test", public("old", rsaKey()))
		a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("a")}, Transport: p})
		before := fresh(t, p, rsaKey(), "old")
		if got := reason(t, a, before); got != "ok" {
			t.Fatalf("the old key: got %s, want ok", got)
		}
		p.set(func(p *idp) { p.keys = append(p.keys, public("new", otherRSA())) })
		var group sync.WaitGroup
		fetched := p.fetched()
		for range 100 {
			group.Go(func() {
				if got := reason(t, a, fresh(t, p, otherRSA(), "new")); got != "ok" {
					t.Errorf("the new key: got %s, want ok", got)
				}
				if got := reason(t, a, fresh(t, p, rsaKey(), "old")); got != "ok" {
					t.Errorf("the old key, with overlap: got %s, want ok", got)
				}
			})
		}
		group.Wait()
		if n := p.fetched() - fetched; n != 1 {
			t.Errorf("100 callers with a new key caused %d fetches, want 1", n)
		}
		p.set(func(p *idp) { p.keys = p.keys[1:] })
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := reason(t, a, before); got != "invalid" {
			t.Errorf("a token that was remembered, its key gone: got %s, want invalid", got)
		}
	})
}

// TestRotationUnderFlood: tokens with made-up kids cost the issuer a fetch each
// ten seconds, and do not keep a real rotation from being seen (H04).
func TestRotationUnderFlood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := fakeIDP("a.test", public("old", rsaKey()))
		a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("a")}, Transport: p})
		flood := func() {
			for n := range 20 {
				token := sign([]byte("x"), fmt.Sprintf(`{"alg":"RS256","kid":"%d-%d"}`, time.Now().UnixNano(), n), `{"iss":"https://a.test"}`)
				if got := reason(t, a, token); got != "invalid" {
					t.Errorf("flood: got %s, want invalid", got)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		for range 600 { // a minute
			flood()
		}
		if n := p.fetched(); n > 8 {
			t.Errorf("a minute of flood caused %d fetches, want one each 10 s", n)
		}
		p.set(func(p *idp) { p.keys = []jose.JSONWebKey{public("new", otherRSA())} })
		rotated := time.Now()
		for reason(t, a, fresh(t, p, otherRSA(), "new")) != "ok" {
			if time.Since(rotated) > 10*time.Second {
				t.Fatal("10 s after a rotation its tokens are still refused")
			}
			flood()
		}
	})
}

// TestMovedKeys: an issuer that says its keys are on another host now is not
// believed while we run, and its last good keys serve on (H17).
func TestMovedKeys(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, evil := fakeIDP("a.test", public("k1", rsaKey())), fakeIDP("evil.test", public("k2", otherRSA()))
		reach := network{"a.test": p, "evil.test": evil}
		a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("a")}, Transport: reach})
		if got := reason(t, a, fresh(t, p, rsaKey(), "k1")); got != "ok" {
			t.Fatalf("at first: got %s, want ok", got)
		}
		p.set(func(p *idp) {
			p.discovery = answer(map[string]string{"issuer": p.url, "jwks_uri": "https://evil.test/jwks"})
		})
		time.Sleep(30 * time.Hour) // longer than max_key_age
		if got := reason(t, a, fresh(t, p, rsaKey(), "k1")); got != "ok" {
			t.Errorf("the last good key: got %s, want ok", got)
		}
		if got := reason(t, a, fresh(t, p, otherRSA(), "k2")); got == "ok" {
			t.Error("a key of the new host was used")
		}
		if asked := evil.visits(); len(asked) > 0 {
			t.Errorf("the new host was asked: %v", asked)
		}
		if s := a.Status()[0]; !s.Ready || !strings.Contains(s.Reason, "jwks_uri") {
			t.Errorf("status %+v; want ready, and the alarm", s)
		}
		reload := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("a")}, Transport: reach, Previous: a})
		time.Sleep(time.Hour)
		if got := reason(t, reload, fresh(t, p, otherRSA(), "k2")); got == "ok" {
			t.Error("a reload took the new host")
		}
	})
}

// TestReloadWhileDown: an Authenticator that takes over from another has its
// keys, and no less time to use them.
func TestReloadWhileDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := fakeIDP("a.test", public("k1", rsaKey()))
		first := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("a")}, Transport: p})
		reason(t, first, fresh(t, p, rsaKey(), "k1"))
		p.set(func(p *idp) { p.fault = errors.New("connection refused") })
		config := p.config("renamed")
		second := start(t, authn.Config{Issuers: []authn.IssuerConfig{config}, Transport: p, Previous: first})
		first.Close()
		if got := reason(t, second, fresh(t, p, rsaKey(), "k1")); got != "ok" {
			t.Errorf("got %s, want ok", got)
		}
		time.Sleep(24 * time.Hour)
		if got := reason(t, second, fresh(t, p, rsaKey(), "k1")); got != "unavailable" {
			t.Errorf("a day later: got %s, want unavailable", got)
		}
		config.CA = "testdata/none.pem"
		if _, err := authn.New(t.Context(), authn.Config{Issuers: []authn.IssuerConfig{config}, Previous: first}); err == nil {
			t.Error("a ca that cannot be read is no error")
		}
	})
}

// hangs answers nobody until they give up.
type hangs struct{}

func (hangs) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestHangingIssuer: an issuer that does not answer costs a caller five seconds
// at most, and one that gives up earlier nothing more.
func TestHangingIssuer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := fakeIDP("a.test", public("k1", rsaKey()))
		a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("a")}, Transport: hangs{}})
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Bearer(ctx, fresh(t, p, rsaKey(), "k1")); err == nil || time.Since(began) != time.Second {
			t.Errorf("gave up after %v with %v; want 1s and an error", time.Since(began), err)
		}
		if got := reason(t, a, fresh(t, p, rsaKey(), "k1")); got != "unavailable" || time.Since(began) > 5*time.Second {
			t.Errorf("got %s after %v; want unavailable after 5s", got, time.Since(began))
		}
	})
}

// TestHangingDiscovery leaves time for the keys, whose address is known.
func TestHangingDiscovery(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := fakeIDP("a.test", public("k1", rsaKey()))
		a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("a")}, Transport: p})
		reason(t, a, fresh(t, p, rsaKey(), "k1"))
		p.set(func(p *idp) {
			p.discovery = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
			p.keys = []jose.JSONWebKey{public("k2", otherRSA())}
		})
		time.Sleep(time.Minute)
		if got := reason(t, a, fresh(t, p, otherRSA(), "k2")); got != "ok" {
			t.Errorf("got %s, want ok", got)
		}
	})
}

// TestRemembered: a token is believed for five minutes, and never past exp and
// clock_skew or the age of the keys.
func TestRemembered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := fakeIDP("a.test", public("k1", rsaKey()))
		config := p.config("a")
		config.MaxKeyAge = 3 * time.Minute
		a := start(t, authn.Config{Issuers: []authn.IssuerConfig{config}, Transport: p})
		short := mint(t, jose.RS256, rsaKey(), "k1", "at+jwt", p.claims(time.Now(), map[string]any{"exp": time.Now().Unix() + 30}))
		long := fresh(t, p, rsaKey(), "k1")
		for _, token := range []string{short, long} {
			if got := reason(t, a, token); got != "ok" {
				t.Fatalf("got %s, want ok", got)
			}
		}
		p.set(func(p *idp) { p.fault = errors.New("connection refused") })
		time.Sleep(89 * time.Second)
		if got := reason(t, a, short); got != "ok" {
			t.Errorf("59 s after exp: got %s, want ok: the clocks may differ", got)
		}
		time.Sleep(time.Second)
		if got := reason(t, a, short); got != "expired" {
			t.Errorf("60 s after exp: got %s, want expired", got)
		}
		time.Sleep(91 * time.Second)
		if got := reason(t, a, long); got != "unavailable" {
			t.Errorf("keys are too old: got %s, want unavailable", got)
		}
	})
}
