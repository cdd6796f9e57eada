package proxy

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vaultspan/vaultspan/authn"
)

// Sessions lets people in with a browser. *session.Manager is it.
type Sessions interface {
	// Identify says who the session on a request speaks for. id names it to
	// Recheck, and is empty only if the request has no session cookie.
	Identify(ctx context.Context, cookies []string) (id string, identity authn.Identity, err error)
	// Recheck says who a session speaks for by now.
	Recheck(ctx context.Context, id string) (authn.Identity, error)
	// Serve answers for what is below /.vaultspan/, on a host of ours.
	Serve(w http.ResponseWriter, r *http.Request, host, trace string)
	// Page shows a refusal to a person, who signs in at signIn.
	Page(w http.ResponseWriter, r *http.Request, n authn.Notice)
}

// recheckSession is how often an exchange of a session is decided again: a
// revocation elsewhere is seen within this and the time that an answer of the
// store is believed, five seconds together.
const recheckSession = 2500 * time.Millisecond

// answered is what a step returns that has answered by itself.
var answered = &refused{}

// own serves vaultspan's own paths, which no route can have.
func (x *exchange) own() *refused {
	switch path := x.target.plain; {
	case !isReserved(path):
		return nil
	case path == jwksPath && x.settings.Assertions != nil:
		return x.jwks()
	case path != whoamiPath && x.settings.Sessions == nil:
		return nil // which is no route
	case x.websocket:
		return upgradeUnsupported.because("")
	case !x.confidential():
		return tlsRequired.because("")
	case path == whoamiPath:
		return x.whoami()
	}
	x.settings.Sessions.Serve(x.out, x.in.WithContext(x.ctx), x.host, x.trace)
	return answered
}

func isReserved(path string) bool {
	return path == reserved || strings.HasPrefix(path, reserved+"/")
}

// confidential says that nobody could read the request on its way: it came over
// TLS, or from this machine, or through a proxy that the operator trusts to have
// ended TLS. On anything else no session is begun, and none is looked for.
func (x *exchange) confidential() bool {
	if x.in.TLS != nil {
		return true
	}
	peer, err := netip.ParseAddrPort(x.in.RemoteAddr)
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap().WithZone("")
	return addr.IsLoopback() || slices.ContainsFunc(x.settings.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// identify says who is calling, by a bearer token or, where it may be, by the
// session of a browser. Both at once may be two people.
func (x *exchange) identify(ctx context.Context, places []string, session bool) (authn.Identity, *refused) {
	bearer, refused := token(x.in.Header, places)
	if refused != nil {
		return authn.Identity{}, refused
	}
	if session && x.settings.Sessions != nil && x.confidential() {
		id, identity, err := x.settings.Sessions.Identify(ctx, x.in.Header["Cookie"])
		switch {
		case id != "" && bearer != "":
			return authn.Identity{}, ambiguousCredentials.because("a token and a session")
		case err != nil:
			return authn.Identity{}, fromSession(err)
		case id != "":
			x.session = id
			return identity, nil
		}
	}
	if bearer == "" {
		return authn.Identity{}, noCredentials.because("")
	}
	identity, err := x.settings.Authenticator.Bearer(ctx, bearer)
	if err != nil {
		return authn.Identity{}, fromAuthn(err)
	}
	return identity, nil
}

// guarded refuses what a page of another site has a browser do with the session
// of whoever looks at it: what changes something, and every WebSocket. Browsers
// say where a request comes from; programs without a session are not asked.
func (x *exchange) guarded() *refused {
	if x.session == "" {
		return nil
	}
	origins := x.in.Header["Origin"]
	if len(origins) > 1 || x.route.guard.Check(x.in) != nil {
		return originDenied.because("")
	}
	// url's own host, from where programs may, is another application's here.
	if x.websocket && (len(origins) == 0 || origins[0] != x.here() && !slices.Contains(x.route.Origins, origins[0])) {
		return originDenied.because("")
	}
	return nil
}

// newGuard compares origins for one route.
func newGuard(trusted []string) (*http.CrossOriginProtection, error) {
	guard := http.NewCrossOriginProtection()
	for _, origin := range trusted {
		if err := guard.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	return guard, nil
}

// forPeople answers a refusal in a way that somebody in front of a browser can
// do something with: who is not logged in is sent to log in, and the rest reads a
// page. A script's request, an image or an EventSource gets the table's answer.
func (x *exchange) forPeople(r *refused) bool {
	if x.route == nil || !x.route.Session || x.settings.Sessions == nil || x.websocket || !navigation(x.in) || !x.confidential() {
		return false
	}
	safe := x.in.Method == http.MethodGet || x.in.Method == http.MethodHead
	weak := r.Code == weakAuthentication.Code && x.session != "" // a program's token is not renewed by a page
	if safe && (r.Code == noCredentials.Code || r.Code == sessionRevoked.Code || weak) {
		h := x.out.Header()
		h.Set("Location", x.signInPath(x.in.RequestURI))
		h.Set("Cache-Control", "no-store")
		x.out.WriteHeader(http.StatusSeeOther)
		return true
	}
	if challenge := r.challenge(); challenge != "" {
		x.out.Header().Set("WWW-Authenticate", challenge)
	}
	x.settings.Sessions.Page(x.out, x.in, authn.Notice{
		Status: r.Status, Code: r.Code, Title: r.Title, Reason: r.detail,
		Who: cmp.Or(x.identity.Email, x.identity.Subject), SignIn: x.signInPath(""), Trace: x.trace,
	})
	return true
}

// loginPath is where people log in.
const loginPath = reserved + "/login"

// navigation says whether a request is a browser that goes to a page. Browsers
// that do not say so ask for HTML.
func navigation(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(strings.Join(r.Header["Accept"], ","), "text/html")
}

// fromSession translates why a session does not count.
func fromSession(err error) *refused {
	e, ok := errors.AsType[*authn.Error](err)
	if !ok {
		return sessionUnavailable.from(err)
	}
	switch e.Reason {
	case authn.Ambiguous:
		return ambiguousCredentials.from(err)
	case authn.Revoked:
		return sessionRevoked.from(err)
	case authn.Unavailable:
		return issuerUnavailable.from(err)
	case authn.NoStore:
		return sessionUnavailable.from(err)
	}
	return noCredentials.from(err)
}
