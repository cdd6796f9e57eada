package proxy_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
	"github.com/vaultspan/vaultspan/vault/bwemu"
)

// canary3 is the secret of the client that the authority knows.
const canary3 = "CANARY-AS-2be0c177/+ 9"

// minter is an authorization server, and the upstream that takes its tokens.
// It verifies the client as RFC 6749 says, and that its own attempt is on disk
// before the secret reached it (promise 1).
type minter struct {
	*httptest.Server
	bench  *bench
	t      *testing.T
	post   bool // it wants the client in the form
	answer func(http.ResponseWriter)
	stored *bwemu.Secret // the vault's copy of the client's secret

	mu     sync.Mutex
	client string            // whose secret canary3 is, unless rotated
	secret string            // of the client
	issued int               // tokens
	life   int               // of a token, in seconds
	good   map[string]string // tokens that the upstream takes, and for which scope
	asked  []*http.Request
}

func newMinter(t *testing.T) *minter {
	a := &minter{t: t, client: "gate way", secret: canary3, life: 3600, good: map[string]string{}}
	a.Server = httptest.NewUnstartedServer(a)
	a.EnableHTTP2 = true
	a.StartTLS()
	t.Cleanup(func() { a.CloseClientConnections(); a.Close() })
	return a
}

// authorityFile is the server's certificate in a file.
func (a *minter) authorityFile() string {
	name := filepath.Join(a.t.TempDir(), "as.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	if err := os.WriteFile(name, text, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return name
}

func (a *minter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	say := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	attempt := r.Header.Get("X-Request-Id")
	if attempt == "" || !a.bench.onDisk(a.t, `"kind":"intent"`, `"attempt":"`+attempt+`"`, `"minted":"`+attempt+`"`, `"upstream":"`+a.URL+`"`) {
		a.t.Errorf("N01 no intent on disk for the minting %q", attempt)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r)
	if a.answer != nil {
		a.answer(w)
		return
	}
	if err := r.ParseForm(); err != nil || r.Method != "POST" || r.RequestURI != "/v1/tokens" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		say(400, map[string]string{"error": "invalid_request"})
		return
	}
	id, secret, basic := r.BasicAuth()
	want := [2]string{strings.ReplaceAll(a.client, " ", "+"), strings.NewReplacer("/", "%2F", "+", "%2B", " ", "+").Replace(a.secret)}
	if !basic {
		id, secret, want = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret"), [2]string{a.client, a.secret}
	}
	switch {
	case basic == a.post || id != want[0] || secret != want[1]:
		say(401, map[string]string{"error": "invalid_client", "error_description": "not " + secret})
		return
	case r.PostForm.Get("grant_type") != "client_credentials":
		say(400, map[string]string{"error": "unsupported_grant_type"})
		return
	case !slices.Contains([]string{"", "charges:read"}, r.PostForm.Get("scope")):
		say(400, map[string]string{"error": "invalid_scope"})
		return
	}
	a.issued++
	token := fmt.Sprintf("CANARY-minted-d41c9e07-%d", a.issued)
	a.good[token] = r.PostForm.Get("scope")
	say(200, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": a.life, "scope": r.PostForm.Get("scope")})
}

// resource is an upstream that takes the authority's tokens.
func (a *minter) resource(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.good[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]; !ok {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	fmt.Fprint(w, "charged")
}

func (a *minter) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *minter) requests() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

// newMintingBench has a route "mint" to u1 that wears the authority's tokens.
// The vault's clock is ahead by what is added to the second value.
func newMintingBench(t *testing.T, change func(*minter, *vault.OAuth2, *proxy.Route)) (*bench, *minter, *atomic.Int64) {
	t.Helper()
	a, ahead := newMinter(t), new(atomic.Int64)
	b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		a.bench, b.u1.handler = b, a.resource
		b.refresh = time.Hour // only a refusal makes the vault look
		b.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		a.stored = b.secret("CLIENT", canary3)
		o := &vault.OAuth2{TokenURL: a.URL + "/v1/tokens", ClientID: "gate way", CA: a.authorityFile()}
		r := proxy.Route{
			Name: "mint", Match: []string{"mint.gw.test/"}, Upstream: b.u1.URL, UpstreamTLS: routes[0].UpstreamTLS,
			Secret: "prod/team-dev/CLIENT", Inject: vault.Injection{OAuth2: o},
		}
		if change != nil {
			change(a, o, &r)
		}
		r.Check(func(path, problem string) { t.Errorf("%s: %s", path, problem) })
		return append(routes, r)
	})
	return b, a, ahead
}
