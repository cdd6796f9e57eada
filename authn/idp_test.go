package authn_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultspan/vaultspan/authn"
)

// idp is an OpenID provider reduced to its two documents. A test may replace
// either, to break it.
type idp struct {
	url string // the issuer identifier

	mu        sync.Mutex
	keys      []jose.JSONWebKey
	discovery http.HandlerFunc // instead of the good one
	jwks      http.HandlerFunc // instead of the good one
	fault     error            // instead of any answer
	fetches   int              // of the key set
	asked     []string         // every host and path
}

// newIDP serves an issuer on loopback.
func newIDP(t testing.TB, keys ...jose.JSONWebKey) *idp {
	p := &idp{keys: keys}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

func (p *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Host+r.URL.Path)
	discovery, jwks, keys := p.discovery, p.jwks, p.keys
	if r.URL.Path == "/jwks" {
		p.fetches++
	}
	p.mu.Unlock()
	switch {
	case r.URL.Path == "/.well-known/openid-configuration" && discovery != nil:
		discovery(w, r)
	case r.URL.Path == "/.well-known/openid-configuration":
		answer(map[string]any{"issuer": p.url, "jwks_uri": p.url + "/jwks"})(w, r)
	case r.URL.Path == "/jwks" && jwks != nil:
		jwks(w, r)
	case r.URL.Path == "/jwks":
		answer(jose.JSONWebKeySet{Keys: keys})(w, r)
	default:
		http.NotFound(w, r)
	}
}

// RoundTrip makes an idp a transport, for tests in a synctest bubble.
func (p *idp) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	fault := p.fault
	p.mu.Unlock()
	if fault != nil {
		return nil, fault
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (p *idp) set(change func(*idp)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *idp) fetched() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// visits returns the host and path of every request so far.
func (p *idp) visits() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// config is the least an operator would write for p.
func (p *idp) config(name string) authn.IssuerConfig {
	return authn.IssuerConfig{
		Name: name, URL: p.url, Audience: "vaultspan", AccessTokenTypes: []string{"at+jwt", "none", "JWT"},
	}
}

func answer(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
}

func raw(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// The private keys of all tests; making them is slow.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	otherRSA = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey    = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey { _, k, _ := ed25519.GenerateKey(rand.Reader); return k })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// public is the JSON Web Key of a private key.
func public(kid string, private crypto.Signer) jose.JSONWebKey {
	return jose.JSONWebKey{KeyID: kid, Key: private.Public(), Use: "sig"}
}

// claims are those of a good token of p, with changes; a nil value deletes.
func (p *idp) claims(now time.Time, changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": p.url, "sub": "alice", "aud": "vaultspan",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// mint signs claims the way providers do, with go-jose.
func mint(t testing.TB, alg jose.SignatureAlgorithm, private any, kid, typ string, claims any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	if typ != "" {
		options = options.WithType(jose.ContentType(typ))
	}
	if kid != "" {
		options = options.WithHeader("kid", kid)
	}
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: private}, options))
	return must(must(signer.Sign(must(json.Marshal(claims)))).CompactSerialize())
}

// sign is mint for tokens that no library would make: header and payload are
// signed with RS256 (or HS256 when the key is bytes) as they are.
func sign(private any, header, payload string) string {
	input := b64(header) + "." + b64(payload)
	digest := sha256.Sum256([]byte(input))
	switch k := private.(type) {
	case *rsa.PrivateKey:
		return input + "." + b64(string(must(rsa.SignPKCS1v15(nil, k, crypto.SHA256, digest[:]))))
	case []byte:
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(input))
		return input + "." + b64(string(mac.Sum(nil)))
	}
	return input + "."
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// start runs an Authenticator and waits for nothing: a token's first use waits
// for the keys.
func start(t testing.TB, c authn.Config) *authn.Authenticator {
	t.Helper()
	a, err := authn.New(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// reason is why a token is refused: "ok" when it is not.
func reason(t testing.TB, a *authn.Authenticator, token string) string {
	t.Helper()
	id, err := a.Bearer(context.Background(), token)
	if err == nil {
		return "ok"
	}
	if id.Subject != "" || id.Issuer != "" {
		t.Errorf("an Identity beside an error: %+v", id)
	}
	refusal, ok := err.(*authn.Error)
	if !ok {
		t.Fatalf("error is a %T, want an *authn.Error", err)
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 8 && strings.Contains(err.Error(), part) {
			t.Errorf("the error quotes the token: %v", err)
		}
	}
	return string(refusal.Reason)
}

// mintNow is a good token of p, for now.
func mintNow(t testing.TB, p *idp) string {
	return mint(t, jose.RS256, rsaKey(), "k1", "at+jwt", p.claims(time.Now(), nil))
}
