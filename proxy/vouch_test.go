package proxy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/vaultspan/vaultspan/authn/assertion"
	"github.com/vaultspan/vaultspan/proxy"
)

// tellers are the identity headers of R1 and R5 in these tests.
var tellers = map[string]string{
	"x-user-id": "id", "X-Forwarded-User": "subject", "X-User-Email": "email", "X-Groups": "groups", "X-Roles": "role",
	"X-Vaultspan-Kind": "kind", "X-Issuer": "issuer", "X-Actor": "actor",
}

// newSigner signs as https://gw.test for callers of idp, which has that URL.
func newSigner(t *testing.T, idp string) *assertion.Signer {
	t.Helper()
	signer, err := assertion.New(assertion.Setup{
		Config: assertion.Config{Key: func() string { return strings.Repeat("ab", 32) }}, Gateway: "https://gw.test", Issuers: map[string]string{"idp": idp},
	})
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// newTelling is a bench whose R1 and R5 tell their upstreams who is calling.
func newTelling(t *testing.T, change ...func(*bench, []proxy.Route) []proxy.Route) *bench {
	t.Helper()
	tell := func(b *bench, routes []proxy.Route) []proxy.Route {
		b.asserts = newSigner(t, b.idp.Issuer())
		for i := range routes {
			if slices.Contains([]string{"R1", "R5"}, routes[i].Name) {
				routes[i].Assertion, routes[i].IdentityHeaders = true, tellers
			}
		}
		return routes
	}
	return newBench(t, append([]func(*bench, []proxy.Route) []proxy.Route{tell}, change...)...)
}

// asserted verifies the assertion on a request with the keys that the gateway
// publishes, and returns what it says.
func (b *bench) asserted(t *testing.T, r *http.Request, audience string) map[string]any {
	t.Helper()
	_, body := b.do(t, "GET", "https://gw.test/.vaultspan/jwks.json", "")
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(body), &set); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	values := r.Header.Values(assertion.Header)
	if len(values) != 1 {
		t.Fatalf("%d assertions arrived", len(values))
	}
	token, err := jwt.ParseSigned(values[0], []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var registered jwt.Claims
	said := map[string]any{}
	if err := token.Claims(set, &registered, &said); err != nil {
		t.Fatal(err)
	}
	if err := registered.Validate(jwt.Expected{Issuer: "https://gw.test", AnyAudience: jwt.Audience{audience}}); err != nil {
		t.Errorf("%v: %v", err, said)
	}
	if id := r.Header.Get("X-Request-Id"); registered.ID != id {
		t.Errorf("jti is %q on attempt %q", registered.ID, id)
	}
	return said
}

// said are a request's identity headers, one a line.
func said(r *http.Request) string {
	var lines []string
	for name := range tellers {
		for _, value := range r.Header.Values(name) {
			lines = append(lines, http.CanonicalHeaderKey(name)+": "+value)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

const saidOfAlice = "X-Forwarded-User: alice\nX-Groups: dev,payments\nX-Issuer: idp\nX-Roles: dev\nX-User-Email: alice@example.com\nX-User-Id: idp:alice\nX-Vaultspan-Kind: human"

func TestTheUpstreamIsToldWhoIsCalling(t *testing.T) {
	b := newTelling(t)
	b.u2.handler = echo
	token := b.token(t, "alice")
	check := func(r *http.Request, route string) {
		t.Helper()
		if got := said(r); got != saidOfAlice {
			t.Errorf("%s: the headers say\n%s", route, got)
		}
		claims := b.asserted(t, r, route)
		if got := fmt.Sprintln(claims["sub"], claims["sub_id"], claims["kind"], claims["email"], claims["groups"], claims["roles"], claims["aud"]); got !=
			"idp:alice map[format:iss_sub iss:"+b.idp.Issuer()+" sub:alice] human alice@example.com [dev payments] [dev] "+route+"\n" {
			t.Errorf("%s: the assertion says %s", route, got)
		}
	}
	for _, url := range []string{"http://app.gw.test/x", "https://app.gw.test/x"} {
		if res, body := b.do(t, "GET", url, token); res.StatusCode != 200 {
			t.Fatalf("%s: %d %s", url, res.StatusCode, body)
		}
		check(b.u1.last(t), "R1")
	}
	if _, _, err := b.socket(t, "wss://ws.gw.test/x", token); err != nil {
		t.Fatal(err)
	}
	check(b.u2.last(t), "R5")
}

// Who logged in with a browser is told of in the same way, and the session's id is
// nobody's to know.
func TestPeopleAreVouchedForToo(t *testing.T) {
	l := newLounge(t)
	l.settings.Assertions = newSigner(t, l.people.Issuer())
	l.settings.Routes[0].Assertion, l.settings.Routes[0].IdentityHeaders = true, tellers
	if err := l.gateway.Swap(l.settings); err != nil {
		t.Fatal(err)
	}
	cookie := l.login(t, "app.gw.test", "/x", "alice")
	l.do(t, "GET", "https://app.gw.test/x", "", page, sending("Cookie", cookie, "X-User-Id", "root"))
	seen := l.u1.last(t)
	if got := said(seen); got != saidOfAlice {
		t.Errorf("the headers say\n%s", got)
	}
	if claims := l.asserted(t, seen, "R1"); claims["sub"] != "idp:alice" || strings.Contains(fmt.Sprint(claims, seen.Header), strings.TrimPrefix(cookie, "__Host-vaultspan=")) {
		t.Errorf("the assertion says %v", claims)
	}
}

// Nobody can do with an assertion more than show it: it is in no log, no span and
// no record.
func TestNoPartOfAnAssertionIsKept(t *testing.T) {
	b := newTelling(t)
	b.do(t, "GET", "https://app.gw.test/x", b.token(t, "alice"))
	parts := strings.Split(b.u1.last(t).Header.Get(assertion.Header), ".")
	b.records(t)
	var all strings.Builder
	all.WriteString(b.logs.String())
	for _, s := range b.spans.GetSpans() {
		fmt.Fprintf(&all, "%s %v %v %+v", s.Name, s.Attributes, s.Events, s.Links)
	}
	kept := all.String()
	if len(parts) != 3 || !strings.Contains(kept, "R1") {
		t.Fatal("nothing was looked for")
	}
	for _, part := range parts {
		if strings.Contains(kept, part) || b.onDisk(t, part) {
			t.Errorf("%q is kept", part)
		}
	}
}

// B01, B03, B05, B06, B08: what a caller says of itself reaches no upstream, under
// no spelling, on no route, whatever is sent beside it.
func TestNobodySaysWhoItIs(t *testing.T) {
	b := newTelling(t)
	alice, carol := b.token(t, "alice"), b.token(t, "carol")
	for _, route := range []struct {
		name, method, host, path, token, said string
		up                                    *upstream
	}{
		{"R1", "GET", "app.gw.test", "/x", alice, saidOfAlice, b.u1},
		{"R2", "POST", "pay.gw.test", "/x", carol, "", b.u2},
		{"R3", "GET", "app.gw.test", "/public/x", "", "", b.u1}, // open to anyone, and its upstream is R1's
		{"R7", "GET", "api.gw.test", "/api/x", alice, "", b.u2},
	} {
		check := func(how string) {
			t.Helper()
			seen := route.up.last(t)
			if got := said(seen); got != route.said {
				t.Errorf("%s, %s: the upstream is told\n%s", route.name, how, got)
			}
			for name, values := range seen.Header {
				if strings.Contains(fmt.Sprint(values), "root") {
					t.Errorf("%s, %s: the upstream received %s: %q", route.name, how, name, values)
				}
			}
			if got := len(seen.Header.Values(assertion.Header)); got != strings.Count(route.said, "X-User-Id") {
				t.Errorf("%s, %s: %d assertions", route.name, how, got)
			}
		}
		for name := range maps.Keys(tellers) {
			spellings := []string{name, strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", "."), strings.Replace(name, "-", "_", 1)}
			for _, spelling := range spellings {
				conn := b.raw(t, false)
				fields := spelling + ": root\r\n" + spelling + ": root2\r\nX-Vaultspan-Assertion: root\r\nX_Vaultspan_Assertion: root\r\nx-vaultspan.assertion: root\r\n" +
					"Connection: " + name + ", x-vaultspan-assertion\r\n"
				if route.token != "" {
					fields += "Authorization: Bearer " + route.token + "\r\n"
				}
				conn.send(route.method + " " + route.path + " HTTP/1.1\r\nHost: " + route.host + "\r\n" + fields + "Content-Length: 0\r\n\r\n")
				if res, body, err := conn.answer(route.method); err != nil || res.StatusCode != 200 {
					t.Fatalf("%s %s: %v %s %v", route.name, spelling, res, body, err)
				}
				conn.Close()
				check(spelling)
			}
			res, body := b.do(t, route.method, "https://"+route.host+route.path, route.token, func(r *http.Request) { // HTTP/2
				for _, spelling := range append(spellings, "X-Vaultspan-Assertion", "X_Vaultspan_Assertion") {
					r.Header[spelling] = []string{"root", "root2"}
				}
			})
			if res.StatusCode != 200 || res.ProtoMajor != 2 {
				t.Fatalf("%s: %s %d %s", route.name, res.Proto, res.StatusCode, body)
			}
			check(name + " over HTTP/2")
		}
	}
}

// mute signs nothing.
type mute struct{ proxy.Assertions }

func (mute) Sign(assertion.Claims) (string, bool, error) { return "", false, errors.New("no") }

// An upstream that is to be told who is calling gets no request that does not say.
func TestNothingIsSentThatIsNotVouchedFor(t *testing.T) {
	b := newTelling(t)
	b.settings.Assertions = mute{b.asserts}
	if err := b.gateway.Swap(b.settings); err != nil {
		t.Fatal(err)
	}
	res, body := b.do(t, "GET", "https://app.gw.test/x", b.token(t, "alice"))
	refused(t, res, body, 500, "internal")
	if n := len(b.u1.requests()); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
	if e := outcome(t, b.records(t), "/x"); e.Code != "internal" || e.Status != 0 {
		t.Errorf("recorded: %+v", e)
	}
}

// A second attempt is vouched for anew: its assertion is of that attempt.
func TestEachAttemptHasAnAssertionOfItsOwn(t *testing.T) {
	const next = "CANARY-U1-rotated-2"
	up := &rotating{}
	b := newTelling(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		b.u1.handler = up.ServeHTTP
		b.refresh = patience * 100 // only a refusal makes the vault look
		return routes
	})
	up.accept(canary1)
	token := b.token(t, "alice")
	b.do(t, "GET", "https://app.gw.test/x", token)
	b.secret1.Rotate(next)
	up.accept(next)
	if res, body := b.do(t, "GET", "https://app.gw.test/x", token); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	all := b.u1.requests()
	first, second := all[len(all)-2], all[len(all)-1]
	if a, b := b.asserted(t, first, "R1")["jti"], b.asserted(t, second, "R1")["jti"]; a == b {
		t.Errorf("both attempts have %v", a)
	}
	if said(second) != saidOfAlice {
		t.Errorf("the second time the headers say\n%s", said(second))
	}
}

// B26, B27: what an issuer says of its caller, no header field can carry whatever
// it is. What it cannot is left out, the trace says so without the value, and the
// assertion has it.
func TestWhatCannotBeCarriedIsLeftOut(t *testing.T) {
	b := newTelling(t)
	for _, c := range []struct {
		claim       string
		value       any
		field, told string // told: why not, or what arrives after " = "
	}{
		{"groups", []string{"dev", "a,admin"}, "X-Groups", "separator"},
		{"groups", []string{"dev", `"a`, `admin"`}, "X-Groups", "separator"},
		{"groups", []string{"dev", " admin"}, "X-Groups", "space"},
		{"groups", []string{"dev", "größe"}, "X-Groups", "not-ascii"},
		{"groups", []string{"dev", "a\r\nX-Admin: 1"}, "X-Groups", "control"},
		{"groups", []string{"dev", "=?utf-8?q?admin?="}, "X-Groups", "encoded-word"},
		{"groups", append([]string{"dev"}, slices.Repeat([]string{strings.Repeat("g", 99)}, 41)...), "X-Groups", "too-long"},
		{"groups", []string{"dev", "a b", "CN=x"}, "X-Groups", " = dev,a b,CN=x"},
		{"sub", "größe", "X-Forwarded-User", "not-ascii"},
		{"sub", "cn=alice,ou=x", "X-Forwarded-User", " = cn=alice,ou=x"},
		{"email", "=?a?q?b?=@example.com", "X-User-Email", "encoded-word"},
		{"email", "not an address", "X-User-Email", " = "},
		{"act", map[string]any{"sub": "agent-1"}, "X-Actor", " = idp:agent-1"},
	} {
		claims := b.idp.Claims("alice")
		claims[c.claim] = c.value
		token, err := b.idp.Mint(claims, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, body := b.do(t, "GET", "https://app.gw.test/x", token)
		if res.StatusCode != 200 {
			t.Fatalf("%s %q: %d %s", c.claim, c.value, res.StatusCode, body)
		}
		seen := b.u1.last(t)
		arrived, omitted := strings.Join(seen.Header.Values(c.field), "|"), ""
		for name, span := range b.spansOf(t, res.Header.Get("X-Request-Id")) {
			if strings.HasPrefix(name, "GET 127.0.0.1") {
				omitted = attributes(span)["vaultspan.identity.omitted"]
			}
		}
		if want, carried := strings.CutPrefix(c.told, " = "); carried {
			if arrived != want || omitted != "" {
				t.Errorf("%s %q: %q arrived, omitted %s", c.claim, c.value, arrived, omitted)
			}
		} else if arrived != "" || !strings.Contains(omitted, `"`+c.field+": "+c.told+`"`) {
			t.Errorf("%s %q: %q arrived, omitted %s, want %s", c.claim, c.value, arrived, omitted, c.told)
		}
		got := b.asserted(t, seen, "R1")
		if c.claim == "groups" && c.told != "too-long" && fmt.Sprint(got["groups"]) != fmt.Sprint(c.value) || c.claim == "sub" && got["sub"] != "idp:"+c.value.(string) {
			t.Errorf("the assertion says %v of %q", got, c.value)
		}
	}
	claims := b.idp.Claims("alice")
	claims["groups"] = append([]string{"dev"}, slices.Repeat([]string{strings.Repeat("g", 99)}, 80)...)
	token, err := b.idp.Mint(claims, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, _ := b.do(t, "GET", "https://app.gw.test/x", token)
	if got := b.asserted(t, b.u1.last(t), "R1"); got["groups"] != nil || got["groups_omitted"] != true {
		t.Errorf("of many groups the assertion says %v", got)
	}
	for name, span := range b.spansOf(t, res.Header.Get("X-Request-Id")) {
		if got := attributes(span)["vaultspan.identity.omitted"]; strings.HasPrefix(name, "GET 127.0.0.1") && got != `["X-Groups: too-long","X-Vaultspan-Assertion: groups too-long"]` {
			t.Errorf("omitted: %s", got)
		}
	}
}

func TestKeysOfAssertionsArePublic(t *testing.T) {
	b := newTelling(t)
	for _, url := range []string{"http://gw.test", "https://gw.test", "https://app.gw.test", "http://pay.gw.test"} {
		for _, method := range []string{"GET", "HEAD"} {
			res, body := b.do(t, method, url+"/.vaultspan/jwks.json", "")
			h := res.Header
			if res.StatusCode != 200 || h.Get("Content-Type") != "application/jwk-set+json" || h.Get("Cache-Control") != "public, max-age=3600" ||
				(method == "GET") != strings.Contains(body, `"kty":"EC"`) || strings.Contains(body, `"d"`) {
				t.Errorf("%s %s: %d %v %s", method, url, res.StatusCode, h, body)
			}
		}
	}
	res, body := b.do(t, "POST", "https://gw.test/.vaultspan/jwks.json", "")
	refused(t, res, body, 405, "method-not-allowed")
	res, body = b.do(t, "GET", "https://gw.test/.vaultspan/jwks.json/x", "")
	refused(t, res, body, 404, "no-route")
	if n := len(b.u1.requests()) + len(b.u2.requests()); n != 0 {
		t.Errorf("%d requests reached an upstream", n)
	}

	b = newBench(t)
	res, body = b.do(t, "GET", "https://gw.test/.vaultspan/jwks.json", "")
	refused(t, res, body, 404, "no-route")
	b.settings.Routes[0].Assertion = true
	if err := b.gateway.Swap(b.settings); err == nil {
		t.Error("a route asserts without a key")
	}
}

// Programs ask who they are where nobody logs in.
func TestWhoamiNeedsNoSessions(t *testing.T) {
	b := newBench(t)
	res, body := b.do(t, "GET", "https://gw.test/.vaultspan/whoami", b.token(t, "alice"))
	if res.StatusCode != 200 || !strings.Contains(body, `"subject":"alice"`) || !strings.Contains(body, `"method":"bearer"`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	res, body = b.do(t, "GET", "https://gw.test/.vaultspan/whoami", "")
	refused(t, res, body, 401, "no-credentials")
}
