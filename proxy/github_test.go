package proxy_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// A server like GitHub, for tokens and for what they open: it verifies the
// App's statement with the public key, by another package than the one that
// signed it, and lets a token do what it was narrowed to. The key itself stays
// with us.
func TestAnAppsTokenOpensWhatItWasNarrowedTo(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	secret := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	var b *bench
	opens := map[string][]string{} // by token: repositories
	mint := func(w http.ResponseWriter, r *http.Request) {
		if attempt := r.Header.Get("X-Request-Id"); !b.onDisk(t, `"kind":"intent"`, `"attempt":"`+attempt+`"`, `"minted":"`+attempt+`"`) {
			t.Error("N01 no intent on disk for the minting")
		}
		statement, err := jwt.ParseSigned(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), []jose.SignatureAlgorithm{jose.RS256})
		if err != nil {
			t.Error(err)
			http.Error(w, `{"message": "A JSON web token could not be decoded"}`, http.StatusUnauthorized)
			return
		}
		var claims jwt.Claims
		if err := statement.Claims(&key.PublicKey, &claims); err != nil {
			t.Error(err)
		}
		now := time.Now()
		if err := claims.ValidateWithLeeway(jwt.Expected{Issuer: "12345", Time: now}, 0); err != nil || claims.IssuedAt == nil || claims.Expiry == nil ||
			claims.IssuedAt.Time().After(now) || claims.Expiry.Time().After(now.Add(10*time.Minute)) || claims.Expiry.Time().Sub(claims.IssuedAt.Time()) > 10*time.Minute {
			t.Errorf("%v: %+v", err, claims)
		}
		var ask struct {
			Repositories []string
			Permissions  map[string]string
		}
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || fmt.Sprint(ask) != "{[api] map[contents:read]}" {
			t.Errorf("asked for %+v: %v", ask, err)
		}
		token := fmt.Sprintf("ghs_CANARY-d41c9e07-%d", len(opens)+1)
		opens[token] = ask.Repositories
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token": %q, "expires_at": %q, "permissions": {"contents": "read", "metadata": "read"}, "repository_selection": "selected", "repositories": [{"name": "api", "full_name": "acme/api"}]}`,
			token, now.Add(time.Hour).UTC().Format(time.RFC3339))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v3/app/installations/678/access_tokens", mint)
	mux.HandleFunc("GET /api/v3/repos/acme/{name}", func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(opens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")], r.PathValue("name")) {
			http.Error(w, "Not Found", http.StatusNotFound)
			return
		}
		fmt.Fprint(w, r.PathValue("name"))
	})
	server := httptest.NewUnstartedServer(mux)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	ca := filepath.Join(t.TempDir(), "ghe.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	b = newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		b.secret("APP_KEY", secret)
		return append(routes, proxy.Route{
			Name: "github", Match: []string{"github.gw.test/"}, Upstream: server.URL + "/api/v3", UpstreamTLS: proxy.UpstreamTLS{CA: ca}, Secret: "prod/team-dev/APP_KEY",
			Inject: vault.Injection{GitHubApp: &vault.GitHubApp{App: "12345", Installation: 678, Repositories: []string{"api"}, Permissions: map[string]string{"contents": "read"}, API: server.URL + "/api/v3/", CA: ca}},
		})
	})
	alice := b.token(t, "alice")
	var trace strings.Builder
	for name, status := range map[string]int{"api": 200, "web": 404} {
		res, body := b.do(t, "GET", "https://github.gw.test/repos/acme/"+name, alice)
		if res.StatusCode != status {
			t.Errorf("%s: %d %s, want %d", name, res.StatusCode, body, status)
		}
		trace.WriteString(res.Header.Get("X-Request-Id"))
	}
	if len(opens) != 1 {
		t.Errorf("%d tokens were minted", len(opens))
	}
	mints, uses := 0, 0
	events := b.records(t)
	for _, e := range events {
		switch {
		case e.Kind != audit.KindIntent:
		case e.Minted == e.Attempt: // the API is the upstream too: only this tells the two apart
			mints++
		case strings.Contains(trace.String(), e.Minted[:32]) && e.Minted != "":
			uses++
		}
	}
	if mints != 1 || uses != 2 {
		t.Errorf("%d mintings and %d uses are recorded", mints, uses)
	}
	for name, output := range map[string]string{"logs": b.logs.String(), "spans": fmt.Sprintf("%+v", b.spans.GetSpans()), "records": fmt.Sprintf("%+v", events)} {
		for _, word := range []string{"ghs_", "d41c9e07", "eyJ", "PRIVATE", secret[100:140], "access_tokens"} {
			if strings.Contains(output, word) {
				t.Errorf("the %s hold %q", name, word)
			}
		}
	}
}
