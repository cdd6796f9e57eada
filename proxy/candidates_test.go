package proxy_test

import (
	"testing"

	"github.com/vaultspan/vaultspan/proxy"
)

// Of several secrets the caller gets the first that its roles reach with the
// request's method; the record names that one.
func TestPolicyChoosesAmongSecretsByMethod(t *testing.T) {
	b := newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		several := routes[0]
		several.Name, several.Match = "several", []string{"several.gw.test/"}
		several.Secret, several.Secrets = "", []string{"prod/team-pay/U2_KEY", "prod/team-dev/U1_KEY"}
		return append(routes, several)
	})
	for _, c := range []struct{ who, method, wears string }{
		{"alice", "POST", canary1}, // reaches team-dev alone
		{"alice", "GET", canary1},
		{"carol", "POST", canary2}, // reaches team-pay alone, to post
		{"carol", "GET", ""},
	} {
		before := len(b.u1.requests())
		res, body := b.do(t, c.method, "https://several.gw.test/x", b.token(t, c.who))
		if c.wears == "" {
			refused(t, res, body, 403, "denied")
			if len(b.u1.requests()) != before {
				t.Errorf("%s %s reached the upstream", c.who, c.method)
			}
			continue
		}
		if got := b.u1.last(t).Header.Get("Authorization"); res.StatusCode != 200 || got != "Bearer "+c.wears {
			t.Errorf("%s %s: %d %s, wearing %q", c.who, c.method, res.StatusCode, body, got)
		}
	}
	secrets := map[string]int{}
	for _, e := range b.records(t) {
		if e.Kind == "intent" {
			secrets[e.Secret]++
		}
	}
	if secrets["prod/team-pay/U2_KEY"] != 1 || secrets["prod/team-dev/U1_KEY"] != 2 {
		t.Errorf("recorded %v", secrets)
	}
}
