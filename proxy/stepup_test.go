package proxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/proxy"
)

// proof is when and how well whoever calls signed in, in place of what the
// issuer said.
type proof struct {
	when time.Time
	acr  string
}

func (p *proof) on(id authn.Identity) authn.Identity {
	if p != nil {
		id.AuthTime, id.ACR = p.when, p.acr
	}
	return id
}

// proven puts a proof on every identity, of tokens and of sessions.
type proven struct {
	proxy.Sessions
	proxy.Authenticator
	is atomic.Pointer[proof] // nil: what the issuer said
}

func (p *proven) Bearer(ctx context.Context, token string) (authn.Identity, error) {
	id, err := p.Authenticator.Bearer(ctx, token)
	return p.is.Load().on(id), err
}

func (p *proven) Identify(ctx context.Context, cookies []string) (string, authn.Identity, error) {
	session, id, err := p.Sessions.Identify(ctx, cookies)
	return session, p.is.Load().on(id), err
}

func (p *proven) Recheck(ctx context.Context, session string) (authn.Identity, error) {
	id, err := p.Sessions.Recheck(ctx, session)
	return p.is.Load().on(id), err
}

// demand serves the same routes, of which R1 demands more, to identities that a
// test can age.
func (l *lounge) demand(t *testing.T, d authn.Demand) *proven {
	t.Helper()
	i := slices.IndexFunc(l.settings.Routes, func(r proxy.Route) bool { return r.Name == "R1" })
	l.settings.Routes[i].Authentication = d
	l.settings.Routes[i].Check(func(path, problem string) { t.Errorf("%s: %s", path, problem) })
	p := &proven{Sessions: l.settings.Sessions, Authenticator: l.settings.Authenticator}
	settings := l.settings
	settings.Sessions, settings.Authenticator = p, p
	if err := l.gateway.Swap(settings); err != nil {
		t.Fatal(err)
	}
	return p
}

