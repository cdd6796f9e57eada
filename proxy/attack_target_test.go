package proxy_test

import (
	"strings"
	"testing"
)

// Group A over HTTP/1: a target or a host that two parsers could read in two
// ways is refused, and what is not is forwarded byte for byte.
func TestAttacksOnTheTarget(t *testing.T) {
	a := newAttacked(t)
	const noncanonical, authority = "target-noncanonical", "authority-mismatch"
	cases := []attack{
		{"A02", line("/public/%2e%2e/admin"), noncanonical}, {"A02", line("/public/.%2e/admin"), noncanonical},
		{"A02", line("/public/%2E./admin"), noncanonical}, {"A02", line("/public/../admin"), noncanonical}, {"A02", line("/.."), noncanonical},
		{"A03", line("/public/..%2fadmin"), noncanonical}, {"A03", line("/public%2f..%2fadmin"), noncanonical}, {"A03", line("/public%2Fadmin"), noncanonical},
		{"A03", line("/public/%252e%252e/admin"), noncanonical},
		{"A06", line("/public;x=1/..;/admin"), noncanonical}, {"A06", line("/admin;.css"), noncanonical}, {"A06", line("/admin%3B.css"), noncanonical},
		{"A07", line(`/public\..\admin`), noncanonical}, {"A07", line("/public%5c..%5cadmin"), noncanonical},
		{"A09", line("/public%23/../admin"), noncanonical}, {"A09", line("/admin%23/public"), noncanonical}, {"A09", line("/admin#/public"), noncanonical},
		{"A11", line("/a%0d%0aX-Evil:1"), noncanonical}, {"A11", line("/a%0a"), noncanonical}, {"A11", line("/a%09"), noncanonical}, {"A11", line("/a%00"), noncanonical},
		{"A11", line("/a\tb"), "net/http"}, {"A11", line("/a\x00b"), "net/http"}, {"A11", line("/a\rb"), "net/http"},
		{"A12", line("/a%c0%af..%c0%afadmin"), noncanonical}, {"A12", line("/%e0%80%ae"), noncanonical}, {"A12", line("/%E0%80%AE"), noncanonical},
		{"A13", line("/%ff%fe"), noncanonical}, {"A13", line("/%FF%FE"), noncanonical}, {"A13", line("/a\x80"), noncanonical}, {"A13", line("/\xff\xfe"), noncanonical},
		{"A16", line("/ſecret"), noncanonical}, {"A16", line("/%EF%BC%8Fadmin"), "/%EF%BC%8Fadmin"}, {"A16", line("/ad%E2%80%8Bmin"), "/ad%E2%80%8Bmin"},
		{"A17", line("/admin."), "/admin."}, {"A17", line("/admin%20"), "/admin%20"}, {"A17", line("/admin/"), "/admin/"}, {"A17", line("/admin/."), noncanonical},
		{"A18", line("/admin?/public/"), "/admin?/public/"}, {"A18", line("/admin?x=/public/.."), "/admin?x=/public/.."}, {"A18", line("/a?"), "/a?"},
		{"A18", line("/a?x=1;y=2"), noncanonical}, {"A18", line("/a?x=%zz"), noncanonical},
		{"A21", line("https://u:p@raw.gw.test/x"), noncanonical}, {"A21", line("http://raw.gw.test/x"), noncanonical}, {"A21", line("ftp://raw.gw.test/"), noncanonical},
		{"A21", line("raw.gw.test/x"), "net/http"}, {"A28", line("*"), noncanonical}, {"K07", line("//evil/x"), noncanonical}, {"K07", line("/https://evil/"), noncanonical},
		{"A22", host("Host: raw.gw.test/#@evil\r\n"), "net/http"}, {"A22", host("Host: raw.gw.test@evil\r\n"), "net/http"},
		{"A23", host("Host:\r\n"), authority}, {"A23", host("Host: a, b\r\n"), "net/http"}, {"A23", host("Host: raw.gw.test,evil\r\n"), authority},
		{"A23", host("Host: raw.gw.test:99999\r\n"), authority}, {"A23", host("Host: raw.gw.test:\r\n"), authority},
		{"A23", host("Host: raw.gw.test\r\nHost: raw.gw.test\r\n"), "net/http"}, {"A23", host("Host: raw.gw.test\r\nHost: evil\r\n"), "net/http"}, {"A23", host(""), "net/http"},
		{"A24", host("Host: RAW.GW.TEST\r\n"), "/x"}, {"A24", host("Host: raw.gw.test.\r\n"), "/x"}, {"A24", host("Host: raw.gw.test:443\r\n"), "/x"},
		{"A24", host("Host: raw.gw.test:8443\r\n"), "misdirected"}, {"A24", host("Host: evil.test\r\n"), "misdirected"},
		{"A25", host("Host: xn--app-.gw.test\r\n"), "misdirected"}, {"A25", host("Host: raw。gw.test\r\n"), "net/http"}, {"A25", host("Host: ｒaw.gw.test\r\n"), "net/http"},
		{"", host("Host: raw.gw.test\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n"), "net/http"}, // 431
		{"", host("Host: raw.gw.test\r\n" + strings.Repeat("X: y\r\n", 201)), "headers-too-large"},
	}
	a.run(t, cases)
	a.recorded(t)
}

