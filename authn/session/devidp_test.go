package session_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/devidp"
)

// whole is a gateway whose issuer is a provider that behaves, on another
// implementation's protocol library: what the misbehaving one cannot tell.
func whole(t *testing.T) (*devidp.Provider, *gateway, *clock) {
	server := httptest.NewUnstartedServer(nil)
	issuer := "http://" + server.Listener.Addr().String()
	c := &clock{}
	g := newGateway(t, &provider{url: issuer, clock: c}, options{login: authn.Login{Scopes: []string{"openid", "offline_access"}}})
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
	server.Config.Handler = idp
	server.Start()
	t.Cleanup(server.Close)
	return idp, g, c
}

var requestID = regexp.MustCompile(`name="request" value="([^"]+)"`)

// pick logs in at the provider's page, and ends on the page that was asked for.
func (b *browser) pick(idp *devidp.Provider, path, person string) {
	b.t.Helper()
	at := b.get(path)
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
	b.reads(path, person)
}

// TestWholeLogout: a logout here ends the login at the provider and leads back;
// a logout there ends the sessions here, on every browser of that person.
func TestWholeLogout(t *testing.T) {
	idp, g, _ := whole(t)
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
	idp, g, c := whole(t)
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
