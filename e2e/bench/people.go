package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vaultspan/vaultspan/authn/devidp"
)

// PublicURL is where people say that the gateway is. Nothing listens there: their
// browsers connect to one of its nodes, as a load balancer would.
const PublicURL = "http://localhost:8080"

// ClientSecret is that of the client vaultspan at issuer A.
const ClientSecret = "vaultspan-dev-secret"

// startIdP starts issuer A, where people also log in to the client vaultspan. All
// that it gives to that client is a canary.
func (b *Bench) startIdP(ctx context.Context) error {
	people, clients := devidp.Cast()
	for i := range clients {
		if clients[i].ID == "vaultspan" {
			clients[i].RedirectURIs = append(clients[i].RedirectURIs, PublicURL+"/.vaultspan/callback")
			clients[i].PostLogoutRedirectURIs = append(clients[i].PostLogoutRedirectURIs, PublicURL+"/.vaultspan/signed-out")
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	b.IdP, err = devidp.New(devidp.Config{Issuer: "http://" + listener.Addr().String(), People: people, Clients: clients})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(b.serveIdP), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.Serve(listener)
	return nil
}

// Grant is a kind of question to the token endpoint of issuer A, and its answer.
type Grant struct {
	Type   string // authorization_code, refresh_token and so on
	Status int
}

// Granted is how often issuer A was asked so, and answered so.
func (b *Bench) Granted(g Grant) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.granted[g]
}

// serveIdP is issuer A, with an eye on its token endpoint.
func (b *Bench) serveIdP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != string(devidp.Token) {
		b.IdP.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	form, _ := url.ParseQuery(string(body))
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	b.IdP.ServeHTTP(answer, r)
	b.mu.Lock()
	if b.granted == nil {
		b.granted = map[Grant]int{}
	}
	b.granted[Grant{form.Get("grant_type"), answer.Code}]++
	b.mu.Unlock()
	client, _, _ := r.BasicAuth()
	said := answer.Body.Bytes()
	var tokens map[string]any
	if client == "vaultspan" && json.Unmarshal(said, &tokens) == nil {
		b.redate(tokens)
		said, _ = json.Marshal(tokens)
		for _, name := range []string{"access_token", "refresh_token", "id_token"} {
			if token, _ := tokens[name].(string); token != "" { // of a JWT, the signature
				b.Plant(token[strings.LastIndexByte(token, '.')+1:])
			}
		}
		if verifier := form.Get("code_verifier"); verifier != "" {
			b.Plant(verifier)
		}
	}
	maps.Copy(w.Header(), answer.Header())
	w.Header().Del("Content-Length")
	w.WriteHeader(answer.Code)
	w.Write(said)
}

// Clock makes issuer A's clock wrong by so much, for the ID tokens that it gives to
// people from now on, and lets them live so long, without a refresh token or a
// word on how long the access token lives. Zero is as it was.
func (b *Bench) Clock(skew, lifetime time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.skew, b.lifetime, b.refreshing = skew, lifetime, false
}

// Refreshing lets the ID tokens that people are given from now on live so long, with
// a refresh token to get the next.
func (b *Bench) Refreshing(lifetime time.Duration) {
	b.Clock(0, lifetime)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refreshing = true
}

// redate writes the ID token of an answer anew, by the clock that Clock says.
func (b *Bench) redate(tokens map[string]any) {
	b.mu.Lock()
	skew, lifetime, refreshing := b.skew, b.lifetime, b.refreshing
	b.mu.Unlock()
	old, _ := tokens["id_token"].(string)
	parts := strings.Split(old, ".")
	if skew == 0 && lifetime == 0 || len(parts) != 3 {
		return
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return
	}
	var claims map[string]any
	if json.Unmarshal(payload, &claims) != nil {
		return
	}
	now := time.Now().Add(skew)
	claims["iat"], claims["auth_time"], claims["exp"] = now.Unix(), now.Unix(), now.Add(lifetime).Unix()
	if token, err := b.IdP.Mint(claims, map[string]any{"typ": "JWT"}); err == nil {
		tokens["id_token"] = token
		delete(tokens, "expires_in")
		if !refreshing {
			delete(tokens, "refresh_token")
		}
	}
}

// plantPeople writes what a gateway needs for people to log in: client-secret, and
// two keys of sessions.
func (b *Bench) plantPeople(secretsDir string) error {
	files := map[string]string{"client-secret": ClientSecret, "wrong-secret": "wrong-" + rand.Text()}
	for _, name := range []string{"session.key", "session-2.key"} {
		var key [32]byte
		rand.Read(key[:])
		files[name] = hex.EncodeToString(key[:])
	}
	for name, content := range files {
		b.Plant(content)
		if err := os.WriteFile(filepath.Join(secretsDir, name), []byte(content+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// LogoutToken is what issuer A says to the client vaultspan when somebody's login
// ends there (OpenID Connect Back-Channel Logout 1.0).
func (b *Bench) LogoutToken(person string) (string, error) {
	now := time.Now()
	return b.IdP.Mint(map[string]any{
		"iss": b.IdP.Issuer(), "aud": "vaultspan", "sub": person, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": rand.Text(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}, map[string]any{"typ": "logout+jwt"})
}
