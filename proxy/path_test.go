package proxy_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// botToken and botNext are as Telegram makes them.
const botToken, botNext = "123456:CANARY-U1-5f0c2a77b1_x", "123456:CANARY-U1-rotated_2"

// telegram answers as Telegram's API does, to who has the token in the path, and
// says where things are with it.
func telegram(token string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		method, ok := strings.CutPrefix(r.URL.Path, "/bot"+token+"/")
		if !ok {
			http.Error(w, `{"ok": false, "error_code": 401}`, http.StatusUnauthorized)
			return
		}
		w.Header().Set("Location", "/bot"+url.PathEscape(token)+"/next?offset=1")
		w.Header().Set("Content-Location", "https://api.telegram.org"+r.URL.EscapedPath())
		fmt.Fprintf(w, `{"ok": true, "result": %q}`, method)
	}
}

func newTelegram(t *testing.T) *bench {
	t.Helper()
	return newBench(t, func(b *bench, routes []proxy.Route) []proxy.Route {
		b.u1.handler = telegram(botToken)
		b.refresh = time.Hour
		b.secret1.Rotate(botToken)
		return append(routes, proxy.Route{
			Name: "telegram", Match: []string{"tg.gw.test/telegram/"}, Strip: "/telegram", Upstream: b.u1.URL, UpstreamTLS: routes[0].UpstreamTLS,
			Secret: "prod/team-dev/U1_KEY", Inject: vault.Injection{Path: "/bot{secret}"},
		})
	})
}

// What is judged, recorded and traced is the path that the caller sent; what is
// sent has the credential before it, and a caller cannot come before that.
func TestACredentialInThePath(t *testing.T) {
	b := newTelegram(t)
	decider := &watched{Decider: b.settings.Policy}
	b.settings.Policy = decider
	if err := b.gateway.Swap(b.settings); err != nil {
		t.Fatal(err)
	}
	token := b.token(t, "alice")
	for target, want := range map[string]string{
		"/telegram/sendMessage?chat_id=1&text=a%20b": "sendMessage",
		"/telegram/a%20b/%C3%A4+c=d:e":               "a b/ä+c=d:e",
		"/telegram/":                                 "",
		"/telegram/%2525":                            "", // encoded twice
	} {
		res, body := b.do(t, "GET", "https://tg.gw.test"+target, token)
		if strings.Contains(target, "%2525") {
			refused(t, res, body, 400, "target-noncanonical")
			continue
		}
		if res.StatusCode != 200 || body != fmt.Sprintf(`{"ok": true, "result": %q}`, want) {
			t.Errorf("%s: %d %s", target, res.StatusCode, body)
		}
		sent := strings.TrimPrefix(target, "/telegram")
		if got := b.u1.last(t).RequestURI; got != "/bot"+botToken+sent {
			t.Errorf("the upstream saw %s, want %s before %s", got, botToken, sent)
		}
		path, _, _ := strings.Cut(target, "?")
		if decider.in.Request.Path != path {
			t.Errorf("policy was asked about %q, want %q", decider.in.Request.Path, path)
		}
		if got := res.Header.Get("Location"); got != "/next?offset=1" {
			t.Errorf("the caller is sent to %q", got)
		}
		if got := res.Header.Get("Content-Location"); strings.Contains(got, "CANARY") || !strings.HasPrefix(got, "https://api.telegram.org/") {
			t.Errorf("the caller is told of %q", got)
		}
	}
	count := len(b.u1.requests())
	for _, target := range []string{
		"/telegram/../x", "/telegram/..", "/telegram/%2e%2e/x", "/telegram/.%2e/x", "/telegram/a/../../x", "/telegram/..%2fx", "/telegram/%2E%2E/", "/telegram//x",
		"/telegram/..;/x", `/telegram/..\x`, "/telegram/%5c..%5cx", "/telegram/%252e%252e/x",
	} {
		conn := b.raw(t, true)
		conn.send("GET " + target + " HTTP/1.1\r\nHost: tg.gw.test\r\nAuthorization: Bearer " + token + "\r\n\r\n")
		res, body, err := conn.answer("GET")
		if err != nil {
			t.Fatal(err)
		}
		refused(t, res, body, 400, "target-noncanonical")
	}
	if got := len(b.u1.requests()); got != count {
		t.Errorf("the upstream was reached by %d requests that climb", got-count)
	}
	b.secret1.Rotate(botNext)
	b.u1.handler = telegram(botNext)
	if res, body := b.do(t, "POST", "https://tg.gw.test/telegram/getMe", token); res.StatusCode != 200 || !strings.Contains(body, "getMe") {
		t.Errorf("after a rotation: %d %s", res.StatusCode, body)
	}
	for _, e := range b.records(t) {
		if e.Path != "" && !strings.HasPrefix(e.Path, "/telegram/") && e.Code != "target-noncanonical" {
			t.Errorf("recorded: %q", e.Path)
		}
	}
	for name, output := range map[string]string{"logs": b.logs.String(), "spans": fmt.Sprintf("%+v", b.spans.GetSpans())} {
		if strings.Contains(output, "5f0c2a77b1") || strings.Contains(output, "/bot") {
			t.Errorf("the %s hold the credential", name)
		}
	}
}

// Where a path that is put before the upstream's own would end up nobody can say.
func TestAPathDoesNotGoBeforeABase(t *testing.T) {
	r := proxy.Route{Name: "r", Match: []string{"/x/"}, Upstream: "https://api.example.com/base", Secret: "prod/a/KEY", Inject: vault.Injection{Path: "/bot{secret}"}}
	var problems []string
	r.Check(func(path, problem string) { problems = append(problems, path+": "+problem) })
	if len(problems) != 1 || !strings.HasPrefix(problems[0], "inject.path: ") {
		t.Errorf("problems: %q", problems)
	}
}
