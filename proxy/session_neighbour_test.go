package proxy_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/session"
)

// Cookies that are nearly a session's, or one that is in an unusual place: a sibling
// domain can plant the first kind (cookie tossing), and a client or a proxy may split
// a Cookie field as it likes (RFC 9113 section 8.2.3).
func TestCookiesNearASession(t *testing.T) {
	l := newLounge(t)
	cookie := l.login(t, "app.gw.test", "/x", "alice")
	name, value, _ := strings.Cut(cookie, "=")
	twice := []string{cookie, "a=b"}
	for _, c := range []struct {
		what, url string
		fields    []string
		status    int
	}{
		{"in one of two fields", "https://app.gw.test/x", twice, 200},
		{"in the other", "https://app.gw.test/x", []string{"a=b", cookie}, 200},
		{"among many, oddly spaced", "https://app.gw.test/x", []string{"a=b ;\t" + cookie + "  ;; c"}, 200},
		{"in two fields", "https://app.gw.test/x", []string{cookie, cookie}, 400},
		{"beside one that was planted", "https://app.gw.test/x", []string{cookie, name + "=" + strings.Repeat("A", 43)}, 400},
		{"beside an empty one", "https://app.gw.test/x", []string{name + "=; " + cookie}, 400},
		{"beside one in another case", "https://app.gw.test/x", []string{cookie + "; " + strings.ToUpper(name) + "=x"}, 400},
		{"quoted", "https://app.gw.test/x", []string{name + `="` + value + `"`}, 401},
		{"within the quotes of another", "https://app.gw.test/x", []string{`a="b; ` + cookie + `"`}, 401},
		{"percent-encoded", "https://app.gw.test/x", []string{strings.ReplaceAll(name, "_", "%5F") + "=" + value}, 401},
		{"without its prefix", "https://app.gw.test/x", []string{"vaultspan=" + value}, 401},
		{"with another prefix", "https://app.gw.test/x", []string{"__Secure-vaultspan=" + value}, 401},
		{"of a longer name", "https://app.gw.test/x", []string{name + "2=" + value}, 401},
		{"of a shorter name", "https://app.gw.test/x", []string{name[:len(name)-1] + "=" + value}, 401},
		{"of a login under way", "https://app.gw.test/x", []string{name + "-login-0123456789abcdef=" + value}, 401},
		{"behind another header's name", "https://app.gw.test/x", nil, 401},
		{"on a route that is not for people", "https://api.gw.test/api/x", []string{cookie}, 401},
		{"on another host that is", "https://ws.gw.test/x", []string{cookie}, 200}, // the browser does not send it there; whoever has it is who they are
	} {
		before := len(l.u1.requests()) + len(l.u2.requests())
		res, body := l.do(t, "GET", c.url, "", func(r *http.Request) {
			r.Header["Cookie"] = c.fields
			if c.fields == nil {
				r.Header["C_ookie"] = []string{cookie}
			}
		})
		if res.StatusCode != c.status {
			t.Errorf("%s: %d %s, want %d", c.what, res.StatusCode, body, c.status)
		}
		if reached := len(l.u1.requests()) + len(l.u2.requests()) - before; (reached == 1) != (c.status == 200) {
			t.Errorf("%s: %d requests reached an upstream", c.what, reached)
		}
	}
	for _, u := range [...]*upstream{l.u1, l.u2} {
		for _, r := range u.requests() {
			if strings.Contains(fmt.Sprint(r.Header), value) {
				t.Errorf("an upstream received the session: %v", r.Header)
			}
		}
	}
}