// E37: a program learns what to ask its issuer for.
func TestAWeakTokenIsToldWhatWouldDo(t *testing.T) {
	l := newLounge(t)
	token, err := l.people.Token(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	p := l.demand(t, authn.Demand{MaxAge: 15 * time.Minute, ACR: []string{"urn:mfa", "urn:key"}})
	now := time.Now()
	for name, c := range map[string]struct {
		proof
		passes bool
	}{
		"old": {proof{now.Add(-16 * time.Minute), "urn:mfa"}, false}, "weak": {proof{now, "urn:pwd"}, false}, "silent": {proof{}, false},
		"good": {proof{now.Add(-14 * time.Minute), "urn:key"}, true},
	} {
		p.is.Store(&c.proof)
		for _, edit := range []func(*http.Request){sending(), page} { // a page does not renew a program's token
			before := len(l.u1.requests())
			res, body := l.do(t, "GET", "https://app.gw.test/x", token, edit)
			if c.passes {
				if res.StatusCode != 200 {
					t.Errorf("%s: %d %s", name, res.StatusCode, body)
				}
				continue
			}
			const want = `Bearer realm="vaultspan", error="insufficient_user_authentication", error_description="a more recent or a stronger sign-in is needed here", acr_values="urn:mfa urn:key", max_age="900"`
			if got := res.Header.Get("WWW-Authenticate"); res.StatusCode != 401 || got != want || len(l.u1.requests()) != before {
				t.Errorf("%s: %d %q %s", name, res.StatusCode, got, body)
			}
		}
	}
	p.is.Store(&proof{})
	res, body := l.do(t, "POST", "https://app.gw.test/x", token)
	refused(t, res, body, 401, "authentication-insufficient")
	if res, body := l.do(t, "GET", "https://api.gw.test/api/x", token); res.StatusCode != 200 { // another route
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// E37: a browser is sent to sign in as the route demands, and comes back.
func TestAPersonSignsInAgain(t *testing.T) {
	l := newLounge(t)
	p := l.demand(t, authn.Demand{MaxAge: 15 * time.Minute})
	const there = "/.vaultspan/login?max_age=900&return=%2Fpay%3Fa%3Db"
	res, _ := l.do(t, "GET", "https://app.gw.test/pay?a=b", "", page)
	if got := res.Header.Get("Location"); res.StatusCode != 303 || got != there { // the first time, at once as demanded
		t.Errorf("%d to %q", res.StatusCode, got)
	}
	cookie := l.login(t, "app.gw.test", "/pay?a=b", "alice")
	if res, body := l.do(t, "GET", "https://app.gw.test/pay?a=b", "", page, sending("Cookie", cookie)); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	p.is.Store(&proof{when: time.Now().Add(-16 * time.Minute)})
	res, body := l.do(t, "GET", "https://app.gw.test/pay?a=b", "", page, sending("Cookie", cookie))
	if got := res.Header.Get("Location"); res.StatusCode != 303 || got != "/.vaultspan/login?issuer=idp&max_age=900&return=%2Fpay%3Fa%3Db" {
		t.Errorf("%d to %q %s", res.StatusCode, got, body)
	}
	// What is not a page is told, and a form is not sent twice behind one's back.
	res, body = l.do(t, "GET", "https://app.gw.test/x", "", sending("Cookie", cookie, "Sec-Fetch-Mode", "cors"))
	refused(t, res, body, 401, "authentication-insufficient")
	res, body = l.do(t, "POST", "https://app.gw.test/x", "", page, sending("Cookie", cookie, "Sec-Fetch-Site", "same-origin"))
	if res.StatusCode != 401 || !strings.Contains(body, "stronger sign-in") || !strings.Contains(body, `href="/.vaultspan/login?issuer=idp&amp;max_age=900"`) ||
		!strings.Contains(res.Header.Get("WWW-Authenticate"), "insufficient_user_authentication") {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	// Another site's page hears of its origin first.
	res, body = l.do(t, "POST", "https://app.gw.test/x", "", sending("Cookie", cookie, "Origin", "https://evil.test"))
	refused(t, res, body, 403, "origin-denied")
	var who struct {
		AuthTime time.Time `json:"auth_time"`
		Routes   []struct {
			Name string
			Weak bool `json:"authentication_insufficient"`
		}
	}
	_, body = l.do(t, "GET", "https://app.gw.test/.vaultspan/whoami", "", sending("Cookie", cookie))
	if err := json.Unmarshal([]byte(body), &who); err != nil || time.Since(who.AuthTime) < 16*time.Minute || fmt.Sprint(who.Routes) != "[{R1 true} {R5 false} {R7 false}]" {
		t.Errorf("%s", body)
	}
}

// E37: an open stream ends when the sign-in that let it begin is too old.
func TestAStreamOutlivesNoSignIn(t *testing.T) {
	l := newLounge(t)
	p := l.demand(t, authn.Demand{MaxAge: 15 * time.Minute})
	ended := l.listen(t)
	p.is.Store(&proof{when: time.Now().Add(-16 * time.Minute)})
	received(t, ended, "the stream's end")
	if got := outcome(t, l.records(t), "/events").Code; got != "authentication-insufficient" {
		t.Errorf("the outcome is %q", got)
	}
}

func TestWhatIsDemandedIsChecked(t *testing.T) {
	for place, r := range map[string]proxy.Route{
		"authentication.max_age": {Authentication: authn.Demand{MaxAge: time.Second}},
		"authentication.acr":     {Authentication: authn.Demand{ACR: []string{}}},
		"authentication.acr[1]":  {Authentication: authn.Demand{ACR: []string{"urn:mfa", "urn mfa"}}},
		"authentication":         {Authentication: authn.Demand{MaxAge: time.Hour}, Allow: proxy.Allow{proxy.Anyone}},
	} {
		r.Name, r.Match, r.Upstream = "r", []string{"/r/"}, "http://127.0.0.1:1"
		if r.Allow == nil {
			r.Allow = proxy.Allow{"dev"}
		}
		var at []string
		r.Check(func(path, _ string) { at = append(at, path) })
		if len(at) != 1 || at[0] != place {
			t.Errorf("%s: %v", place, at)
		}
	}
}
