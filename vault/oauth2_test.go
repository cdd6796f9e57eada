package vault_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

func TestASecretIsExchangedForAToken(t *testing.T) {
	object := `{"client_id": "gate way", "client_secret": "` + clientSecret + `", "refresh_token": "CANARY-refresh-1"}`
	for name, c := range map[string]struct {
		secret string
		inject vault.Injection
		change func(*authority)
		want   map[string]string
	}{
		"basic": {clientSecret, oauth(), nil, map[string]string{"grant_type": "client_credentials"}},
		"post": {clientSecret, oauth(func(o *vault.OAuth2) { o.Auth = "post" }), nil,
			map[string]string{"grant_type": "client_credentials", "client_id": "gate way", "client_secret": clientSecret}},
		"scopes and params": {clientSecret, oauth(func(o *vault.OAuth2) {
			o.Scopes, o.Params = []string{"read:x", "write"}, map[string]string{"audience": "https://api.example.com", "resource": "urn:x"}
		}), nil, map[string]string{"grant_type": "client_credentials", "scope": "read:x write", "audience": "https://api.example.com", "resource": "urn:x"}},
		"object": {object, oauth(func(o *vault.OAuth2) { o.ClientID = "" }), nil, map[string]string{"grant_type": "client_credentials"}},
		"refresh token": {object, oauth(func(o *vault.OAuth2) { o.Grant, o.Scopes = "refresh_token", []string{"read"} }),
			func(a *authority) { a.refresh = "CANARY-refresh-1" },
			map[string]string{"grant_type": "refresh_token", "refresh_token": "CANARY-refresh-1", "scope": "read"}},
		"public client": {"CANARY-refresh-1", oauth(func(o *vault.OAuth2) { o.Grant = "refresh_token" }),
			func(a *authority) { a.refresh, a.secret = "CANARY-refresh-1", "" },
			map[string]string{"grant_type": "refresh_token", "refresh_token": "CANARY-refresh-1", "client_id": "gate way"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority()
			if c.change != nil {
				c.change(a)
			}
			v, _ := minting(t, c.secret, c.inject)
			bare := lease(t, v, stripeRef)
			if !bare.Mints() || bare.Minted() != "" || bare.TokenEndpoint().String() != "https://login.example.com:443" {
				t.Errorf("before: mints %v, minted %q, at %s", bare.Mints(), bare.Minted(), bare.TokenEndpoint())
			}
			if err := bare.Authorize(request(t)); reason(t, err) != vault.NotBound {
				t.Errorf("without a token: %v", err)
			}
			l := mint(t, v, a.send)
			wears(t, l, "Bearer CANARY-token-1")
			if l.Minted() != "attempt-1" || l.Version() != bare.Version() || l.Destination() != bare.Destination() {
				t.Errorf("minted by %q, version %s, for %s", l.Minted(), l.Version(), l.Destination())
			}
			if got := a.requests(); len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(c.want) {
				t.Errorf("the server was asked %v, want %v", got, c.want)
			}
			wears(t, mint(t, v, a.send), "Bearer CANARY-token-1")
			if n := len(a.requests()); n != 1 {
				t.Errorf("%d tokens were minted for two requests", n)
			}
		})
	}
}

func TestHowATokenIsWorn(t *testing.T) {
	for _, c := range []struct {
		as   vault.As
		name string
		want string
	}{
		{vault.As{}, "Authorization", "Bearer CANARY-token-1"},
		{vault.As{Format: "token {token}"}, "Authorization", "token CANARY-token-1"},
		{vault.As{Header: "x-auth-token"}, "X-Auth-Token", "CANARY-token-1"},
		{vault.As{Header: "x-auth-token", Format: "t={token};"}, "X-Auth-Token", "t=CANARY-token-1;"},
		{vault.As{Basic: "x-access-token"}, "Authorization", "Basic eC1hY2Nlc3MtdG9rZW46Q0FOQVJZLXRva2VuLTE="},
	} {
		inject := oauth(func(o *vault.OAuth2) { o.As = c.as })
		v, _ := minting(t, clientSecret, inject)
		r := request(t)
		r.Header.Set("X_Auth.Token", "mine")
		if err := mint(t, v, newAuthority().send).Authorize(r); err != nil {
			t.Fatal(err)
		}
		if got := r.Header[c.name]; !slices.Equal(got, []string{c.want}) || !slices.Equal(inject.Places(), []string{c.name}) {
			t.Errorf("%+v: %q in %v", c.as, got, r.Header)
		}
	}
}

