package authn_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultspan/vaultspan/authn"
)

// noon is the time of all tests that judge claims.
var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

// TestTypes is the matrix of typ, kind of token and configuration.
func TestTypes(t *testing.T) {
	p := newIDP(t, public("k1", rsaKey()))
	var (
		def   = p.config("default")
		older = p.config("older")
		id    = p.config("id")
		both  = p.config("both")
		all   = p.config("all")
	)
	def.AccessTokenTypes = nil
	older.AccessTokenTypes = []string{"at+jwt", "JWT", "none"}
	id.AccessTokenTypes, id.Tokens = nil, []string{"id"}
	both.AccessTokenTypes, both.Tokens = nil, []string{"access", "id"}
	all.Tokens = []string{"access", "id"}
	issuers := []authn.IssuerConfig{def, older, id, both, all}
	var as []*authn.Authenticator
	for _, c := range issuers {
		as = append(as, start(t, authn.Config{Issuers: []authn.IssuerConfig{c}, Now: at(noon)}))
	}
	const no, ok = "invalid", "ok"
	nonce := map[string]any{"nonce": "n"}
	for _, c := range []struct {
		id, typ string
		claims  map[string]any
		want    []string // by issuer: default, older, id, both, all
	}{
		{"G15", "at+jwt", nil, []string{ok, ok, no, ok, ok}},
		{"G15", "application/at+jwt", nil, []string{ok, ok, no, ok, ok}},
		{"G15", "AT+JWT", nil, []string{ok, ok, no, ok, ok}},
		{"G15", "JWT", nil, []string{no, ok, ok, ok, ok}},
		{"G15", "jwt", nil, []string{no, ok, ok, ok, ok}},
		{"G15", "", nil, []string{no, ok, ok, ok, ok}},
		{"G15", "none", nil, []string{no, no, no, no, no}},
		{"G15", "logout+jwt", nil, []string{no, no, no, no, no}},
		{"G15", "dpop+jwt", nil, []string{no, no, no, no, no}},
		{"G15", "secevent+jwt", nil, []string{no, no, no, no, no}},
		{"G15", "id_token", nil, []string{no, no, no, no, no}},
		{"G15", "x/at+jwt", nil, []string{no, no, no, no, no}},
		{"G16", "JWT", nonce, []string{no, no, ok, ok, ok}},
		{"G16", "", map[string]any{"at_hash": "h"}, []string{no, no, ok, ok, ok}},
		{"G16", "", map[string]any{"c_hash": nil, "s_hash": "h"}, []string{no, no, ok, ok, ok}},
		{"G16", "JWT", map[string]any{"typ": "ID"}, []string{no, no, ok, ok, ok}},
		{"G16", "JWT", map[string]any{"token_use": "id"}, []string{no, no, ok, ok, ok}},
		{"G16", "at+jwt", nonce, []string{ok, ok, no, ok, ok}}, // typ decides
		{"G15", "", map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": 1}}, []string{no, no, no, no, no}},
		{"G15", "JWT", map[string]any{"events": 1}, []string{no, no, no, no, no}},
	} {
		for n, a := range as {
			t.Run(fmt.Sprintf("%s %s %v %s", c.id, c.typ, c.claims, issuers[n].Name), func(t *testing.T) {
				token := mint(t, jose.RS256, rsaKey(), "k1", c.typ, p.claims(noon, c.claims))
				if got := reason(t, a, token); got != c.want[n] {
					t.Errorf("got %s, want %s", got, c.want[n])
				}
			})
		}
	}
}

// TestClaims: the claims every token must have, and must not.
func TestClaims(t *testing.T) {
	p := newIDP(t, public("k1", rsaKey()))
	config := p.config("corp")
	config.Clients = []string{"web", "agent-1"}
	a := start(t, authn.Config{Issuers: []authn.IssuerConfig{config}, Now: at(noon)})
	type m = map[string]any
	sec := func(d int64) int64 { return noon.Unix() + d }
	chain := func(depth int) any {
		var act any
		for n := range depth {
			next := m{"sub": fmt.Sprint("actor-", n)}
			if act != nil {
				next["act"] = act
			}
			act = next
		}
		return act
	}
	for _, c := range []struct {
		id      string
		changes m
		want    string
	}{
		{"", nil, "ok"},
		{"G17", m{"iss": "https://evil.test"}, "unknown-issuer"},
		{"G17", m{"iss": nil}, "invalid"},
		{"G17", m{"iss": []string{p.url}}, "invalid"},
		{"G17", m{"iss": ""}, "unknown-issuer"},
		{"G17 H13", m{"iss": p.url + "/"}, "unknown-issuer"},
		{"G17 H13", m{"iss": strings.ToUpper(p.url)}, "unknown-issuer"},
		{"G17 H13", m{"iss": strings.Replace(p.url, "http:", "https:", 1)}, "unknown-issuer"},
		{"G17 H13", m{"iss": p.url + ".evil.test"}, "unknown-issuer"},
		{"G17 H13", m{"iss": p.url[:len(p.url)-1]}, "unknown-issuer"},
		{"G17 H13", m{"iss": " " + p.url}, "unknown-issuer"},

		{"aud", m{"aud": []string{"other", "vaultspan"}}, "ok"},
		{"aud", m{"aud": nil}, "invalid"},
		{"aud", m{"aud": "other"}, "invalid"},
		{"aud", m{"aud": "Vaultspan"}, "invalid"},
		{"aud", m{"aud": "vaultspan other"}, "invalid"},
		{"aud", m{"aud": []string{}}, "invalid"},
		{"aud", m{"aud": []any{"vaultspan", 1}}, "invalid"},
		{"aud", m{"aud": m{"vaultspan": true}}, "invalid"},
		{"aud", m{"aud": [][]string{{"vaultspan"}}}, "invalid"},

		{"exp", m{"exp": sec(-59)}, "invalid"}, // before iat
		{"exp", m{"iat": sec(-99), "exp": sec(-59)}, "ok"},
		{"exp", m{"iat": sec(-99), "exp": sec(-60)}, "expired"},
		{"exp", m{"iat": sec(-9999), "exp": sec(-3600)}, "expired"},
		{"exp", m{"exp": nil}, "invalid"},
		{"exp", m{"exp": fmt.Sprint(sec(600))}, "invalid"},
		{"exp", m{"exp": 1e300}, "invalid"},
		{"exp", m{"exp": -1}, "invalid"},
		{"exp", m{"exp": float64(sec(600)) + .5}, "ok"},
		{"exp", m{"exp": sec(24 * 3600)}, "ok"},
		{"exp", m{"exp": sec(24*3600 + 1)}, "invalid"},
		{"exp", m{"iat": sec(0), "exp": sec(0)}, "invalid"},
		{"G22", m{"nbf": sec(59)}, "ok"},
		{"G22", m{"nbf": sec(61)}, "invalid"},
		{"G22", m{"nbf": sec(240)}, "invalid"},
		{"G22", m{"nbf": "now"}, "invalid"},
		{"G23", m{"iat": nil}, "invalid"},
		{"G23", m{"iat": sec(59)}, "ok"},
		{"G23", m{"iat": sec(3600), "exp": sec(7200)}, "invalid"},
		{"G23", m{"iat": true}, "invalid"},

		{"G24", m{"sub": nil}, "invalid"},
		{"G24", m{"sub": ""}, "invalid"},
		{"G24", m{"sub": strings.Repeat("s", 255)}, "ok"},
		{"G24", m{"sub": strings.Repeat("ß", 255)}, "ok"},
		{"G24", m{"sub": strings.Repeat("s", 256)}, "invalid"},
		{"G24", m{"sub": "alice\n"}, "invalid"},
		{"G24", m{"sub": "ali\x00ce"}, "invalid"},
		{"G24", m{"sub": "alice\u0085"}, "invalid"},
		{"G24", m{"sub": "alice\u200b"}, "invalid"}, // zero width: shows as alice
		{"G24", m{"sub": "\u202eecila"}, "invalid"}, // right to left: shows as alice
		{"G24", m{"sub": 7}, "invalid"},
		{"G24", m{"sub": []string{"alice"}}, "invalid"},

		{"azp", m{"azp": "web"}, "ok"},
		{"azp", m{"azp": nil, "client_id": "agent-1"}, "ok"},
		{"azp", m{"client_id": "web"}, "ok"},
		{"azp", m{"client_id": "agent-1"}, "invalid"}, // azp says web
		{"azp", m{"azp": "evil"}, "invalid"},
		{"azp", m{"azp": nil}, "invalid"},
		{"azp", m{"azp": []string{"web"}}, "invalid"},
		{"azp", m{"azp": ""}, "invalid"},

		{"cnf", m{"cnf": m{"jkt": "x"}}, "invalid"},
		{"cnf", m{"cnf": m{"x5t#S256": "x"}}, "invalid"},
		{"cnf", m{"cnf": m{}}, "invalid"},

		{"G30", m{"_claim_names": m{"groups": "src1"}, "_claim_sources": m{"src1": m{"endpoint": "https://graph"}}}, "invalid"},
		{"G30", m{"_claim_names": m{"roles": "src1"}}, "invalid"},
		{"G30", m{"_claim_names": m{"Groups": "src1"}}, "invalid"},
		{"G30", m{"_claim_names": m{"groups": "src1"}, "groups": []string{}}, "invalid"},
		{"G30", m{"_claim_names": "groups"}, "invalid"},
		{"G30", m{"_claim_names": m{"photo": "src1"}}, "ok"},

		{"act", m{"act": chain(1)}, "ok"},
		{"act", m{"act": chain(5)}, "ok"},
		{"act", m{"act": chain(6)}, "invalid"},
		{"act", m{"act": "agent-1"}, "invalid"},
		{"act", m{"act": []any{chain(1)}}, "invalid"},
		{"act", m{"act": m{}}, "invalid"},
		{"act", m{"act": m{"sub": ""}}, "invalid"},
		{"act", m{"act": m{"sub": "a", "act": 1}}, "invalid"},
		{"act", m{"act": m{"sub": "a", "Act": chain(1)}}, "invalid"},
		{"act", m{"act": m{"sub": "a", "iss": p.url}}, "ok"},
		{"act", m{"act": m{"sub": "a", "iss": "https://evil.test"}}, "invalid"},
		{"act", m{"act": m{"sub": "a", "iss": 1}}, "invalid"},
	} {
		t.Run(fmt.Sprint(c.id, " ", clip(fmt.Sprint(c.changes))), func(t *testing.T) {
			claims := m{"azp": "web"}
			maps.Copy(claims, c.changes)
			claims = p.claims(noon, claims)
			if got := reason(t, a, mint(t, jose.RS256, rsaKey(), "k1", "at+jwt", claims)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestNulls: a claim that is there but null is there.
func TestNulls(t *testing.T) {
	p := newIDP(t, public("k1", rsaKey()))
	a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("corp")}, Now: at(noon)})
	for claim, want := range map[string]string{
		"act": "invalid", "cnf": "invalid", "nbf": "invalid", "azp": "invalid", "client_id": "invalid",
		"_claim_names": "invalid", "events": "invalid", "groups": "ok", "roles": "ok", "email": "ok",
	} {
		payload := fmt.Sprintf(`{"iss":%q,"sub":"a","aud":"vaultspan","iat":%d,"exp":%d,%q:null}`,
			p.url, noon.Unix(), noon.Unix()+60, claim)
		if got := reason(t, a, sign(rsaKey(), `{"alg":"RS256"}`, payload)); got != want {
			t.Errorf("%s: null: got %s, want %s", claim, got, want)
		}
	}
}

// TestAmbiguousClaims: what two parsers would read differently is refused at
// every level that is read (G28 and RFC 8725 section 2.4).
func TestAmbiguousClaims(t *testing.T) {
	p := newIDP(t, public("k1", rsaKey()))
	config := p.config("corp")
	config.Claims.Roles = "realm_access.roles"
	a := start(t, authn.Config{Issuers: []authn.IssuerConfig{config}, Now: at(noon)})
	good := fmt.Sprintf(`"iss":%q,"sub":"alice","aud":"vaultspan","iat":%d,"exp":%d`, p.url, noon.Unix(), noon.Unix()+60)
	for _, c := range []struct{ id, payload, want string }{
		{"", "{" + good + "}", "ok"},
		{"G28", `{"sub":"mallory",` + good + "}", "invalid"},
		{"G28", "{" + good + `,"sub":"alice"}`, "invalid"},
		{"G28", "{" + good + `,"\u0073ub":"mallory"}`, "invalid"},
		{"G28", "{" + good + `,"groups":["a"],"groups":["admin"]}`, "invalid"},
		{"G28", "{" + good + `,"Sub":"mallory"}`, "invalid"},
		{"G28", "{" + good + `,"SUB":"mallory"}`, "invalid"},
		{"G28", "{" + good + `,"ſub":"mallory"}`, "invalid"}, // long s
		{"G28", "{" + good + `,"AUD":"vaultspan"}`, "invalid"},
		{"G28", "{" + good + `,"EXP":9999999999}`, "invalid"},
		{"G28", "{" + good + `,"Iss":"x"}`, "invalid"},
		{"G28", "{" + good + `,"GROUPS":["admin"]}`, "invalid"},
		{"G28", "{" + good + `,"Cnf":{}}`, "invalid"},
		{"G28", "{" + good + `,"Realm_Access":{"roles":["admin"]}}`, "invalid"},
		{"G28", "{" + good + `,"realm_access":{"roles":["a"],"roles":["admin"]}}`, "invalid"},
		{"G28", "{" + good + `,"realm_access":{"roles":["a"],"Roles":["admin"]}}`, "invalid"},
		{"G28", "{" + good + `,"other":{"roles":["a"],"Roles":["admin"]}}`, "ok"}, // not read
		{"G28", "{" + good + `,"act":{"sub":"a","Sub":"b"}}`, "invalid"},
		{"G28", "{" + good + `,"other":{"a":1,"a":2}}`, "invalid"},
		{"G28", "{" + good + "}{}", "invalid"},
		{"G28", "{" + good, "invalid"},
		{"G28", "[{" + good + "}]", "invalid"},
		{"G28", "{" + good + ",\"x\":\"\xff\"}", "invalid"},
		{"G28", "\ufeff{" + good + "}", "invalid"},
	} {
		t.Run(clip(c.payload[len(c.payload)/2:]), func(t *testing.T) {
			if got := reason(t, a, sign(rsaKey(), `{"alg":"RS256"}`, c.payload)); got != c.want {
				t.Errorf("%s: got %s, want %s", c.payload, got, c.want)
			}
		})
	}
}

// TestIdentity: what an accepted token says of its subject.
func TestIdentity(t *testing.T) {
	p := newIDP(t, public("k1", rsaKey()))
	config := p.config("corp")
	config.Claims = authn.ClaimPaths{Roles: "realm_access.roles", Expose: []string{"/https:~1~1corp.test~1team", "n"}}
	config.KindRules = []authn.KindRule{
		{Claim: "token_class", Value: "service", Kind: authn.Workload},
		{Claim: "realm_access.roles", Value: "bot", Kind: authn.Agent},
	}
	a := start(t, authn.Config{Issuers: []authn.IssuerConfig{config}, Paths: []string{"realm_access.roles", "n", "flag", "absent", "deep.er"}, Now: at(noon)})
	id, err := a.Bearer(t.Context(), mint(t, jose.RS256, rsaKey(), "k1", "at+jwt", p.claims(noon, map[string]any{
		"azp": "web", "client_id": "web", "email": "alice@corp.test", "email_verified": true,
		"groups": []string{"payments", "dev"}, "realm_access": map[string]any{"roles": []string{"bot", "x"}},
		"https://corp.test/team": "core", "n": 12, "flag": true, "deep": map[string]any{"er": map[string]any{}},
		"act": map[string]any{"sub": "agent-1", "act": map[string]any{"sub": "agent-0"}},
	})))
	if err != nil {
		t.Fatal(err)
	}
	want := authn.Identity{
		Issuer: "corp", Subject: "alice", Kind: authn.Agent, Email: "alice@corp.test", ClientID: "web",
		Groups: []string{"payments", "dev"}, Roles: []string{"bot", "x"}, Actors: []string{"agent-1", "agent-0"},
		Expires: noon.Add(time.Hour), Method: "bearer",
		Claims: map[string][]string{
			"realm_access.roles": {"bot", "x"}, "/https:~1~1corp.test~1team": {"core"}, "n": {"12"}, "flag": {"true"},
		},
	}
	if got, want := fmt.Sprintf("%+v", normal(id)), fmt.Sprintf("%+v", normal(want)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestUnusableClaims: a claim of the wrong type or an odd value is as good as
// absent, never an approximation (G29, B28).
func TestUnusableClaims(t *testing.T) {
	p := newIDP(t, public("k1", rsaKey()))
	a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("corp")}, Now: at(noon)})
	many := slices.Repeat([]string{"r"}, 501)
	for _, c := range []struct {
		id    string
		claim string
		value any
		want  string
	}{
		{"G29", "roles", []string{"admin"}, "[admin]"},
		{"G29", "roles", "admin", "[]"},
		{"G29", "roles", 1, "[]"},
		{"G29", "roles", map[string]any{"admin": true}, "[]"},
		{"G29", "roles", [][]string{{"admin"}}, "[]"},
		{"G29", "roles", []any{"admin", nil}, "[]"},
		{"G29", "roles", []any{"admin", 1}, "[]"},
		{"G29", "roles", slices.Repeat([]string{""}, 10000), "[]"},
		{"G29", "roles", many, "[]"},
		{"G29", "roles", []string{strings.Repeat("r", 257)}, "[]"},
		{"G29", "groups", "admin", "[]"},
		{"G29", "groups", many[:3], "[r r r]"},
		{"B28", "email", "alice@corp.test", "alice@corp.test"},
		{"B28", "email", "a.b+c@x-y.corp.test", "a.b+c@x-y.corp.test"},
		{"B28", "email", "evil@x.test@corp.test", ""},
		{"B28", "email", `"a@corp.test"@x.test`, ""},
		{"B28", "email", "alice@corp.test ", ""},
		{"B28", "email", " alice@corp.test", ""},
		{"B28", "email", "alice@corp.test\x00", ""},
		{"B28", "email", "alice@corp.test\n", ""},
		{"B28", "email", "alice", ""},
		{"B28", "email", "@corp.test", ""},
		{"B28", "email", "alice@", ""},
		{"B28", "email", "alice@corp..test", ""},
		{"B28", "email", "alice@corp.test(x)", ""},
		{"B28", "email", "Alice <alice@corp.test>", ""},
		{"B28", "email", "alice@соrp.test", ""}, // Cyrillic
		{"B28", "email", "alice@corp.test,evil@x.test", ""},
		{"B28", "email", []string{"alice@corp.test"}, ""},
	} {
		t.Run(fmt.Sprint(c.id, " ", c.claim, " ", clip(fmt.Sprint(c.value))), func(t *testing.T) {
			id, err := a.Bearer(t.Context(), mint(t, jose.RS256, rsaKey(), "k1", "at+jwt",
				p.claims(noon, map[string]any{c.claim: c.value})))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{"roles": fmt.Sprint(id.Roles), "groups": fmt.Sprint(id.Groups), "email": id.Email}[c.claim]
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	for _, unverified := range []any{false, "false", "True", 0, 1, []bool{true}} {
		id, err := a.Bearer(t.Context(), mint(t, jose.RS256, rsaKey(), "k1", "at+jwt",
			p.claims(noon, map[string]any{"email": "alice@corp.test", "email_verified": unverified})))
		if err != nil || id.Email != "" {
			t.Errorf("email_verified %v: got %q, %v; want no email", unverified, id.Email, err)
		}
	}
}

// normal makes times comparable as text.
func normal(id authn.Identity) authn.Identity {
	id.Expires = id.Expires.UTC()
	return id
}