// What may be done below /.vaultspan/, by which method, on which host and from where.
func TestOurOwnPathsTakeNothingElse(t *testing.T) {
	l := newLounge(t)
	cookie := l.login(t, "app.gw.test", "/x", "alice")
	long := strings.Repeat("x", 30<<10)
	for _, c := range []struct {
		what, method, url, form string
		header                  []string
		status                  int
	}{
		{"response_mode=form_post", "POST", "https://app.gw.test/.vaultspan/callback", "state=x&code=y", nil, 405},
		{"a login by a form", "POST", "https://app.gw.test/.vaultspan/login", "return=/", nil, 405},
		{"a method in a header", "POST", "https://app.gw.test/.vaultspan/whoami", "", []string{"X-HTTP-Method-Override", "GET"}, 405},
		{"logout by a method in the query", "GET", "https://app.gw.test/.vaultspan/logout?_method=POST", "", nil, 200},
		{"logout by an image", "GET", "https://app.gw.test/.vaultspan/logout", "", []string{"Sec-Fetch-Dest", "image", "Sec-Fetch-Site", "cross-site"}, 200},
		{"logout by another site's form", "POST", "https://app.gw.test/.vaultspan/logout", "x=y", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"logout by DELETE", "DELETE", "https://app.gw.test/.vaultspan/logout", "", nil, 405},
		{"a state that is huge", "GET", "https://app.gw.test/.vaultspan/callback?code=x&state=" + long, "", nil, 400},
		{"a state twice", "GET", "https://app.gw.test/.vaultspan/callback?state=x&state=y&code=z", "", nil, 400},
		{"a callback on a host that nobody logs in on", "GET", "https://api.gw.test/.vaultspan/callback?state=x&code=y", "", nil, 404},
		{"a callback on a host that is not ours", "GET", "https://evil.test/.vaultspan/callback?state=x&code=y", "", nil, 421},
		{"back-channel logout on such a host", "POST", "https://evil.test/.vaultspan/backchannel-logout", "logout_token=x", nil, 421},
		{"back-channel logout that is huge", "POST", "https://app.gw.test/.vaultspan/backchannel-logout", "logout_token=" + long + long + long, nil, 400},
		{"a path below one of ours", "GET", "https://app.gw.test/.vaultspan/login/x", "", nil, 404},
		{"one of ours in another case", "GET", "https://app.gw.test/.vaultspan/Login", "", nil, 404},
		{"ours in another case", "GET", "https://app.gw.test/.Vaultspan/login", "", nil, 401}, // is the route's
		{"ours, encoded", "GET", "https://app.gw.test/%2Evaultspan/whoami", "", []string{"Cookie", ""}, 400},
	} {
		header := append([]string{"Cookie", cookie}, c.header...)
		if c.status == 401 {
			header = nil
		}
		res, body := l.do(t, "GET", c.url, "", sending(header...), func(r *http.Request) {
			if c.form != "" {
				*r = *sendsForm(r, c.form)
				sending(header...)(r)
			}
			r.Method = c.method
		})
		if res.StatusCode != c.status || res.Header.Get("Location") != "" {
			t.Errorf("%s: %d to %q %s, want %d", c.what, res.StatusCode, res.Header.Get("Location"), body, c.status)
		}
		for _, set := range res.Header["Set-Cookie"] {
			if strings.HasPrefix(set, "__Host-vaultspan=") {
				t.Errorf("%s: sets %s", c.what, set)
			}
		}
	}
	// None of it ended the session, and another site's script cannot read who it is.
	res, body := l.do(t, "GET", "https://app.gw.test/.vaultspan/whoami", "", sending("Cookie", cookie, "Origin", "https://evil.test", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"))
	if res.StatusCode != 200 || res.Header.Get("Access-Control-Allow-Origin") != "" || res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	for _, r := range l.u1.requests() {
		if strings.Contains(r.RequestURI, "vaultspan") {
			t.Errorf("the upstream received %s", r.RequestURI)
		}
	}
}

// An EventSource of somebody who loses the role at a refresh ends by itself, and is
// recorded as denied (E31).
func TestALostRoleEndsAStream(t *testing.T) {
	l := newLounge(t)
	ended := l.listen(t)
	settings := l.settings
	settings.Sessions = demoted{l.sessions} // as a refresh would have it
	if err := l.gateway.Swap(settings); err != nil {
		t.Fatal(err)
	}
	received(t, ended, "the stream's end")
	if got := outcome(t, l.records(t), "/events").Code; got != "denied" {
		t.Errorf("the outcome is %q", got)
	}
}

// demoted is sessions of people who have lost every group.
type demoted struct{ *session.Manager }

func (d demoted) Recheck(ctx context.Context, id string) (authn.Identity, error) {
	identity, err := d.Manager.Recheck(ctx, id)
	identity.Groups = nil
	return identity, err
}

// TestAnUpstreamOpensNoSession: an upstream that lets any origin read what it
// answers, as it may where it sees no cookies, does not let it read what it
// answers to somebody's session. Bearers are as before.
func TestAnUpstreamOpensNoSession(t *testing.T) {
	l := newLounge(t)
	l.u1.handler = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Access-Control-Allow-Origin")
		for range 2 {
			w.Header().Set("Access-Control-Allow-Origin", "https://sibling.gw.test")
			w.Header().Set("Access-Control-Allow-Credentials", "true")
			w.WriteHeader(map[bool]int{true: 103, false: 200}[r.Header.Get("X-Said") == ""])
			r.Header.Set("X-Said", "103")
		}
		fmt.Fprint(w, "hello")
	}
	cookie := l.login(t, "app.gw.test", "/x", "alice")
	from := sending("Origin", "https://sibling.gw.test", "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors")
	res, _ := l.do(t, "GET", "https://app.gw.test/x", "", sending("Cookie", cookie), from)
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"} {
		if res.Header[name] != nil || res.Trailer[name] != nil {
			t.Errorf("%s: %q, in the trailer %q", name, res.Header[name], res.Trailer[name])
		}
	}
	token, err := l.people.Token(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if res, _ := l.do(t, "GET", "https://app.gw.test/x", token, from); res.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("a bearer's answer lost what the upstream says")
	}
}
