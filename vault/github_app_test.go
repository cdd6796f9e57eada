package vault_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

// gitHub mints installation tokens as GitHub does: it verifies the App's
// statement with its public key, and narrows.
type gitHub struct {
	app   string
	key   *rsa.PrivateKey
	wider func(map[string]any) // changes the answer
	asked []map[string]any
	limit bool
}

func newGitHub(t *testing.T) *gitHub {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &gitHub{app: "12345", key: key}
}

func (g *gitHub) pkcs1() string {
	return encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(g.key))
}

func (g *gitHub) pkcs8(t *testing.T, key any) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return encodePEM("PRIVATE KEY", der)
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (g *gitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	say := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	message := func(status int, text string) { say(status, map[string]any{"message": text + ": CANARY"}) }
	if g.limit {
		w.Header().Set("X-RateLimit-Remaining", "0")
		message(403, "API rate limit exceeded")
		return
	}
	if err := g.verify(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")); err != nil {
		message(401, err.Error())
		return
	}
	if r.Header.Get("Accept") != "application/vnd.github+json" || r.Header.Get("X-GitHub-Api-Version") == "" || r.UserAgent() == "" {
		message(403, "Request forbidden by administrative rules")
		return
	}
	if r.Method != "POST" || r.URL.Path != "/app/installations/678/access_tokens" {
		message(404, "Not Found")
		return
	}
	var ask struct {
		Repositories []string          `json:"repositories"`
		Permissions  map[string]string `json:"permissions"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		message(400, "Problems parsing JSON")
		return
	}
	granted := map[string]any{"metadata": "read"}
	for name, level := range ask.Permissions {
		if name != "contents" && name != "issues" || level == "admin" {
			message(422, "The permissions requested are not granted to this installation.")
			return
		}
		granted[name] = level
	}
	answer := map[string]any{
		"token": fmt.Sprintf("ghs_CANARYCANARY%d", len(g.asked)+1), "expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		"permissions": granted, "repository_selection": "all",
	}
	if ask.Repositories != nil {
		var all []any
		for _, name := range ask.Repositories {
			if name != "api" && name != "Web" {
				message(422, "There is at least one repository that does not exist or is not accessible to the parent installation.")
				return
			}
			all = append(all, map[string]any{"name": name, "full_name": "acme/" + name})
		}
		answer["repository_selection"], answer["repositories"] = "selected", all
	}
	if g.wider != nil {
		g.wider(answer)
	}
	g.asked = append(g.asked, answer)
	say(201, answer)
}

// verify is what GitHub's documentation says of the statement.
func (g *gitHub) verify(statement string) error {
	parts := strings.Split(statement, ".")
	if len(parts) != 3 {
		return fmt.Errorf("a JSON web token could not be decoded")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return err
		}
	}
	var header struct{ Alg, Typ string }
	var claims struct {
		Iss      string
		Iat, Exp int64
	}
	if json.Unmarshal(decoded[0], &header) != nil || header.Alg != "RS256" || json.Unmarshal(decoded[1], &claims) != nil {
		return fmt.Errorf("a JSON web token could not be decoded")
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&g.key.PublicKey, crypto.SHA256, sum[:], decoded[2]); err != nil {
		return err
	}
	now := time.Now().Unix()
	switch {
	case claims.Iss != g.app:
		return fmt.Errorf("'Issuer' claim ('iss') is not the App")
	case claims.Iat > now:
		return fmt.Errorf("'Issued at' claim ('iat') is in the future")
	case claims.Exp <= now || claims.Exp > now+600 || claims.Exp-claims.Iat > 600:
		return fmt.Errorf("'Expiration time' claim ('exp') is too far in the future")
	}
	return nil
}

func (g *gitHub) send(r *http.Request) (*http.Response, string, error) {
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w.Result(), "attempt", nil
}

func app(change ...func(*vault.GitHubApp)) vault.Injection {
	a := &vault.GitHubApp{App: "12345", Installation: 678, Repositories: []string{"api", "web"}, Permissions: map[string]string{"contents": "read"}}
	a.Repositories[1] = "Web"
	for _, f := range change {
		f(a)
	}
	return vault.Injection{GitHubApp: a}
}

func TestAnAppsKeyIsExchangedForAnInstallationToken(t *testing.T) {
	g := newGitHub(t)
	for name, c := range map[string]struct {
		key  string
		want string
		as   vault.As
	}{
		"PKCS #1": {g.pkcs1(), "Bearer ghs_CANARYCANARY1", vault.As{}},
		"PKCS #8": {g.pkcs8(t, g.key), "Bearer ghs_CANARYCANARY1", vault.As{}},
		"for git": {g.pkcs1(), "Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:ghs_CANARYCANARY1")), vault.As{Basic: "x-access-token"}},
	} {
		g.asked = nil
		v, _ := minting(t, c.key, app(func(a *vault.GitHubApp) { a.As = c.as }))
		if got := lease(t, v, stripeRef).TokenEndpoint().String(); got != "https://api.github.com:443" {
			t.Errorf("%s: minted at %s", name, got)
		}
		wears(t, mint(t, v, g.send), c.want)
		wears(t, mint(t, v, g.send), c.want)
		if len(g.asked) != 1 || fmt.Sprint(g.asked[0]["permissions"]) != "map[contents:read metadata:read]" || len(g.asked[0]["repositories"].([]any)) != 2 {
			t.Errorf("%s: GitHub granted %v", name, g.asked)
		}
	}
}

func TestAnInstallationTokenIsRenewedBeforeItsHour(t *testing.T) {
	g := newGitHub(t)
	synctest.Test(t, func(t *testing.T) {
		v, _ := minting(t, g.pkcs1(), app())
		for i, sleep := range []time.Duration{58 * time.Minute, 2 * time.Minute, 0} {
			wears(t, mint(t, v, g.send), []string{"Bearer ghs_CANARYCANARY1", "Bearer ghs_CANARYCANARY1", "Bearer ghs_CANARYCANARY2"}[i])
			time.Sleep(sleep)
		}
	})
}

// What GitHub refuses is an operator's to mend, unless it is the limit of
// requests; and a token that may do more than was asked for is not used.
func TestWhatGitHubAnswers(t *testing.T) {
	permission := func(name, level string) func(map[string]any) {
		return func(answer map[string]any) { answer["permissions"].(map[string]any)[name] = level }
	}
	for name, c := range map[string]struct {
		inject vault.Injection
		change func(*gitHub)
		reason vault.LeaseReason
		says   string
	}{
		"another App":             {app(func(a *vault.GitHubApp) { a.App = "99" }), nil, vault.NoCredential, "401: it does not take the App's signature"},
		"another installation":    {app(func(a *vault.GitHubApp) { a.Installation = 1 }), nil, vault.NoCredential, "404"},
		"a repository of another": {app(func(a *vault.GitHubApp) { a.Repositories = []string{"other"} }), nil, vault.NoCredential, "422"},
		"more than the App may":   {app(func(a *vault.GitHubApp) { a.Permissions["actions"] = "write" }), nil, vault.NoCredential, "422"},
		"limited":                 {app(), func(g *gitHub) { g.limit = true }, vault.NoToken, "answered 403"},
		"a wider level":           {app(), func(g *gitHub) { g.wider = permission("contents", "write") }, vault.NoCredential, "a permission, which was not asked for"},
		"another permission":      {app(), func(g *gitHub) { g.wider = permission("issues", "read") }, vault.NoCredential, "a permission"},
		"an unknown level":        {app(), func(g *gitHub) { g.wider = permission("contents", "CANARY") }, vault.NoCredential, "a permission"},
		"all repositories":        {app(), func(g *gitHub) { g.wider = func(a map[string]any) { a["repository_selection"] = "all" } }, vault.NoCredential, "all repositories"},
		"another repository": {app(), func(g *gitHub) {
			g.wider = func(a map[string]any) { a["repositories"] = []any{map[string]any{"name": "CANARY"}} }
		}, vault.NoCredential, "another repository"},
		"no end":     {app(), func(g *gitHub) { g.wider = func(a map[string]any) { delete(a, "expires_at") } }, vault.NoToken, "does not say when"},
		"no token":   {app(), func(g *gitHub) { g.wider = func(a map[string]any) { delete(a, "token") } }, vault.NoToken, "is empty"},
		"no strings": {app(), func(g *gitHub) { g.wider = func(a map[string]any) { a["token"] = 7 } }, vault.NoToken, "nothing that is a token"},
	} {
		g := newGitHub(t)
		if c.change != nil {
			c.change(g)
		}
		v, _ := minting(t, g.pkcs1(), c.inject)
		_, err := lease(t, v, stripeRef).Mint(t.Context(), g.send)
		if err == nil || reason(t, err) != c.reason || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v, want %s with %q", name, err, c.reason, c.says)
		}
	}
}

func TestAnUnnarrowedTokenIsOfTheWholeInstallation(t *testing.T) {
	g := newGitHub(t)
	g.app = "Iv23liABC"
	v, _ := minting(t, g.pkcs1(), app(func(a *vault.GitHubApp) { a.App, a.Repositories = "Iv23liABC", nil }))
	wears(t, mint(t, v, g.send), "Bearer ghs_CANARYCANARY1")
}

func TestKeysThatAreNotAnApps(t *testing.T) {
	g := newGitHub(t)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"text": "CANARY", "empty": " ", "cut off": g.pkcs1()[:400], "two": g.pkcs1() + g.pkcs1(), "in one line": strings.ReplaceAll(g.pkcs1(), "\n", " "),
		"a public key": encodePEM("PUBLIC KEY", x509.MarshalPKCS1PublicKey(&g.key.PublicKey)), "another label": encodePEM("EC PRIVATE KEY", x509.MarshalPKCS1PrivateKey(g.key)),
		"too small": encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)), "of a curve": g.pkcs8(t, curve),
	} {
		l, err := worn(t, value, app())
		if err == nil || reason(t, err) != vault.NoCredential {
			t.Errorf("%s: %v, %v", name, l, err)
		} else if len(value) > 20 && strings.Contains(err.Error(), value[40:60]) {
			t.Errorf("%s is quoted: %v", name, err)
		}
	}
}
