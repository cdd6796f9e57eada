package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultspan/vaultspan/authn/assertion"
)

// world is a gateway's keys, and beside them one that the test signs with.
type world struct {
	*httptest.Server
	signer *assertion.Signer
	key    *ecdsa.PrivateKey

	mu      sync.Mutex
	clock   time.Time
	fetched int
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{clock: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	var err error
	if w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	w.signer, err = assertion.New(assertion.Setup{
		Config: assertion.Config{Key: func() string { return strings.Repeat("ab", 32) }}, Gateway: w.URL, Issuers: map[string]string{"corp": "https://login.test"}, Now: w.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// ServeHTTP serves the keys.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/.vaultspan/jwks.json" {
		http.NotFound(rw, r)
		return
	}
	w.mu.Lock()
	w.fetched++
	w.mu.Unlock()
	text, _, err := w.signer.Keys()
	var set jose.JSONWebKeySet
	if err == nil {
		err = json.Unmarshal(text, &set)
	}
	if err != nil {
		http.Error(rw, err.Error(), 500)
		return
	}
	set.Keys = append(set.Keys, jose.JSONWebKey{Key: &w.key.PublicKey, KeyID: "test", Algorithm: "ES256", Use: "sig"})
	json.NewEncoder(rw).Encode(set)
}

func (w *world) verifier(t *testing.T) verifier {
	return newVerifier(t.Context(), w.URL, "wiki", w.now)
}

// request has some assertions on it.
func request(assertions ...string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header["X-Vaultspan-Assertion"] = assertions
	return r
}

func (w *world) assert(t *testing.T, route string) string {
	t.Helper()
	token, _, err := w.signer.Sign(assertion.Claims{
		Route: route, Request: "1", Issuer: "corp", Subject: "alice", Email: "alice@corp.test", Groups: []string{"staff"}, Roles: []string{"reader"}, Expires: w.now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// For a week of rotating keys a verifier that is left alone takes every assertion,
// and asks for keys once in a while.
func TestAnAssertionIsTakenThroughRotation(t *testing.T) {
	w := newWorld(t)
	v := w.verifier(t)
	for range 7 * 24 {
		got, err := v.caller(request(w.assert(t, "wiki")))
		if err != nil || got.Subject != "corp:alice" || got.Email != "alice@corp.test" || len(got.Groups) != 1 || len(got.Roles) != 1 {
			t.Fatalf("at %v: %+v, %v", w.now(), got, err)
		}
		w.pass(time.Hour)
	}
	if w.fetched < 3 || w.fetched > 8 {
		t.Errorf("the keys were fetched %d times in a week", w.fetched)
	}
}

// Every single thing that is wrong with an assertion is enough to refuse it.
func TestWhatIsNoAssertionIsRefused(t *testing.T) {
	w := newWorld(t)
	v := w.verifier(t)
	now := w.now().Unix()
	good := map[string]any{"iss": w.URL, "aud": "wiki", "sub": "corp:mallory", "iat": now, "nbf": now, "exp": now + 60}
	with := func(name string, value any) map[string]any {
		c := maps.Clone(good)
		c[name] = value
		return c
	}
	sign := func(alg jose.SignatureAlgorithm, key any, typ string, claims map[string]any) string {
		t.Helper()
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: "test"}}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
		if err != nil {
			t.Fatal(err)
		}
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		token, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	ours := func(claims map[string]any) string { return sign(jose.ES256, w.key, assertion.Type, claims) }
	if c, err := v.caller(request(ours(good))); err != nil || c.Subject != "corp:mallory" {
		t.Fatalf("a good one: %+v, %v", c, err)
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := w.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	raw := func(header string) string {
		b := base64.RawURLEncoding.EncodeToString
		payload, _ := json.Marshal(good)
		return b([]byte(header)) + "." + b(payload) + "."
	}
	parts := strings.Split(w.assert(t, "wiki"), ".")
	for name, assertions := range map[string][]string{
		"missing":                  nil,
		"empty":                    {""},
		"two":                      {ours(good), ours(good)},
		"two in one field":         {ours(good) + "," + ours(good)},
		"another route's":          {w.assert(t, "payments")},
		"another audience":         {ours(with("aud", "payments"))},
		"another gateway's":        {ours(with("iss", "https://gw.elsewhere.test"))},
		"a gateway of that prefix": {ours(with("iss", w.URL+"/"))},
		"expired":                  {ours(with("exp", now-1))},
		"without exp":              {ours(with("exp", nil))},
		"of the future":            {ours(with("nbf", now+3600))},
		"an ID token":              {sign(jose.ES256, w.key, "JWT", good)},
		"an access token":          {sign(jose.ES256, w.key, "at+jwt", good)},
		"a stranger's":             {sign(jose.ES256, stranger, assertion.Type, good)},
		"the public key as secret": {sign(jose.HS256, public, assertion.Type, good)},
		"alg none":                 {raw(`{"alg":"none","typ":"vaultspan-assertion+jwt","kid":"test"}`)},
		"no signature":             {raw(`{"alg":"ES256","typ":"vaultspan-assertion+jwt","kid":"test"}`)},
		"a changed payload":        {parts[0] + "." + strings.Split(w.assert(t, "payments"), ".")[1] + "." + parts[2]},
		"not a token":              {"alice"},
	} {
		if c, err := v.caller(request(assertions...)); err == nil {
			t.Errorf("%s: taken, for %+v", name, c)
		}
	}
	late := w.assert(t, "wiki")
	w.pass(time.Minute + time.Second)
	if _, err := v.caller(request(late)); err == nil {
		t.Error("one of a minute ago is taken")
	}
}
