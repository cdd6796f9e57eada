package proxy

import (
	"net/url"
	"strings"
	"testing"
)

// The ids are those of the attack catalogue, group A: what one parser reads as
// another path than the next is refused, not repaired.
func TestTargetsThatCouldBeReadInTwoWaysAreRefused(t *testing.T) {
	for _, c := range []struct{ id, target string }{
		{"A02", "/public/%2e%2e/admin"}, {"A02", "/public/.%2e/admin"}, {"A02", "/public/%2E./admin"},
		{"A02", "/public/../admin"}, {"A02", "/public/./admin"}, {"A02", "/.."}, {"A02", "/."},
		{"A03", "/public/..%2fadmin"}, {"A03", "/public%2f..%2fadmin"}, {"A03", "/public%2Fadmin"},
		{"A03", "/public/%252e%252e/admin"}, {"A03", "/public/%252Fadmin"},
		{"A06", "/public;x=1/..;/admin"}, {"A06", "/admin;.css"}, {"A06", "/admin%3B.css"}, {"A06", "/a?x=1;y=2"},
		{"A07", `/public\..\admin`}, {"A07", "/public%5c..%5cadmin"}, {"A07", "/public%5C..%5Cadmin"},
		{"A09", "/public%23/../admin"}, {"A09", "/admin%23/public"}, {"A09", "/admin#/public"}, {"A09", "/a?b#c"},
		{"A11", "/a%0d%0aX-Evil:1"}, {"A11", "/a%0D%0AX-Evil:1"}, {"A11", "/a%0A"}, {"A11", "/a%09"}, {"A11", "/a%00"}, {"A11", "/a%7F"},
		{"A12", "/a%c0%af..%c0%afadmin"}, {"A12", "/a%C0%AF"}, {"A12", "/%e0%80%ae"}, {"A12", "/%E0%80%AE"},
		{"A13", "/%ff%fe"}, {"A13", "/%FF%FE"}, {"A13", "/\x80"}, {"A13", "/\xff"}, {"A13", "/caf\u00e9"}, {"A13", "/a?\xff"}, {"A13", "/a?b=%FF"},
		{"A16", "/ſecret"},
		{"A17", "/admin/."},
		{"A21", "https://u:p@app.gw.test/x"}, {"A21", "ftp://app.gw.test/"}, {"A21", "app.gw.test/x"}, {"A21", "http://app.gw.test/"},
		{"A27", "pay.Svc/Do"}, {"A28", ""}, {"A28", "*"}, {"A28", "?x"},
		{"A29", "/api/..%2fadmin"}, {"A29", "/api%2f..%2fadmin"},
		{"K07", "//evil/x"}, {"A02", "/a//b"}, {"A02", "/a//"},
		{"", "/%61dmin"}, {"", "/a%2Db"}, {"", "/%7Euser"}, // RFC 3986 section 6.2.2.2: alias spellings
		{"", "/a%c3%a9"}, // lower-case digits: an alias of %C3%A9
		{"", "/%"}, {"", "/%4"}, {"", "/%zz"}, {"", "/a b"}, {"", "/a\x00"}, {"", "/a\tb"}, {"", "/a?b c"}, {"", "/a?b\x01"},
		{"", "/a?b=%zz"}, {"", `/a<b>`}, {"", `/a"b`}, {"", "/a^b"}, {"", "/a`b"}, {"", "/a{b}"}, {"", "/a|b"}, {"", `/a?b\c`},
	} {
		if got, err := parseTarget(c.target); err == nil {
			t.Errorf("%s: target %q was accepted as %q", c.id, c.target, got.plain)
		}
	}
}

