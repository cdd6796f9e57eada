package authn_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultspan/vaultspan/authn"
)

// TestHeaders: whatever a header says, only a strict one with an allowed
// algorithm and a known key is accepted, though the payload and the signature
// are good in every case.
func TestHeaders(t *testing.T) {
	p := newIDP(t, public("k1", rsaKey()))
	a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("corp")}})
	payload := string(must(json.Marshal(p.claims(time.Now(), nil))))
	for _, c := range []struct{ id, header, want string }{
		{"", `{"alg":"RS256","kid":"k1"}`, "ok"},
		{"", `{"alg":"RS256"}`, "ok"}, // one key fits
		{"", `{"alg":"RS256","kid":"k1","typ":"at+jwt","x5t":"abc"}`, "ok"},
		{"", `{"alg":"RS256","kid":"k1","typ":"application/AT+JWT"}`, "ok"},

		{"G01", `{"alg":"none","kid":"k1"}`, "invalid"},
		{"G01", `{"alg":"None","kid":"k1"}`, "invalid"},
		{"G01", `{"alg":"nOnE","kid":"k1"}`, "invalid"},
		{"G01", `{"kid":"k1"}`, "invalid"},
		{"G01", `{"alg":["none"],"kid":"k1"}`, "invalid"},
		{"G01", `{"alg":["RS256"],"kid":"k1"}`, "invalid"},
		{"G01", `{"alg":null,"kid":"k1"}`, "invalid"},
		{"G01", `{"alg":"","kid":"k1"}`, "invalid"},
		{"G01", `{"alg":"rs256","kid":"k1"}`, "invalid"},
		{"G01", `{"alg":" RS256","kid":"k1"}`, "invalid"},
		{"G03", `{"alg":"RS512","kid":"k1"}`, "invalid"},
		{"G03", `{"alg":"PS256","kid":"k1"}`, "invalid"}, // allowed, but not what signed
		{"G03", `{"alg":"ES256","kid":"k1"}`, "invalid"}, // allowed, but not for an RSA key
		{"G03", `{"alg":"ES256K","kid":"k1"}`, "invalid"},
		{"G03", `{"alg":"EdDSA","kid":"k1"}`, "invalid"},
		{"G03", `{"alg":"ML-DSA-44","kid":"k1"}`, "invalid"},
		{"G03", `{"alg":"HS256","kid":"k1"}`, "invalid"},

		{"G08", `{"alg":"RS256","kid":"k1","b64":false,"crit":["b64"]}`, "invalid"},
		{"G08", `{"alg":"RS256","kid":"k1","b64":true,"crit":["b64"]}`, "invalid"},
		{"G08", `{"alg":"RS256","kid":"k1","b64":false}`, "invalid"},
		{"G08", `{"alg":"RS256","kid":"k1","crit":["exp"],"exp":1}`, "invalid"},
		{"G08", `{"alg":"RS256","kid":"k1","crit":[]}`, "invalid"},
		{"G08", `{"alg":"RS256","kid":"k1","zip":"DEF"}`, "invalid"},
		{"G08", `{"alg":"RS256","kid":"k1","cty":"JWT"}`, "invalid"},
		{"G08", `{"alg":"RS256","kid":"k1","enc":"A256GCM"}`, "invalid"},
		{"G08", `{"alg":"RS256","kid":"k1","jku":"https://evil.test/jwks"}`, "invalid"},
		{"G08", `{"alg":"RS256","kid":"k1","x5u":"https://evil.test/cert"}`, "invalid"},
		{"G08", `{"alg":"RS256","kid":"k1","x5c":[]}`, "invalid"},
		{"G08", `{"alg":"RS256","kid":"k1","jwk":{"kty":"oct","k":"AA"}}`, "invalid"},

		{"G10", `{"alg":"none","alg":"RS256","kid":"k1"}`, "malformed"},
		{"G10", `{"alg":"RS256","alg":"RS256","kid":"k1"}`, "malformed"},
		{"G10", `{"alg":"RS256","kid":"k1","kid":"k1"}`, "malformed"},
		{"G10", `{"alg":"RS256","ALG":"none","kid":"k1"}`, "malformed"},
		{"G10", `{"ALG":"RS256","kid":"k1"}`, "malformed"},
		{"G10", `{"alg":"RS256","Kid":"k2","kid":"k1"}`, "malformed"},
		{"G10", `{"alg":"RS256","Kid":"k1"}`, "malformed"},
		{"G10", "{\"alg\":\"RS256\",\"\u212Aid\":\"k1\"}", "malformed"},
		{"G10", `{"alg":"RS256","\u212aid":"k1"}`, "malformed"},
		{"G10", `{"alg":"RS256","kid":"k1","TYP":"at+jwt"}`, "malformed"},
		{"G10", `{"alg":"RS256","kid":"k1","CRIT":["b64"]}`, "malformed"},
		{"G10", `{"alg":"RS256","kid":"k1","nested":{"a":1,"a":2}}`, "malformed"},
		{"G10", `{"alg":"RS256","kid":"k1"} `, "ok"}, // white space is JSON
		{"G10", `{"alg":"RS256","kid":"k1"}{}`, "malformed"},
		{"G10", `{"alg":"RS256","kid":"k1",}`, "malformed"},
		{"G10", `{"alg":"RS256","kid":"k1" /* */}`, "malformed"},
		{"G10", "{\"alg\":\"RS256\",\"kid\":\"k1\",\"x\":\"\xff\"}", "malformed"},
		{"G10", `{"alg":"RS256","kid":"k1","x":"\ud800"}`, "malformed"},
		{"G10", `["alg","RS256"]`, "malformed"},
		{"G10", `null`, "malformed"},
		{"G10", ``, "malformed"},

		{"G11", `{"alg":"RS256","kid":"../../dev/null"}`, "invalid"},
		{"G11", `{"alg":"RS256","kid":"' OR 1=1--"}`, "invalid"},
		{"G11", `{"alg":"RS256","kid":"http://evil"}`, "invalid"},
		{"G11", `{"alg":"RS256","kid":"` + strings.Repeat("k", 1000) + `"}`, "invalid"},
		{"G11", `{"alg":"RS256","kid":"` + strings.Repeat("k", 5000) + `"}`, "malformed"},
		{"G11", `{"alg":"RS256","kid":"` + strings.Repeat("k", 64<<10) + `"}`, "malformed"},
		{"G11", `{"alg":"RS256","kid":null}`, "invalid"},
		{"G11", `{"alg":"RS256","kid":1}`, "invalid"},
		{"G11", `{"alg":"RS256","kid":["k1"]}`, "invalid"},
		{"G11", `{"alg":"RS256","kid":""}`, "invalid"},
		{"G11", `{"alg":"RS256","kid":"K1"}`, "invalid"},
	} {
		t.Run(c.id+" "+clip(c.header), func(t *testing.T) {
			if got := reason(t, a, sign(rsaKey(), c.header, payload)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	for _, asked := range p.visits() { // G11, G08: no header makes us ask anybody else
		if !strings.HasSuffix(asked, "/.well-known/openid-configuration") && !strings.HasSuffix(asked, "/jwks") {
			t.Errorf("the gateway asked for %s", asked)
		}
	}
	if p.fetched() > 2 {
		t.Errorf("%d fetches of the key set; want one at the start and one for an unknown kid", p.fetched())
	}
}

// TestSignatures: a good header and payload are worth nothing without the
// signature, whatever stands in its place.
func TestSignatures(t *testing.T) {
	p := newIDP(t, public("rsa", rsaKey()), public("ec", ecKey()), public("ed", edKey()))
	c := p.config("corp")
	a := start(t, authn.Config{Issuers: []authn.IssuerConfig{c}})
	claims := p.claims(time.Now(), nil)
	payload := string(must(json.Marshal(claims)))
	rs256, es256 := `{"alg":"RS256","kid":"rsa"}`, `{"alg":"ES256","kid":"ec"}`
	unsigned := func(header string) string { return b64(header) + "." + b64(payload) + "." }
	good := sign(rsaKey(), rs256, payload)

	// ES256 over the right bytes, but in the encoding of certificates.
	digest := sha256.Sum256([]byte(b64(es256) + "." + b64(payload)))
	r, s, err := ecdsa.Sign(rand.Reader, ecKey(), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	fixed := string(r.FillBytes(make([]byte, 32))) + string(s.FillBytes(make([]byte, 32)))
	der := string(must(asn1.Marshal(struct{ R, S *big.Int }{r, s})))

	for _, c := range []struct{ id, name, token, want string }{
		{"", "RS256", mint(t, jose.RS256, rsaKey(), "rsa", "at+jwt", claims), "ok"},
		{"", "PS256", mint(t, jose.PS256, rsaKey(), "rsa", "at+jwt", claims), "ok"},
		{"", "ES256", mint(t, jose.ES256, ecKey(), "ec", "at+jwt", claims), "ok"},
		{"", "EdDSA", mint(t, jose.EdDSA, edKey(), "ed", "at+jwt", claims), "ok"},
		{"", "no kid and one key that fits", mint(t, jose.EdDSA, edKey(), "", "at+jwt", claims), "ok"},
		{"G03", "RS384 is not configured", mint(t, jose.RS384, rsaKey(), "rsa", "at+jwt", claims), "invalid"},
		{"G01", "empty", unsigned(rs256), "invalid"},
		{"G04", "r = s = 0", unsigned(es256) + b64(strings.Repeat("\x00", 64)), "invalid"},
		{"G04", "r = s = n", unsigned(es256) + b64(strings.Repeat(string(elliptic.P256().Params().N.Bytes()), 2)), "invalid"},
		{"G04", "fixed", unsigned(es256) + b64(fixed), "ok"},
		{"G04", "DER", unsigned(es256) + b64(der), "invalid"},
		{"G04", "fixed and a byte more", unsigned(es256) + b64(fixed+"\x00"), "invalid"},
		{"G04", "22,000 characters", unsigned(es256) + strings.Repeat("A", 22000), "invalid"},
		{"G04", "22,000 characters, RSA", unsigned(rs256) + strings.Repeat("A", 22000), "invalid"},
		{"G04", "22,000 characters, Ed25519", unsigned(`{"alg":"EdDSA","kid":"ed"}`) + strings.Repeat("A", 22000), "invalid"},
		{"G04", "of another key", sign(otherRSA(), rs256, payload), "invalid"},
		{"G04", "of another payload", good[:strings.LastIndex(good, ".")-1] + "A" + good[strings.LastIndex(good, "."):], "invalid"},
		{"G04", "with stray bits", strayBits(good), "malformed"},
		{"G04", "with a line break", good[:len(good)-4] + "\n" + good[len(good)-4:], "malformed"},
		{"G04", "padded", good + "==", "malformed"},
	} {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			if got := reason(t, a, c.token); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	if p.fetched() != 1 {
		t.Errorf("bad signatures caused %d fetches of the key set", p.fetched()-1)
	}
}

// TestPublicKeyIsNoSecret is the confusion of RFC 8725 section 2.1: the
// attacker signs with a secret that everybody knows.
func TestPublicKeyIsNoSecret(t *testing.T) {
	p := newIDP(t, public("k1", rsaKey()))
	a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("corp")}})
	payload := string(must(json.Marshal(p.claims(time.Now(), nil))))
	spki := must(x509.MarshalPKIXPublicKey(rsaKey().Public()))
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	for name, secret := range map[string][]byte{
		"PEM": text, "PEM with a leading space": append([]byte(" "), text...), "DER": spki,
		"JWK": must(json.Marshal(public("k1", rsaKey()))), "nothing": {},
	} {
		for _, alg := range []string{"HS256", "RS256", "hs256"} {
			token := sign(secret, fmt.Sprintf(`{"alg":%q,"kid":"k1"}`, alg), payload)
			if got := reason(t, a, token); got != "invalid" {
				t.Errorf("G02: %s as %s secret: got %s, want invalid", name, alg, got)
			}
		}
	}
	if _, err := authn.New(t.Context(), authn.Config{Issuers: []authn.IssuerConfig{{
		Name: "x", URL: p.url, Audience: "a", Algorithms: []string{"HS256"},
	}}}); err == nil {
		t.Error("G02: a symmetric algorithm can be configured")
	}
}

// TestForms: only the compact serialization is a token, of bounded size and
// depth.
func TestForms(t *testing.T) {
	p := newIDP(t, public("k1", rsaKey()))
	a := start(t, authn.Config{Issuers: []authn.IssuerConfig{p.config("corp")}})
	header := `{"alg":"RS256","kid":"k1"}`
	payload := func(more string) string {
		c := must(json.Marshal(p.claims(time.Now(), nil)))
		return string(c[:len(c)-1]) + `,"more":` + more + `}`
	}
	good := sign(rsaKey(), header, payload(`1`))
	parts := strings.Split(good, ".")
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	for _, c := range []struct{ id, name, token, want string }{
		{"G07", "flattened", fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, parts[1], parts[0], parts[2]), "malformed"},
		{"G07", "general", fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, parts[1], parts[0], parts[2]), "malformed"},
		{"G07", "two signatures", fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":"AA"},{"protected":%[2]q,"signature":%q}]}`, parts[1], parts[0], parts[2]), "malformed"},
		{"G07", "detached payload", parts[0] + ".." + parts[2], "invalid"},
		{"G07", "nothing", "", "malformed"},
		{"G07", "opaque", "2YotnFZFEjr1zCsicMWpAA", "malformed"},
		{"G07", "two parts", parts[0] + "." + parts[1], "malformed"},
		{"G07", "four parts", good + ".AA", "malformed"},
		{"G07", "five parts, as if encrypted", good + ".AA.AA", "malformed"},
		{"G07", "leading space", " " + good, "malformed"},
		{"G07", "two tokens", good + "," + good, "malformed"},
		{"G32", "32 KB", sign(rsaKey(), header, payload(`"`+strings.Repeat("x", 24<<10)+`"`)), "ok"},
		{"G32", "64 KB", sign(rsaKey(), header, payload(`"`+strings.Repeat("x", 48<<10)+`"`)), "malformed"},
		{"G32", "4 MB", sign(rsaKey(), header, payload(`"`+strings.Repeat("x", 3<<20)+`"`)), "malformed"},
		{"G33", "31 deep", sign(rsaKey(), header, payload(nested(31))), "ok"},
		{"G33", "32 deep", sign(rsaKey(), header, payload(nested(32))), "invalid"},
		{"G33", "10,000 deep", sign(rsaKey(), header, payload(nested(10000))), "invalid"},
		{"G33", "1,000,000 deep", sign(rsaKey(), header, payload(nested(1000000))), "malformed"},
		{"G33", "brackets in a string", sign(rsaKey(), header, payload(`"\"`+strings.Repeat("[", 1000)+`\\"`)), "ok"},
		{"G33", "header 10,000 deep", sign(rsaKey(), `{"alg":"RS256","x":`+nested(2000)+`}`, payload("1")), "malformed"},
	} {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			if got := reason(t, a, c.token); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// strayBits spells the signature with another last character that decodes to
// the same bytes.
func strayBits(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), 60)], "?") }
