package vault_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/vault"
)

var telegram = vault.Injection{Path: "/bot{secret}"}

// What goes before a path, byte for byte, and how it reads decoded.
func TestACredentialIsOneSegmentOfThePath(t *testing.T) {
	for _, test := range []struct{ format, secret, path, want string }{
		{"/bot{secret}", "123456:AAH-x_y", "/sendMessage", "/bot123456:AAH-x_y/sendMessage"},
		{"/bot{secret}", "123456:AAH-x_y", "/", "/bot123456:AAH-x_y/"},
		{"/bot{secret}", "123456:AAH-x_y", "", "/bot123456:AAH-x_y"},
		{"/file/bot{secret}", "1:x", "/a%20b/%C3%A4+c=d", "/file/bot1:x/a%20b/%C3%A4+c=d"},
		{"/{secret}/v1", "a b?c#d&e=f;g+h@i$", "/x", "/a%20b%3Fc%23d%26e%3Df%3Bg%2Bh%40i%24/v1/x"},
		{"/hooks/{id}.{key}", `{"id": "T1", "key": "{id}"}`, "/x", "/hooks/T1.%7Bid%7D/x"},
		{"/{secret}", "...", "/x", "/.../x"},
	} {
		l, err := worn(t, test.secret, vault.Injection{Path: test.format})
		if err != nil {
			t.Errorf("%s: %v", test.format, err)
			continue
		}
		r := request(t)
		r.URL.RawPath = test.path
		r.URL.Path, _ = url.PathUnescape(test.path)
		r.URL.RawQuery = "a=%20b&;"
		shared := r.URL
		if err := l.Authorize(r); err != nil {
			t.Errorf("%s: %v", test.format, err)
			continue
		}
		if got := r.URL.RequestURI(); got != test.want+"?a=%20b&;" {
			t.Errorf("%s before %q: %s, want %s", test.format, test.path, got, test.want)
		}
		if plain, _ := url.PathUnescape(test.want); r.URL.Path != plain || shared.RawPath != test.path {
			t.Errorf("%s: decoded %q; the shared URL is %s", test.format, r.URL.Path, shared)
		}
		if len(r.Header) > 0 {
			t.Errorf("%s: the header became %v", test.format, r.Header)
		}
	}
}

// J10 to J12 for a segment: what could lead elsewhere closes the binding.
func TestWhatNoSegmentCarries(t *testing.T) {
	for _, c := range []struct{ format, secret string }{
		{"/bot{secret}", "CANARY/x"}, {"/bot{secret}", "../CANARY"}, {"/bot{secret}", `CANARY\x`}, {"/bot{secret}", "CANARY%2fx"}, {"/bot{secret}", "%2e%2e"},
		{"/{secret}", ".."}, {"/{secret}", "."}, {"/.{secret}", "."}, {"/{a}{b}", `{"a": ".", "b": "."}`},
		{"/bot{secret}", "CANARY\n"}, {"/bot{secret}", "CANARY\r\nX: y"}, {"/bot{secret}", "CANARY\x00"}, {"/bot{secret}", "CANARYä"}, {"/bot{secret}", ""},
		{"/bot{secret}", `{"CANARY": "x"}`}, {"/bot{token}", "CANARY"}, {"/bot{token}", `{"token": ""}`},
	} {
		if _, err := worn(t, c.secret, vault.Injection{Path: c.format}); err == nil || reason(t, err) != vault.NoCredential {
			t.Errorf("%s with %q: %v", c.format, c.secret, err)
		}
	}
}

func TestPrefixesThatAreNoSegments(t *testing.T) {
	for format, says := range map[string]string{
		"bot{secret}": "begin with /", "/bot{secret}/": "begin with /", "//{secret}": "begin with /", "/bot": "holds nothing",
		"/{id}/{key}": "more than one segment", "/{secret}/{secret}": "once", "/../{secret}": "dots", "/./{secret}": "dots",
		"/a%2Fb/{secret}": "character", "/a b/{secret}": "character", "/a?b/{secret}": "character", "/{secret}#": "character", "/{1}{secret}": "character",
	} {
		var problems []string
		vault.Injection{Path: format}.Check(func(path, problem string) { problems = append(problems, path+" "+problem) })
		if len(problems) != 1 || !strings.HasPrefix(problems[0], "path ") || !strings.Contains(problems[0], says) {
			t.Errorf("%s: %q, want one that says %q", format, problems, says)
		}
	}
	var problems []string
	vault.Injection{Path: "/bot{secret}", Header: "X-Key", Format: "{secret}"}.Check(func(_, problem string) { problems = append(problems, problem) })
	if len(problems) != 1 || !strings.Contains(problems[0], "header and path") {
		t.Errorf("two kinds: %q", problems)
	}
}

// An upstream that says where something is would hand the credential on.
func TestAPathThatComesBackIsConcealed(t *testing.T) {
	l, err := worn(t, "123456:AAH+x_y", vault.Injection{Path: "/file/bot{secret}"})
	if err != nil {
		t.Fatal(err)
	}
	for sent, want := range map[string]string{
		"/file/bot123456:AAH+x_y/a?b=c#d":                         "/file/a?b=c#d",
		"https://api.example.com/file/bot123456%3AAAH%2Bx_y/a//b": "https://api.example.com/file/a//b",
		"/file/%62ot123456%3aAAH%252Bx_y":                         "/file",
		"bot123456:AAH+x_y/a":                                     "a",
		"/123456:AAH+x_y":                                         "",
		"/file/bot123456:AAH+x_z/a":                               "/file/bot123456:AAH+x_z/a",
		"https://other.example.com/":                              "https://other.example.com/",
	} {
		h := http.Header{"Location": {sent}, "Content-Location": {sent, sent}, "Etag": {"x"}}
		l.Conceal(h)
		if got := fmt.Sprint(h); got != fmt.Sprint(http.Header{"Location": {want}, "Content-Location": {want, want}, "Etag": {"x"}}) {
			t.Errorf("%s: %s, want %s", sent, got, want)
		}
	}
	h := http.Header{"Location": {"/x"}}
	vault.Lease{}.Conceal(h)
	lease(t, open(t, setup(newAccount())), stripeRef).Conceal(h)
	if h.Get("Location") != "/x" {
		t.Error(h)
	}
}
