package authn_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultspan/vaultspan/authn"
)

// TestWeakKeys: a key that anybody could sign with is not among an issuer's
// keys, and does not spoil the good one beside it (G05).
func TestWeakKeys(t *testing.T) {
	weak := must(weakRSA())
	e := func(e int) rsa.PublicKey { return rsa.PublicKey{N: rsaKey().N, E: e} }
	jwk := func(key any) string { return string(must(json.Marshal(jose.JSONWebKey{KeyID: "k", Key: key}))) }
	with := func(key, more string) string { return key[:len(key)-1] + "," + more + "}" }
	rsaJWK := jwk(rsaKey().Public())
	one, two := e(1), e(2)
	for name, key := range map[string]string{
		"1024 bits":           jwk(weak.Public()),
		"exponent 1":          jwk(&one),
		"exponent 2":          jwk(&two),
		"16384 bits":          jwk(&rsa.PublicKey{N: new(big.Int).SetBit(rsaKey().N, 16383, 1), E: 65537}),
		"private":             jwk(rsaKey()),
		"private in part":     with(rsaJWK, `"p":"AQAB"`),
		"symmetric":           `{"kty":"oct","kid":"k","k":"c2VjcmV0"}`,
		"for encryption":      with(rsaJWK, `"use":"enc"`),
		"use of a wrong type": with(rsaJWK, `"use":["sig"]`),
		"for signing only":    with(rsaJWK, `"key_ops":["sign"]`),
		"another algorithm":   with(rsaJWK, `"alg":"RSA-OAEP"`),
		"another curve":       `{"kty":"EC","kid":"k","crv":"secp256k1","x":"AA","y":"AA"}`,
		"not on the curve":    `{"kty":"EC","kid":"k","crv":"P-256","x":"` + b64(strings.Repeat("\x01", 32)) + `","y":"` + b64(strings.Repeat("\x01", 32)) + `"}`,
		"key agreement":       `{"kty":"OKP","kid":"k","crv":"X25519","x":"` + b64(strings.Repeat("\x01", 32)) + `"}`,
		"case variants":       with(rsaJWK, `"USE":"sig"`),
		"duplicates":          "",
		"no type":             `{"kid":"k"}`,
		"not an object":       `7`,
	} {
		t.Run(name, func(t *testing.T) {
			if key == "" {
				key = strings.Replace(rsaJWK, `"kty"`, `"kid":"k","kty"`, 1)
			}
			serve := func(keys ...string) *authn.Authenticator {
				p := newIDP(t)
				p.jwks = raw(200, "application/json", `{"keys":[`+strings.Join(keys, ",")+`]}`)
				a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("corp")}})
				token := mint(t, jose.ES256, ecKey(), "good", "at+jwt", p.claims(time.Now(), nil))
				want := "ok"
				if len(keys) == 1 {
					want = "unavailable"
				}
				if name == "duplicates" { // then nobody knows what the set says
					want = "unavailable"
				}
				if got := reason(t, a, token); got != want {
					t.Errorf("with %d keys: got %s, want %s", len(keys), got, want)
				}
				if got := reason(t, a, mint(t, jose.RS256, rsaKey(), "k", "at+jwt", p.claims(time.Now(), nil))); got == "ok" {
					t.Error("the key was used")
				}
				return a
			}
			serve(key)
			serve(key, string(must(json.Marshal(public("good", ecKey())))))
		})
	}
}

// weakRSA makes a key that today's crypto/rsa refuses to.
func weakRSA() (*rsa.PrivateKey, error) {
	for {
		p, err := rand.Prime(rand.Reader, 512)
		if err != nil {
			return nil, err
		}
		q, err := rand.Prime(rand.Reader, 512)
		if err != nil {
			return nil, err
		}
		if n := new(big.Int).Mul(p, q); n.BitLen() == 1024 {
			return &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: 65537}}, nil
		}
	}
}

