package vault_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/vault"
)

// kinds are ways to wear a secret whole.
var kinds = map[string]vault.Injection{
	"bearer": vault.Bearer(),
	"header": {Header: "X-Key", Format: "<{secret}>{1}%7B{{"},
	"basic":  {Basic: vault.Basic{User: "svc"}},
	"user":   {Basic: vault.Basic{User: "{secret}"}},
	"query":  {Query: "key", Format: "<{secret}>"},
	"cookie": {Cookie: "sid", Format: "<{secret}>"},
}

// worn is a lease of value, worn in that way.
func worn(t *testing.T, value string, inject vault.Injection) (*vault.Lease, error) {
	t.Helper()
	a := newAccount()
	a.put(stripeID, payments, "STRIPE_API_KEY", value)
	s := setup(a)
	s.Bindings = []vault.Binding{bind(stripeRef)}
	s.Bindings[0].Inject, s.Bindings[0].Unguarded = inject, true // most values are short
	v := open(t, s)
	l, err := v.Lease(t.Context(), "r", stripeRef)
	if told := fmt.Sprint(err, v.Problems(), v.Ready(stripeRef), v.Status()); strings.Contains(told, "CANARY") {
		t.Errorf("%q is told: %s", value, told)
	}
	return l, err
}

// wire is a request as the upstream reads it, with a query and header of the
// caller's, after the credential is on it.
func wire(t *testing.T, l *vault.Lease, query string, header http.Header) string {
	t.Helper()
	r := request(t)
	r.URL.RawQuery, r.Header = query, header
	url := r.URL
	if err := l.Authorize(r); err != nil {
		t.Fatal(err)
	}
	if url.RawQuery != query {
		t.Errorf("a URL that others may hold became %s", url)
	}
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const userAgent = "Host: api.example.com\r\nUser-Agent: Go-http-client/1.1\r\n"

// What goes where, byte for byte.
func TestEachKindIsWornInItsPlace(t *testing.T) {
	caller := func() http.Header {
		return http.Header{"Authorization": {"Basic bWluZQ=="}, "X-Key": {"mine"}, "Cookie": {"a=1; sid=mine; b=2"}}
	}
	const fields = `{"username": "svc", "password": "p:ä \u00e9", "unused": [1]}`
	for _, test := range []struct {
		name, secret string
		inject       vault.Injection
		query, want  string
	}{
		{"basic", "s3cret", vault.Injection{Basic: vault.Basic{User: "svc"}}, "a=1",
			"GET /v1/charges?a=1 HTTP/1.1\r\n" + userAgent + "Authorization: Basic c3ZjOnMzY3JldA==\r\nCookie: a=1; sid=mine; b=2\r\nX-Key: mine\r\n\r\n"},
		{"basic, RFC 7617 section 2.1", "123£", vault.Injection{Basic: vault.Basic{User: "test"}}, "",
			"GET /v1/charges HTTP/1.1\r\n" + userAgent + "Authorization: Basic dGVzdDoxMjPCow==\r\nCookie: a=1; sid=mine; b=2\r\nX-Key: mine\r\n\r\n"},
		{"basic of two fields", fields, word(t, "basic"), "",
			"GET /v1/charges HTTP/1.1\r\n" + userAgent + "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("svc:p:ä é")) + "\r\nCookie: a=1; sid=mine; b=2\r\nX-Key: mine\r\n\r\n"},
		{"basic, the secret as user", "sk_live", vault.Injection{Basic: vault.Basic{User: "{secret}"}}, "",
			"GET /v1/charges HTTP/1.1\r\n" + userAgent + "Authorization: Basic c2tfbGl2ZTo=\r\nCookie: a=1; sid=mine; b=2\r\nX-Key: mine\r\n\r\n"},
		{"basic, any password", "sk_live", vault.Injection{Basic: vault.Basic{User: "{secret}", Password: "X"}}, "",
			"GET /v1/charges HTTP/1.1\r\n" + userAgent + "Authorization: Basic c2tfbGl2ZTpY\r\nCookie: a=1; sid=mine; b=2\r\nX-Key: mine\r\n\r\n"},
		{"basic, formatted", `{"email": "a@b", "token": "t"}`, vault.Injection{Basic: vault.Basic{User: "{email}/token", Password: "{token}"}}, "",
			"GET /v1/charges HTTP/1.1\r\n" + userAgent + "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("a@b/token:t")) + "\r\nCookie: a=1; sid=mine; b=2\r\nX-Key: mine\r\n\r\n"},
		{"header of two fields", fields, vault.Injection{Header: "X-Key", Format: "{username}/{username2}"}, "", ""},
		{"header of one field", fields, vault.Injection{Header: "X-Key", Format: "user {username}"}, "",
			"GET /v1/charges HTTP/1.1\r\n" + userAgent + "Authorization: Basic bWluZQ==\r\nCookie: a=1; sid=mine; b=2\r\nX-Key: user svc\r\n\r\n"},
		{"query", "a b+c/d=e&f%7B~", vault.Injection{Query: "api_key"}, "x=%20y&&Z=+;",
			"GET /v1/charges?x=%20y&&Z=+;&api_key=a%20b%2Bc%2Fd%3De%26f%257B~ HTTP/1.1\r\n" + userAgent + "Authorization: Basic bWluZQ==\r\nCookie: a=1; sid=mine; b=2\r\nX-Key: mine\r\n\r\n"},
		{"query alone", "s", vault.Injection{Query: "key"}, "",
			"GET /v1/charges?key=s HTTP/1.1\r\n" + userAgent + "Authorization: Basic bWluZQ==\r\nCookie: a=1; sid=mine; b=2\r\nX-Key: mine\r\n\r\n"},
		{"query of a field", fields, vault.Injection{Query: "key", Format: "user {username}"}, "a",
			"GET /v1/charges?a&key=user%20svc HTTP/1.1\r\n" + userAgent + "Authorization: Basic bWluZQ==\r\nCookie: a=1; sid=mine; b=2\r\nX-Key: mine\r\n\r\n"},
		{"cookie", "s3cret==", vault.Injection{Cookie: "sid"}, "",
			"GET /v1/charges HTTP/1.1\r\n" + userAgent + "Authorization: Basic bWluZQ==\r\nCookie: sid=s3cret==; a=1; b=2\r\nX-Key: mine\r\n\r\n"},
		{"cookie of a field", fields, vault.Injection{Cookie: "other", Format: "{username}.x"}, "",
			"GET /v1/charges HTTP/1.1\r\n" + userAgent + "Authorization: Basic bWluZQ==\r\nCookie: other=svc.x; a=1; sid=mine; b=2\r\nX-Key: mine\r\n\r\n"},
	} {
		l, err := worn(t, test.secret, test.inject)
		if err != nil {
			if test.want != "" || reason(t, err) != vault.NoCredential {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if got := wire(t, l, test.query, caller()); got != test.want {
			t.Errorf("%s: the upstream reads\n%q, want\n%q", test.name, got, test.want)
		}
	}
}

func word(t *testing.T, text string) vault.Injection {
	t.Helper()
	var i vault.Injection
	if err := i.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return i
}

// J12: a value is inserted once, as it is.
func TestValuesAreInsertedLiterally(t *testing.T) {
	for _, value := range []string{
		"{{x}}", "${HOME}", "%7B", "{secret}", "a{secret}b", "{username}", "$1", "{1}", "a=b&c", "+", strings.Repeat("k", 64<<10-32),
	} {
		for _, secret := range []struct{ whole, format string }{{value, "{secret}"}, {fmt.Sprintf(`{"username": %q}`, value), "{username}"}} {
			for kind, inject := range kinds {
				want := map[string]string{
					"bearer": "\r\nAuthorization: Bearer " + value + "\r\n",
					"header": "\r\nX-Key: <" + value + ">{1}%7B{{\r\n",
					"basic":  "\r\nAuthorization: Basic " + base64.StdEncoding.EncodeToString([]byte("svc:"+value)) + "\r\n",
					"user":   "\r\nAuthorization: Basic " + base64.StdEncoding.EncodeToString([]byte(value+":")) + "\r\n",
					"query":  "?a=%7B{key}&key=%3C" + percent(value) + "%3E HTTP/1.1\r\n",
					"cookie": "\r\nCookie: sid=<" + value + ">; a={secret}\r\n",
				}[kind]
				if secret.whole != value {
					inject.Format = strings.Replace(inject.Format, "{secret}", secret.format, 1)
					switch kind {
					case "bearer":
						inject = vault.Injection{Header: "Authorization", Format: "Bearer {username}"}
					case "basic":
						inject.Basic.Password = "{username}"
					case "user":
						inject.Basic = vault.Basic{User: "{username}", Password: "x"}
						want = "\r\nAuthorization: Basic " + base64.StdEncoding.EncodeToString([]byte(value+":x")) + "\r\n"
					}
				}
				l, err := worn(t, secret.whole, inject)
				if err != nil {
					t.Errorf("J12 %s of %.40q: %v", kind, secret.whole, err)
					continue
				}
				if got := wire(t, l, "a=%7B{key}", http.Header{"Cookie": {"a={secret}"}}); strings.Count(got, want) != 1 {
					t.Errorf("J12 %s of %.40q: the upstream reads %.300q, want %.100q in it", kind, secret.whole, got, want)
				}
			}
		}
	}
}

// percent is RFC 3986, section 2.1, written anew.
func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c == '-' || c == '.' || c == '_' || c == '~' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// J10, J11: what a place cannot carry closes the binding; nothing of it is sent
// or told.
func TestEachKindRefusesWhatItCannotCarry(t *testing.T) {
	const all = "bearer header basic user query cookie"
	for _, test := range []struct{ id, value, refuse string }{
		{"J10", "CANARY\r\nX-Evil: 1", all}, {"J10", "CANARY\nX", all}, {"J10", "CANARY\x00X", all}, {"J10", "CANARY\n", all},
		{"J10", "CANARY ", all}, {"J10", "\tCANARY", all}, {"J10", "CANARY\x7f", all}, {"J10", "CANARY\u0085x", all}, {"J10", "CANARY\xff", all},
		{"J10", "CANARYé", "bearer header query cookie"}, // RFC 7617 takes UTF-8
		{"J10", "CANARY:x", "user"},
		{"J10", "CANARY x", "cookie"}, {"J10", "CANARY;x", "cookie"}, {"J10", "CANARY,x", "cookie"}, {"J10", `CANARY"x`, "cookie"}, {"J10", `CANARY\x`, "cookie"},
		{"J11", "", all}, {"J11", " ", all}, {"J11", "\n", all},
		{"", `{"username": "CANARY"}`, all}, {"", " {}\n", all}, {"", "{\n\"a\": \"CANARY\"\n}", all}, // the upstream would get all of it
		{"", `{"a": "CANARY", "a": 1}`, all}, {"", "{\"a\": \"CANARY\xff\"}", all},
		{"", `["CANARY"]`, "cookie"}, {"", `{"a": "CANARY"`, "user cookie"},
	} {
		for kind, inject := range kinds {
			_, err := worn(t, test.value, inject)
			refuse := strings.Contains(test.refuse, kind)
			if (err != nil) != refuse || err != nil && reason(t, err) != vault.NoCredential {
				t.Errorf("%s %s of %q: %v, refuse %v", test.id, kind, test.value, err, refuse)
			}
		}
	}
}

// A secret of several fields is a strict JSON object with all that is asked for.
func TestFieldsAreThereOrTheRouteIsClosed(t *testing.T) {
	for _, test := range []struct{ id, value, says string }{
		{"", `{"username": "CANARY", "password": "p"}`, ""},
		{"", "\n{\n  \"password\": \"CANARY\",\n  \"username\": \"a\\u0062\", \"else\": {\"password\": 1}\n}\n", ""},
		{"", `{"username": "CANARY"}`, `has no field "password", which inject names`},
		{"", `{"username": "CANARY", "Password": "p"}`, `has no field "password"`},
		{"", `{"username": "CANARY", "password": 1234}`, `"password" that is not text`},
		{"", `{"username": "CANARY", "password": null}`, `"password" that is not text`},
		{"J11", `{"username": "CANARY", "password": ""}`, `an empty field "password"`},
		{"J10", `{"username": "CANARY", "password": "a\n"}`, `"password" that ends with a newline`},
		{"J10", `{"username": "CANARY", "password": "a\u0000b"}`, `"password" that has a control character`},
		{"J10", `{"username": "CANARY", "password": " "}`, `"password" that begins or ends`},
		{"", `{"username": "CANARY:x", "password": "p"}`, `"username" that has a colon`},
		{"", `{"username": "CANARY", "password": "p", "password": "q"}`, "a field twice"},
		{"", `{"username": "CANARY", "password": "p", "pass\u0077ord": "q"}`, "a field twice"},
		{"", `{"username": "CANARY", "password": "p", "x": {"a": 1, "a": 2}}`, "a field twice"},
		{"", "{\"username\": \"CANARY\xff\", \"password\": \"p\"}", "not UTF-8"},
		{"", `{"username": "CANARY", "password": "\ud800"}`, "not UTF-8"},
		{"", `{"username": "CANARY", "password": "p"} {}`, "is not a JSON object"},
		{"", `{"username": "CANARY", "password": "p",}`, "is not a JSON object"},
		{"", `{username: "CANARY"}`, "is not a JSON object"},
		{"", `"CANARY"`, "is not a JSON object"}, {"", `null`, "is not a JSON object"}, {"", `CANARY`, "is not a JSON object"},
		{"", "\ufeff{\"username\": \"CANARY\", \"password\": \"p\"}", "is not a JSON object"},
		{"FB13", `{"username": "CANARY", "password": "` + strings.Repeat("p", 64<<10) + `"}`, "longer than 64 KiB"},
		{"", strings.Repeat(`{"a":`, 10900) + "1" + strings.Repeat("}", 10900), "is not a JSON object"}, // jsontext bounds the depth
	} {
		_, err := worn(t, test.value, word(t, "basic"))
		switch {
		case err == nil && test.says == "", err != nil && test.says != "" && strings.Contains(err.Error(), test.says) && reason(t, err) == vault.NoCredential:
		default:
			t.Errorf("%s %.80q: %v, want %q", test.id, test.value, err, test.says)
		}
	}
}
