package vault_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

// authority is an authorization server that mints numbered tokens, verifies
// the client as RFC 6749 says, and remembers what it was asked.
type authority struct {
	id, secret string        // of the client
	refresh    string        // taken with the grant refresh_token
	rotates    bool          // a refresh token is good once
	life       time.Duration // of a token; 0: it does not say
	slow       time.Duration // before it answers
	fail       func(http.ResponseWriter)

	mu    sync.Mutex
	asked []map[string]string
	n     int
}

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(a.slow)
	a.mu.Lock()
	defer a.mu.Unlock()
	refuse := func(status int, code string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error": %q, "error_description": "you sent CANARY"}`, code)
	}
	if err := r.ParseForm(); err != nil || r.Method != "POST" || r.URL.Path != "/token" || r.URL.RawQuery != "" {
		refuse(400, "invalid_request")
		return
	}
	asked := map[string]string{}
	for name, values := range r.PostForm {
		if asked[name] = values[0]; len(values) > 1 {
			refuse(400, "invalid_request")
			return
		}
	}
	a.asked = append(a.asked, asked)
	if a.fail != nil {
		a.fail(w)
		return
	}
	id, secret, basic := r.BasicAuth()
	inForm := asked["client_id"] != "" || asked["client_secret"] != ""
	if !basic {
		id, secret = escape(asked["client_id"]), escape(asked["client_secret"])
	}
	if basic && inForm { // RFC 6749, section 2.3: never more than one
		refuse(400, "invalid_request")
		return
	}
	if id != escape(a.id) || secret != escape(a.secret) { // section 2.3.1
		refuse(401, "invalid_client")
		return
	}
	switch {
	case asked["grant_type"] == "client_credentials" && a.refresh == "":
	case asked["grant_type"] == "refresh_token" && asked["refresh_token"] == a.refresh && a.refresh != "":
	case asked["grant_type"] == "refresh_token":
		refuse(400, "invalid_grant")
		return
	default:
		refuse(400, "unsupported_grant_type")
		return
	}
	a.n++
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	fmt.Fprintf(w, `{"access_token": "CANARY-token-%d", "token_type": "Bearer"`, a.n)
	if a.life > 0 {
		fmt.Fprintf(w, `, "expires_in": %d`, int(a.life/time.Second))
	}
	if a.rotates {
		a.refresh = fmt.Sprintf("CANARY-refresh-%d", a.n+1)
		fmt.Fprintf(w, `, "refresh_token": %q`, a.refresh)
	}
	fmt.Fprint(w, "}")
}

// escape is application/x-www-form-urlencoded.
func escape(s string) string {
	return strings.NewReplacer("%", "%25", "+", "%2B", " ", "+", ":", "%3A", "/", "%2F", "é", "%C3%A9").Replace(s)
}

func (a *authority) requests() []map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

func (a *authority) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// send is an Exchange with it, of a name that counts.
func (a *authority) send(r *http.Request) (*http.Response, string, error) {
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Result(), fmt.Sprintf("attempt-%d", len(a.requests())), r.Context().Err()
}

const clientSecret = "CANARY:se+cr/et é"

func newAuthority() *authority {
	return &authority{id: "gate way", secret: clientSecret, life: time.Hour}
}

// minting is a vault whose binding mints with what inject says.
func minting(t *testing.T, value string, inject vault.Injection) (*vault.Vault, *account) {
	t.Helper()
	a := newAccount()
	a.put(stripeID, payments, "STRIPE_API_KEY", value)
	s := setup(a)
	s.Bindings = []vault.Binding{bind(stripeRef)}
	s.Bindings[0].Inject = inject
	return open(t, s), a
}

func oauth(change ...func(*vault.OAuth2)) vault.Injection {
	o := &vault.OAuth2{TokenURL: "https://login.example.com/token", ClientID: "gate way"}
	for _, f := range change {
		f(o)
	}
	return vault.Injection{OAuth2: o}
}

func mint(t *testing.T, v *vault.Vault, send vault.Exchange) *vault.Lease {
	t.Helper()
	l, err := lease(t, v, stripeRef).Mint(t.Context(), send)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wears says what a lease puts on a request.
func wears(t *testing.T, l *vault.Lease, want string) {
	t.Helper()
	if got := authorization(t, l); got != want {
		t.Errorf("the upstream gets %q, want %q", got, want)
	}
}