// What a server answers is sorted by who has to act, and never quoted.
func TestWhatATokenEndpointAnswers(t *testing.T) {
	answer := func(status int, media, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", media)
			w.Header().Set("Location", "/token?CANARY")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	const js = "application/json"
	for name, c := range map[string]struct {
		fail   func(http.ResponseWriter)
		reason vault.LeaseReason
		says   string
	}{
		"another client":  {answer(401, js, `{"error":"invalid_client"}`), vault.NoCredential, "401 invalid_client"},
		"revoked":         {answer(400, js, `{"error":"invalid_grant"}`), vault.NoCredential, "400 invalid_grant"},
		"with 200":        {answer(200, js, `{"error":"invalid_scope"}`), vault.NoCredential, "200 invalid_scope"},
		"unknown code":    {answer(400, js, `{"error":"CANARY"}`), vault.NoCredential, "answered 400"},
		"no JSON":         {answer(403, "text/html", "CANARY"), vault.NoCredential, "answered 403"},
		"a redirect":      {answer(302, "text/html", "CANARY"), vault.NoCredential, "answered 302"},
		"down":            {answer(502, "text/html", "CANARY"), vault.NoToken, "answered 502"},
		"down, in words":  {answer(503, js, `{"error":"invalid_client"}`), vault.NoToken, "answered 503"},
		"for now":         {answer(400, js, `{"error":"temporarily_unavailable"}`), vault.NoToken, "answered 400"},
		"a form":          {answer(200, "application/x-www-form-urlencoded", "access_token=CANARY"), vault.NoToken, "strict JSON"},
		"a list":          {answer(200, js, `["CANARY"]`), vault.NoToken, "strict JSON"},
		"two tokens":      {answer(200, js, `{"access_token":"CANARY","access_token":"b"}`), vault.NoToken, "strict JSON"},
		"cut off":         {answer(200, js, `{"access_token":"CANARY`), vault.NoToken, "strict JSON"},
		"too large":       {answer(200, js, `{"access_token":"`+strings.Repeat("CANARY", 11000)+`"}`), vault.NoToken, "larger"},
		"no token":        {answer(200, js, `{"token_type":"bearer"}`), vault.NoToken, "nothing that is a token"},
		"a number":        {answer(200, js, `{"access_token":7,"token_type":"bearer"}`), vault.NoToken, "nothing that is a token"},
		"two lines":       {answer(200, js, `{"access_token":"CANARY\r\nX: y","token_type":"bearer"}`), vault.NoToken, "line break"},
		"expired":         {answer(200, js, `{"access_token":"CANARY","token_type":"bearer","expires_in":-1}`), vault.NoToken, "had expired"},
		"bound to a key":  {answer(200, js, `{"access_token":"CANARY","token_type":"DPoP"}`), vault.NoCredential, "of a type"},
		"another 2xx":     {answer(204, js, ``), vault.NoToken, "strict JSON"},
		"success, but no": {answer(200, js, `{"error":"CANARY"}`), vault.NoToken, "answered 200"},
	} {
		a := newAuthority()
		a.fail = c.fail
		v, _ := minting(t, clientSecret, oauth())
		_, err := lease(t, v, stripeRef).Mint(t.Context(), a.send)
		if err == nil || reason(t, err) != c.reason || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s with %q", name, err, c.reason, c.says)
		}
		if err != nil && (strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "/token")) {
			t.Errorf("%s: quoted: %v", name, err)
		}
		if n := len(a.requests()); n != 1 {
			t.Errorf("%s: asked %d times", name, n)
		}
	}
}

// A refresh token that is good once is followed by the next, in memory: for all
// routes that exchange it alike.
func TestARotatedRefreshTokenIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority()
		a.refresh, a.rotates, a.life = "CANARY-refresh-1", true, 100*time.Second
		v, account := minting(t, `{"client_secret": "`+clientSecret+`", "refresh_token": "CANARY-refresh-1"}`, oauth(func(o *vault.OAuth2) { o.Grant = "refresh_token" }))
		for i := range 5 {
			wears(t, mint(t, v, a.send), fmt.Sprintf("Bearer CANARY-token-%d", i+1))
			account.put(wikiID, wiki, "TOKEN", fmt.Sprint("CANARY-wiki-", i))
			time.Sleep(95 * time.Second)
		}
	})
}

// Values that cannot be exchanged close the route, and are not quoted.
func TestSecretsThatCannotBeExchanged(t *testing.T) {
	refresh := oauth(func(o *vault.OAuth2) { o.Grant = "refresh_token" })
	unnamed := oauth(func(o *vault.OAuth2) { o.ClientID = "" })
	for _, c := range []struct {
		value  string
		inject vault.Injection
	}{
		{"", oauth()}, {"CANARY\n", oauth()}, {"CANARY\x00", oauth()}, {"CANARY", unnamed}, {`{"client_secret": "CANARY"}`, unnamed},
		{`{"client_id": "x"}`, oauth()}, {`{"client_secret": 7}`, oauth()}, {`{"client_secret": ""}`, oauth()}, {`{"client_secret": "CANARY "}`, oauth()},
		{`{"client_secret": "CANARY", "client_secret": "b"}`, oauth()}, {`{"client_secret": "CANARY"}`, refresh}, {`{"client_id": "x", "refresh_token": ["CANARY"]}`, refresh},
		{"CANARY", vault.Injection{OAuth2: &vault.OAuth2{TokenURL: "http://login.example.com/", ClientID: "x"}}}, // J13
	} {
		if l, err := worn(t, c.value, c.inject); err == nil || reason(t, err) != vault.NoCredential {
			t.Errorf("%q: %v, %v", c.value, l, err)
		}
	}
}