// A17, A18, A19, A36: which route answers does not depend on a query, a header
// or a spelling; nothing reaches more without a token than /public/ does.
func TestAttacksOnTheRoute(t *testing.T) {
	a := newAttacked(t)
	anonymous := func(target, fields string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: app.gw.test\r\n" + fields + "\r\n"
	}
	api := func(target string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: api.gw.test\r\nAuthorization: Bearer TOKEN\r\n\r\n"
	}
	a.run(t, []attack{
		{"A17", anonymous("/admin", ""), "no-credentials"}, {"A17", anonymous("/admin.", ""), "no-credentials"}, {"A17", anonymous("/admin%20", ""), "no-credentials"},
		{"A17", anonymous("/admin/", ""), "no-credentials"}, {"A17", anonymous("/admin/.", ""), "target-noncanonical"},
		{"A18", anonymous("/admin?/public/", ""), "no-credentials"}, {"A18", anonymous("/admin?x=/public/..", ""), "no-credentials"},
		{"A19", anonymous("/admin", "X-Forwarded-Uri: /public/\r\n"), "no-credentials"}, {"A19", anonymous("/admin", "X-Original-URL: /public/\r\n"), "no-credentials"},
		{"A19", anonymous("/admin", "X-Rewrite-URL: /public/\r\n"), "no-credentials"}, {"A19", anonymous("/admin", "X-Forwarded-Prefix: /public\r\n"), "no-credentials"},
		{"A30", anonymous("/publicx", ""), "no-credentials"}, {"A30", anonymous("/public-x/y", ""), "no-credentials"}, {"A30", anonymous("/public", ""), "no-route"},
		{"A29", api("/api/..%2fadmin"), "target-noncanonical"}, {"A29", api("/api%2f..%2fadmin"), "target-noncanonical"}, {"A29", api("/api../admin"), "no-route"},
		{"A30", api("/apix"), "no-route"}, {"A30", api("/api-x/y"), "no-route"}, {"A30", api("/api"), "no-route"}, {"A30", api("/%61pi/x"), "target-noncanonical"},
		{"A36", "OPTIONS /admin HTTP/1.1\r\nHost: app.gw.test\r\n\r\n", "no-credentials"},
		{"A36", "OPTIONS /admin HTTP/1.1\r\nHost: app.gw.test\r\nOrigin: https://evil.test\r\nAccess-Control-Request-Method: POST\r\n\r\n", "no-credentials"},
		{"", api("/.vaultspan/x"), "no-route"},
	})
	a.recorded(t)
}

// A29: what the route strips and what the upstream sees agree.
func TestStripTakesWholeSegments(t *testing.T) {
	b := newBench(t)
	for _, c := range [][2]string{
		{"/api/", "/base/"}, {"/api/x", "/base/x"}, {"/api/api/x", "/base/api/x"}, {"/api/caf%C3%A9?q=%20", "/base/caf%C3%A9?q=%20"}, {"/api/a%3Fb", "/base/a%3Fb"},
	} {
		res, body := b.do(t, "GET", "http://api.gw.test"+c[0], b.token(t, "alice"))
		if res.StatusCode != 200 || b.u2.last(t).RequestURI != c[1] {
			t.Errorf("%s: %d %s", c[0], res.StatusCode, body)
		}
	}
}