// TestKeyChoice: a kid names its key and no other; without one there must be no
// choice.
func TestKeyChoice(t *testing.T) {
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	bound := public("bound", otherRSA())
	bound.Algorithm = "PS256"
	p := newIDP(t, public("a", rsaKey()), bound, public("ec", ecKey()), public("twin", p384),
		public("twin", must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))), public("ec", ecKey()))
	config := p.config("corp")
	config.Algorithms = []string{"RS256", "PS256", "ES256", "ES384"}
	a := start(t, authn.Config{Issuers: []authn.IssuerConfig{config}})
	for _, c := range []struct {
		name string
		alg  jose.SignatureAlgorithm
		key  any
		kid  string
		want string
	}{
		{"its own kid", jose.RS256, rsaKey(), "a", "ok"},
		{"another key's kid", jose.RS256, rsaKey(), "bound", "invalid"},
		{"another type's kid", jose.RS256, rsaKey(), "ec", "invalid"},
		{"an unknown kid", jose.RS256, rsaKey(), "b", "invalid"},
		{"no kid, one key fits", jose.ES256, ecKey(), "", "ok"},
		{"no kid, one key fits because the other is bound", jose.RS256, rsaKey(), "", "ok"},
		{"no kid, two keys fit", jose.PS256, rsaKey(), "", "invalid"},
		{"bound to its alg", jose.PS256, otherRSA(), "bound", "ok"},
		{"not bound to this alg", jose.RS256, otherRSA(), "bound", "invalid"},
		{"a kid that two keys have", jose.ES384, p384, "twin", "invalid"},
		{"a key that is there twice", jose.ES256, ecKey(), "ec", "ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := mint(t, c.alg, c.key, c.kid, "at+jwt", p.claims(time.Now(), nil))
			if got := reason(t, a, token); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestIsolation: what one issuer can sign, it can sign for itself only.
func TestIsolation(t *testing.T) {
	a, b := newIDP(t, public("same", rsaKey())), newIDP(t, public("same", otherRSA()))
	gateway := start(t, authn.Config{Issuers: []authn.IssuerConfig{a.config("a"), b.config("b")}})
	for _, c := range []struct {
		id, name string
		key      any
		claims   map[string]any
		want     string
	}{
		{"H10", "A for A", rsaKey(), a.claims(time.Now(), nil), "ok"},
		{"H10", "B for B", otherRSA(), b.claims(time.Now(), nil), "ok"},
		{"H11", "B for A", otherRSA(), a.claims(time.Now(), nil), "invalid"},
		{"H11", "A for B", rsaKey(), b.claims(time.Now(), nil), "invalid"},
		{"H14", "a tenant that is not listed", rsaKey(), a.claims(time.Now(), map[string]any{"iss": a.url + "/tenant/v2.0"}), "unknown-issuer"},
	} {
		if got := reason(t, gateway, mint(t, jose.RS256, c.key, "same", "at+jwt", c.claims)); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.id, c.name, got, c.want)
		}
	}
	atA, errA := gateway.Bearer(t.Context(), mint(t, jose.RS256, rsaKey(), "same", "at+jwt", a.claims(time.Now(), nil)))
	atB, errB := gateway.Bearer(t.Context(), mint(t, jose.RS256, otherRSA(), "same", "at+jwt", b.claims(time.Now(), nil)))
	if errA != nil || errB != nil || atA.Subject != atB.Subject || atA.Issuer != "a" || atB.Issuer != "b" {
		t.Errorf("H12: the same sub at two issuers: %v %v, %v %v", atA, errA, atB, errB)
	}
}

// TestCacheKey: tokens that share a beginning, and an end, are two tokens (E22).
func TestCacheKey(t *testing.T) {
	p := newIDP(t, public("k1", rsaKey()))
	a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("corp")}})
	for range 2 { // the second time from memory
		for n := range 20 {
			sub := fmt.Sprintf("user-%d", n)
			token := sign(rsaKey(), `{"alg":"RS256","kid":"k1","typ":"at+jwt"}`, string(must(json.Marshal(p.claims(noon, map[string]any{
				"sub": sub, "aaa": strings.Repeat("same", 20), "iat": time.Now().Unix(), "exp": time.Now().Unix() + 60,
			})))))
			id, err := a.Bearer(t.Context(), token)
			if err != nil || id.Subject != sub {
				t.Fatalf("got %q, %v; want %s", id.Subject, err, sub)
			}
			if got := reason(t, a, token[:len(token)-8]+"AAAAAAAA"); got != "invalid" {
				t.Fatalf("a good token with another end: got %s, want invalid", got)
			}
		}
	}
}
