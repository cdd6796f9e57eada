package devidp_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/vaultspan/vaultspan/authn/devidp"
)

func start(t *testing.T, cfg devidp.Config) *devidp.Provider {
	t.Helper()
	p, err := devidp.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// verify checks an access token as a resource server does, and returns its
// header and claims.
func verify(t *testing.T, p *devidp.Provider, token string) (header, claims map[string]any, err error) {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), p.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	verified, err := provider.Verifier(&oidc.Config{ClientID: "vaultspan"}).Verify(t.Context(), token)
	if err != nil {
		return nil, nil, err
	}
	if err := verified.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	h := jws.Signatures[0].Protected
	return map[string]any{"alg": h.Algorithm, "kid": h.KeyID, "typ": h.ExtraHeaders["typ"]}, claims, nil
}

func mustVerify(t *testing.T, p *devidp.Provider, token string) (header, claims map[string]any) {
	t.Helper()
	header, claims, err := verify(t, p, token)
	if err != nil {
		t.Fatal(err)
	}
	return header, claims
}

func get(t *testing.T, claims map[string]any, path string) string {
	t.Helper()
	var v any = claims
	for name := range strings.SplitSeq(path, ".") {
		v = v.(map[string]any)[name]
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func want(t *testing.T, claims map[string]any, wanted map[string]string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(wanted)) {
		if got := get(t, claims, path); got != wanted[path] {
			t.Errorf("%s = %s, want %s", path, got, wanted[path])
		}
	}
}

func TestAccessTokensFollowRFC9068(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA} {
		t.Run(string(alg), func(t *testing.T) {
			p := start(t, devidp.Config{Algorithm: alg})
			token, err := p.Token(t.Context(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			header, claims := mustVerify(t, p, token)
			want(t, header, map[string]string{"alg": `"` + string(alg) + `"`, "typ": `"at+jwt"`, "kid": `"1"`})
			want(t, claims, map[string]string{
				"iss": `"` + p.Issuer() + `"`, "sub": `"alice"`, "aud": `["vaultspan"]`, "client_id": `"token-for"`,
				"groups": `["dev","payments"]`, "realm_access.roles": `["engineer"]`,
				"email": `"alice@example.com"`, "email_verified": `true`, "act": `null`,
			})
			for _, name := range []string{"iat", "exp", "jti"} {
				if claims[name] == nil {
					t.Errorf("no %s", name)
				}
			}
		})
	}
}

func TestTokenForMakesOldTokens(t *testing.T) {
	p := start(t, devidp.Config{})
	for age, want := range map[string]int{"24h": 200, "-1h": 400, "old": 400} {
		resp, err := http.Post(p.Issuer()+"/token-for?person=alice&age="+age, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		token, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want {
			t.Fatalf("age=%s: %s, %v; want %d", age, resp.Status, err, want)
		}
		if want != 200 {
			continue
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(string(token), ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		var claims struct{ Iat, Exp int64 }
		if err := json.Unmarshal(payload, &claims); err != nil {
			t.Fatal(err)
		}
		if age := time.Since(time.Unix(claims.Exp, 0)); age < 22*time.Hour || claims.Exp-claims.Iat != 3600 {
			t.Errorf("a token of a day ago expired %v ago, after %d seconds", age, claims.Exp-claims.Iat)
		}
	}
}

func TestClientCredentials(t *testing.T) {
	p := start(t, devidp.Config{})
	token, err := p.Token(t.Context(), "ci-deployer")
	if err != nil {
		t.Fatal(err)
	}
	header, claims := mustVerify(t, p, token)
	want(t, header, map[string]string{"typ": `"at+jwt"`})
	want(t, claims, map[string]string{"sub": `"ci-deployer"`, "client_id": `"ci-deployer"`, "aud": `["vaultspan"]`, "groups": `["ci"]`, "kind": `"workload"`})

	refused := []struct{ name, id, secret string }{
		{"wrong secret", "ci-deployer", "guess"},
		{"no secret", "ci-deployer", ""},
		{"public client", "cli", ""},
		{"nobody", "nobody", ""},
		{"a person", "alice", ""},
	}
	for _, c := range refused {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", p.Issuer()+"/token", strings.NewReader("grant_type=client_credentials"))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(c.id, c.secret)
		if status, body := send(t, http.DefaultClient, req); status < 400 || strings.Contains(body, "access_token") {
			t.Errorf("%s: %d %s", c.name, status, body)
		}
	}
}

func TestAgentActsForItsPersonOnly(t *testing.T) {
	p := start(t, devidp.Config{})
	token, err := p.ActingToken(t.Context(), "agent-1", "alice")
	if err != nil {
		t.Fatal(err)
	}
	_, claims := mustVerify(t, p, token)
	want(t, claims, map[string]string{"sub": `"alice"`, "client_id": `"agent-1"`, "act": `{"sub":"agent-1"}`, "groups": `["dev","payments"]`})

	for _, c := range []struct{ agent, person string }{{"agent-1", "carol"}, {"agent-2", "alice"}, {"cli", "alice"}} {
		if token, err := p.ActingToken(t.Context(), c.agent, c.person); err == nil {
			t.Errorf("%s acts for %s: %s", c.agent, c.person, token)
		}
	}
	forged, err := p.Mint(p.Claims("alice"), map[string]any{"kid": "2"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Exchange(t.Context(), "agent-1", forged); err == nil {
		t.Error("exchanged a token of an unknown key")
	}
}

func TestActorsChain(t *testing.T) {
	people, clients := devidp.Cast()
	for i := range clients {
		if clients[i].ID == "agent-2" {
			clients[i].ActsFor = []string{"alice"}
		}
	}
	p := start(t, devidp.Config{People: people, Clients: clients})
	first, err := p.ActingToken(t.Context(), "agent-1", "alice")
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.Exchange(t.Context(), "agent-2", first)
	if err != nil {
		t.Fatal(err)
	}
	_, claims := mustVerify(t, p, second)
	want(t, claims, map[string]string{"sub": `"alice"`, "act": `{"act":{"sub":"agent-1"},"sub":"agent-2"}`})
}

func TestRotationOverlaps(t *testing.T) {
	p := start(t, devidp.Config{})
	old, err := p.Token(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if kid, err := p.Rotate(); err != nil || kid != "2" {
		t.Fatal(kid, err)
	}
	fresh, err := p.Token(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	mustVerify(t, p, old)
	header, _ := mustVerify(t, p, fresh)
	want(t, header, map[string]string{"kid": `"2"`})

	p.ForgetOldKeys()
	mustVerify(t, p, fresh)
	if _, _, err := verify(t, p, old); err == nil {
		t.Error("a forgotten key still verifies")
	}
}

func TestMintSignsWhatItIsTold(t *testing.T) {
	p := start(t, devidp.Config{})
	claims := p.Claims("alice")
	claims["groups"] = []string{"root"}
	token, err := p.Mint(claims, map[string]any{"typ": "logout+jwt"})
	if err != nil {
		t.Fatal(err)
	}
	header, got := mustVerify(t, p, token)
	want(t, header, map[string]string{"typ": `"logout+jwt"`})
	want(t, got, map[string]string{"groups": `["root"]`})

	token, err = p.MintRaw([]byte(`{"alg":"ES256","kid":"1"}`), []byte(`{"sub":"mallory","sub":"alice"}`))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := jws.Verify(p.PublicKey())
	if err != nil || string(payload) != `{"sub":"mallory","sub":"alice"}` {
		t.Errorf("%s, %v", payload, err)
	}
}

func TestFaultsAndCounts(t *testing.T) {
	p := start(t, devidp.Config{})
	ask := func(e devidp.Endpoint) (int, string) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", p.Issuer()+string(e), nil)
		return send(t, http.DefaultClient, req)
	}
	for _, e := range []devidp.Endpoint{devidp.Discovery, devidp.Keys, devidp.Token} {
		p.Fault(e, devidp.Down())
		if status, _ := ask(e); status != 503 {
			t.Errorf("%s down: %d", e, status)
		}
		p.Fault(e, devidp.HTML())
		if status, body := ask(e); status != 200 || !strings.HasPrefix(body, "<!doctype html>") {
			t.Errorf("%s html: %d", e, status)
		}
		if got := p.Requests(e); got != 2 {
			t.Errorf("%s asked %d times, want 2", e, got)
		}
		p.Fault(e, nil)
	}
	p.Fault(devidp.Keys, devidp.NoKeys())
	if status, body := ask(devidp.Keys); status != 200 || body != `{"keys":[]}` {
		t.Errorf("no keys: %d %s", status, body)
	}
	p.Fault(devidp.Keys, nil)
	if _, body := ask(devidp.Keys); !strings.Contains(body, `"kid":"1"`) {
		t.Errorf("healed: %s", body)
	}
}

func TestHangLastsUntilTheCallerLeaves(t *testing.T) {
	p, err := devidp.New(devidp.Config{Issuer: "http://127.0.0.1:9"})
	if err != nil {
		t.Fatal(err)
	}
	p.Fault(devidp.Keys, devidp.Hang())
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, "GET", "http://127.0.0.1:9/keys", nil)
		r.RemoteAddr = "127.0.0.1:5"
		answered := false
		go func() {
			p.ServeHTTP(httptest.NewRecorder(), r)
			answered = true
		}()
		time.Sleep(time.Hour)
		if answered {
			t.Error("answered")
		}
		leave()
		synctest.Wait()
		if !answered {
			t.Error("still hangs")
		}
	})
}

func TestOnlyLoopback(t *testing.T) {
	for _, issuer := range []string{"", "http://192.0.2.1:80", "http://idp.example.com", "https://127.0.0.1:1", "http://127.0.0.1:1/path", "http://u@127.0.0.1:1"} {
		if _, err := devidp.New(devidp.Config{Issuer: issuer}); err == nil {
			t.Errorf("issuer %q is accepted", issuer)
		}
	}
	p, err := devidp.New(devidp.Config{Issuer: "http://127.0.0.1:9"})
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, remote, host, site string
		want                     int
	}{
		{"loopback", "127.0.0.1:5", "127.0.0.1:9", "", 200},
		{"v6", "[::1]:5", "localhost:9", "", 200},
		{"the network", "192.0.2.7:5", "127.0.0.1:9", "", 403},
		{"DNS rebinding", "127.0.0.1:5", "evil.example:9", "", 403},
		{"a web page", "127.0.0.1:5", "127.0.0.1:9", "cross-site", 403},
	}
	for _, c := range cases {
		r := httptest.NewRequest("POST", "/token-for?person=alice", nil)
		r.RemoteAddr, r.Host = c.remote, c.host
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", c.name, w.Code, c.want)
		}
	}
}

func send(t *testing.T, client *http.Client, req *http.Request) (int, string) {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
