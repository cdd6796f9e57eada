package session_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/vaultspan/vaultspan/authn/devidp"
	"github.com/vaultspan/vaultspan/authn/session"
)

// whole is a gateway whose issuer is a provider that behaves, on another
// implementation's protocol library: what the misbehaving one cannot tell.
func whole(t *testing.T, o options) (*devidp.Provider, *gateway, *clock, *tap) {
	tap := &tap{revoked: make(chan string, 10)}
	server := httptest.NewUnstartedServer(nil)
	issuer := "http://" + server.Listener.Addr().String()
	c := &clock{}
	o.login.Scopes = []string{"openid", "offline_access"}
	g := newGateway(t, &provider{url: issuer, clock: c}, o)
	conn, err := tls.Dial("tcp", strings.TrimPrefix(g.url, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(conn.ConnectionState().PeerCertificates[0])
	conn.Close()
	people, _ := devidp.Cast()
	idp, err := devidp.New(devidp.Config{
		Issuer: issuer, People: people, RootCAs: roots,
		Clients: []devidp.Client{{
			ID: "web", Secret: secret("web-secret"),
			RedirectURIs: []string{g.url + "/.vaultspan/callback"}, PostLogoutRedirectURIs: []string{g.url + "/.vaultspan/signed-out"},
			BackChannelLogoutURI: g.url + "/.vaultspan/backchannel-logout",
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = tap
	tap.idp = idp
	server.Start()
	t.Cleanup(server.Close)
	return idp, g, c, tap
}

// tap looks at what goes to the provider.
type tap struct {
	idp     *devidp.Provider
	revoked chan string // what became of a refresh token that came to be revoked
	down    atomic.Bool // nothing can be revoked
}

func (p *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/revoke" {
		p.idp.ServeHTTP(w, r)
		return
	}
	if p.down.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	refresh := func(token string) (string, error) {
		cfg := oauth2.Config{ClientID: "web", ClientSecret: "web-secret", Endpoint: oauth2.Endpoint{TokenURL: p.idp.Issuer() + "/token", AuthStyle: oauth2.AuthStyleInHeader}}
		next, err := cfg.TokenSource(r.Context(), &oauth2.Token{RefreshToken: token}).Token()
		if err != nil {
			return "", err
		}
		return next.RefreshToken, nil
	}
	// A token that was never good is revoked as readily: use it once before.
	next, err := refresh(form.Get("token"))
	if err != nil {
		p.revoked <- "was not good"
		return
	}
	p.idp.ServeHTTP(w, r)
	if _, err = refresh(next); err != nil && strings.Contains(err.Error(), "invalid_grant") {
		p.revoked <- "revoked"
	} else {
		p.revoked <- "still good"
	}
}

var requestID = regexp.MustCompile(`name="request" value="([^"]+)"`)

// pick asks for a page, logs in at the provider's and ends on the one asked for.
func (b *browser) pick(idp *devidp.Provider, path, person string) {
	b.t.Helper()
	b.pickFrom(idp, path, path, person)
	b.reads(path, person)
}

// loginAgain logs in as somebody else, although there is a session.
func (b *browser) loginAgain(idp *devidp.Provider, person string) {
	b.t.Helper()
	b.pickFrom(idp, "/.vaultspan/login?return=/x", "/x", person)
	b.reads("/x", person)
}

func (b *browser) pickFrom(idp *devidp.Provider, start, path, person string) {
	b.t.Helper()
	at := b.get(start)
	for range 3 {
		if at.status == 303 || at.status == 302 {
			to := at.location()
			if strings.HasPrefix(to, "/login") {
				to = idp.Issuer() + to
			}
			at = b.get(to)
		}
	}
	found := requestID.FindStringSubmatch(at.body)
	if found == nil {
		b.t.Fatalf("no picker: %d %s", at.status, at.body)
	}
	at = b.do("POST", idp.Issuer()+"/login", url.Values{"request": {found[1]}, "person": {person}}, nil)
	at = b.get(idp.Issuer() + at.location())
	at = b.get(at.location())
	if at.status != 303 || at.location() != path {
		b.t.Fatalf("the callback leads to %d %q %s\n%s", at.status, at.location(), at.body, b.gateway.logs)
	}
}

// TestWholeLogout: a logout here ends the login at the provider and leads back;
// a logout there ends the sessions here, on every browser of that person.
func TestWholeLogout(t *testing.T) {
	idp, g, _, _ := whole(t, options{})
	laptop, phone, carol := newBrowser(t, g), newBrowser(t, g), newBrowser(t, g)
	laptop.pick(idp, "/x", "alice")
	phone.pick(idp, "/y", "alice")
	carol.pick(idp, "/z", "carol")

	at := laptop.do("POST", "/.vaultspan/logout", url.Values{}, nil)
	if !strings.HasPrefix(at.location(), idp.Issuer()+"/end_session?") {
		t.Fatalf("%d to %q", at.status, at.location())
	}
	if at = laptop.get(at.location()); at.status != 303 || at.location() != g.url+"/.vaultspan/signed-out" {
		t.Errorf("the provider leads to %d %q %s", at.status, at.location(), at.body)
	}
	laptop.out("/x")
	phone.reads("/y", "alice")

	laptop.pick(idp, "/x", "alice")
	if err := idp.SignOut(t.Context(), "alice"); err != nil {
		t.Fatalf("%v\n%s", err, g.logs)
	}
	laptop.out("/x")
	phone.out("/y")
	carol.reads("/z", "carol")
}

// TestWholeRefresh: a session goes on with rotating refresh tokens; who is
// disabled at the provider is out at the next refresh (FI09).
func TestWholeRefresh(t *testing.T) {
	idp, g, c, _ := whole(t, options{})
	b := newBrowser(t, g)
	b.pick(idp, "/x", "alice")
	for range 2 {
		c.advance(6 * time.Minute)
		b.reads("/x", "alice")
	}
	idp.Disable("alice")
	b.reads("/x", "alice")
	c.advance(6 * time.Minute)
	b.out("/x")
}

// TestEndedSessionsGiveTheirTokensBack: the refresh token of a session that
// somebody ends is revoked at the provider (RFC 7009). A copy of it, out of a
// backup of the store and its key, is worth nothing.
func TestEndedSessionsGiveTheirTokensBack(t *testing.T) {
	for name, end := range map[string]func(idp *devidp.Provider, g *gateway, c *clock, b *browser){
		"logout": func(_ *devidp.Provider, _ *gateway, _ *clock, b *browser) {
			b.do("POST", "/.vaultspan/logout", url.Values{}, nil)
		},
		"an operator": func(_ *devidp.Provider, g *gateway, _ *clock, _ *browser) {
			if n, err := g.another(t).Revoke(t.Context(), session.Filter{Subject: "alice"}); n != 1 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		},
		"another login": func(idp *devidp.Provider, _ *gateway, _ *clock, b *browser) {
			b.loginAgain(idp, "carol")
		},
		"nobody used it": func(_ *devidp.Provider, _ *gateway, c *clock, b *browser) {
			c.advance(2 * time.Hour)
			b.out("/x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			idp, g, c, tap := whole(t, options{})
			b := newBrowser(t, g)
			b.pick(idp, "/x", "alice")
			end(idp, g, c, b)
			if got := <-tap.revoked; got != "revoked" {
				t.Errorf("the refresh token %s\n%s", got, g.logs)
			}
		})
	}
}

// TestTokensThatCannotBeGivenBack: sessions end whatever the issuer answers, and
// one line says how many of their tokens live on there.
func TestTokensThatCannotBeGivenBack(t *testing.T) {
	idp, g, _, tap := whole(t, options{})
	tap.down.Store(true)
	var browsers []*browser
	for range 3 {
		b := newBrowser(t, g)
		b.pick(idp, "/x", "alice")
		browsers = append(browsers, b)
	}
	lines := make(lineWriter, 100)
	g.setup.Logger = slog.New(slog.NewTextHandler(lines, nil))
	if n, err := g.another(t).Revoke(t.Context(), session.Filter{Issuer: "corp"}); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	line := ""
	for !strings.Contains(line, "could not be revoked") {
		line = <-lines
	}
	if !strings.Contains(line, `sessions=3 of=3 error="the revocation endpoint answers 503"`) {
		t.Error(line)
	}
	for _, b := range browsers {
		if _, _, err := g.another(t).Identify(t.Context(), b.fields()); err == nil {
			t.Error("a session goes on")
		}
	}
}

// lineWriter is a log that can be waited for.
type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}