func TestCanonicalTargetsAreLeftAsTheyAre(t *testing.T) {
	for _, target := range []string{
		"/", "/a", "/a/", "/a/b.c/..d", "/...", "/a~b_c-d.e", "/a!$&'()*+,=:@b", "/a%20b", "/caf%C3%A9", "/100%25", "/a%3Fb",
		"/%EF%BC%8Fadmin", "/ad%E2%80%8Bmin", // A16: no folding anywhere; they are paths of their own
		"/admin.", "/admin%20", "/a?", "/a?x=/public/..", "/a?x=1&x=2&y", "/a?/public/", "/a?q=%2e%2e%2f", "/a?x=a%0Ab", "/a?a[]=1",
	} {
		got, err := parseTarget(target)
		if err != nil {
			t.Errorf("target %q: %v", target, err)
			continue
		}
		if whole := got.path + strings.Repeat("?", strings.Count(target[len(got.path):][:min(1, len(target)-len(got.path))], "?")) + got.raw; whole != target {
			t.Errorf("target %q became %q", target, whole)
		}
	}
}

func FuzzTargetAgreesWithNetURL(f *testing.F) {
	for _, seed := range []string{"/", "/a%20b?c=d", "/caf%C3%A9", "/a/..", "/%2e", "/a;b", "//"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseTarget(raw)
		if err != nil {
			return
		}
		u, err := url.ParseRequestURI(raw)
		if err != nil {
			t.Fatalf("accepted %q, which net/url refuses: %v", raw, err)
		}
		if u.Path != got.plain || u.EscapedPath() != got.path || u.RawQuery != got.raw {
			t.Fatalf("%q is %+v here and %+v to net/url", raw, got, u)
		}
		if strings.Contains(got.plain, "//") || strings.Contains(got.plain, `\`) || strings.ContainsAny(got.plain, "\r\n\x00;#") {
			t.Fatalf("accepted %q, which decodes to %q", raw, got.plain)
		}
		// what is sent upstream parses to what was judged
		sent := (&url.URL{Path: got.plain, RawPath: got.path}).EscapedPath()
		if sent != got.path {
			t.Fatalf("judged %q, would send %q", got.path, sent)
		}
	})
}

func TestAuthorities(t *testing.T) {
	for _, c := range []struct {
		id, in, host string
		port         int
	}{
		{"A24", "APP.GW.TEST", "app.gw.test", 0}, {"A24", "app.gw.test.", "app.gw.test", 0}, {"A24", "app.gw.test:8443", "app.gw.test", 8443},
		{"", "127.0.0.1:80", "127.0.0.1", 80}, {"", "[::1]:443", "::1", 443}, {"", "[::1]", "::1", 0}, {"", "[0:0::1]", "::1", 0},
		{"A25", "xn--app-.gw.test", "xn--app-.gw.test", 0},
	} {
		host, port, err := parseAuthority(c.in)
		if err != nil || host != c.host || port != c.port {
			t.Errorf("%s %q: got %q %d %v", c.id, c.in, host, port, err)
		}
	}
	for _, c := range []struct{ id, in string }{
		{"A22", "app.gw.test/#@evil"}, {"A22", "app.gw.test@evil"}, {"A22", "u:p@app.gw.test"}, {"A22", "app.gw.test?x"}, {"A22", `app.gw.test\evil`},
		{"A23", ""}, {"A23", "a, b"}, {"A23", "a,b"}, {"A23", "app.gw.test:99999"}, {"A23", "app.gw.test:"}, {"A23", "app.gw.test:0"},
		{"A23", "app.gw.test:+80"}, {"A23", "app.gw.test:080"}, {"A23", "a:1:2"}, {"A23", "app..test"}, {"A23", ".app.test"}, {"A23", "app.test.."},
		{"A23", "."}, {"A23", "[::1"}, {"A23", "::1"}, {"A23", "[127.0.0.1]"}, {"A23", "[fe80::1%25eth0]"}, {"A23", "[]"},
		{"A25", "app。gw.test"}, {"A25", "ａpp.gw.test"}, {"A16", "ſecret.gw.test"}, {"", "app_gw.test"}, {"", "a b"}, {"", strings.Repeat("a", 254)},
	} {
		if host, _, err := parseAuthority(c.in); err == nil {
			t.Errorf("%s: authority %q was accepted as %q", c.id, c.in, host)
		}
	}
}
