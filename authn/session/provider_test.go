package session_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// clock is the time of everybody in a test.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// provider is an OpenID provider that misbehaves as a test tells it to. It has no
// page: a test takes what a browser would bring and answers in its place.
type provider struct {
	url   string
	mux   *http.ServeMux
	clock *clock
	key   *ecdsa.PrivateKey
	kid   string

	mu        sync.Mutex
	discovery map[string]any // put over the good document
	keys      []jose.JSONWebKey
	claims    map[string]any // put over those of a good ID token; nil takes one away
	header    map[string]any // likewise
	answer    map[string]any // put over the token endpoint's answer
	sign      func(*provider, map[string]any) string
	userinfo  map[string]any
	infos     map[string]map[string]any // by access token, before userinfo
	fault     http.HandlerFunc          // in place of the token endpoint
	codes     map[string]grant
	refresh   map[string]grant // by refresh token; each works once
	grace     map[string]bool  // used refresh tokens that work again
	calls     map[string]int   // of the token endpoint, by grant_type
	forms     []url.Values     // that it was sent
}

// grant is what a code or refresh token stands for.
type grant struct{ subject, nonce, challenge, sid string }

func newProvider(t *testing.T, c *clock) *provider {
	p := &provider{
		clock: c, key: newKey(), kid: "k1", claims: map[string]any{}, header: map[string]any{}, answer: map[string]any{}, discovery: map[string]any{},
		codes: map[string]grant{}, refresh: map[string]grant{}, grace: map[string]bool{}, calls: map[string]int{},
	}
	p.keys = []jose.JSONWebKey{{KeyID: "k1", Key: p.key.Public(), Use: "sig"}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		doc := map[string]any{
			"issuer": p.url, "jwks_uri": p.url + "/jwks", "authorization_endpoint": p.url + "/authorize", "token_endpoint": p.url + "/token",
			"userinfo_endpoint": p.url + "/userinfo", "end_session_endpoint": p.url + "/end",
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		writeJSON(w, 200, over(doc, p.discovery))
	})
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		writeJSON(w, 200, jose.JSONWebKeySet{Keys: p.keys})
	})
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if info := p.infos[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]; info != nil {
			writeJSON(w, 200, info)
			return
		}
		if r.Header.Get("Authorization") != "Bearer access" {
			writeJSON(w, 401, map[string]any{})
			return
		}
		writeJSON(w, 200, p.userinfo)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.url, p.mux = server.URL, mux
	return p
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func over(base, changes map[string]any) map[string]any {
	maps.Copy(base, changes)
	maps.DeleteFunc(base, func(_ string, v any) bool { return v == nil })
	return base
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (p *provider) set(change func(*provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *provider) count(grantType string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[grantType]
}

// code is the provider's answer to an authorization request, for somebody.
func (p *provider) code(asked url.Values, subject string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	code := rand.Text()
	p.codes[code] = grant{subject: subject, nonce: asked.Get("nonce"), challenge: asked.Get("code_challenge"), sid: "sid-" + subject}
	return code
}

// token is the token endpoint: codes and refresh tokens work once.
func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[r.PostForm.Get("grant_type")]++
	p.forms = append(p.forms, r.PostForm)
	if p.fault != nil {
		p.fault(w, r)
		return
	}
	if id, secret, _ := r.BasicAuth(); id != "web" || secret != "web-secret" {
		writeJSON(w, 401, map[string]any{"error": "invalid_client"})
		return
	}
	var g grant
	var ok bool
	nonce := ""
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		g, ok = p.codes[r.PostForm.Get("code")]
		delete(p.codes, r.PostForm.Get("code"))
		sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		ok = ok && base64.RawURLEncoding.EncodeToString(sum[:]) == g.challenge
		nonce = g.nonce
	case "refresh_token":
		used := r.PostForm.Get("refresh_token")
		g, ok = p.refresh[used]
		if !p.grace[used] {
			delete(p.refresh, used)
		}
	}
	if !ok {
		writeJSON(w, 400, map[string]any{"error": "invalid_grant", "error_description": "no such\ncode"})
		return
	}
	next := rand.Text()
	p.refresh[next] = g
	now := p.clock.now()
	claims := map[string]any{
		"iss": p.url, "sub": g.subject, "aud": "web", "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		"nonce": nonce, "sid": g.sid, "groups": []string{"dev"}, "at_hash": half("access"),
	}
	if nonce == "" {
		delete(claims, "nonce")
	}
	writeJSON(w, 200, over(map[string]any{
		"access_token": "access", "token_type": "Bearer", "expires_in": 600, "refresh_token": next, "id_token": p.mint(over(claims, p.claims)),
	}, p.answer))
}

// half is at_hash for ES256.
func half(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// mint signs claims. p.mu is held, or nobody else is there.
func (p *provider) mint(claims map[string]any) string {
	if p.sign != nil {
		return p.sign(p, claims)
	}
	header, _ := json.Marshal(over(map[string]any{"alg": "ES256", "kid": p.kid, "typ": "JWT"}, p.header))
	return compact(p.key, header, claims)
}

func compact(key *ecdsa.PrivateKey, header []byte, claims map[string]any) string {
	payload, _ := json.Marshal(claims)
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64(header) + "." + b64(payload)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		panic(err)
	}
	var raw [64]byte
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return input + "." + b64(raw[:])
}

// logoutToken is a good one, with changes.
func (p *provider) logoutToken(changes, header map[string]any) string {
	now := p.clock.now()
	h, _ := json.Marshal(over(map[string]any{"alg": "ES256", "kid": p.kid, "typ": "logout+jwt"}, header))
	return compact(p.key, h, over(map[string]any{
		"iss": p.url, "aud": "web", "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": rand.Text(), "sub": "alice",
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}, changes))
}
