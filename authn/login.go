package authn

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// metadata are the members that are read from a discovery document.
var metadata = namesOf("issuer", "jwks_uri", "authorization_endpoint", "token_endpoint", "userinfo_endpoint",
	"end_session_endpoint", "revocation_endpoint", "token_endpoint_auth_methods_supported",
	"revocation_endpoint_auth_methods_supported", "authorization_response_iss_parameter_supported")

// endpoints are what an issuer says of itself to the clients people log in to.
type endpoints struct {
	authorize, token     *url.URL
	userinfo, endSession *url.URL // nil when there is none
	revoke               *url.URL // likewise
	postOnly, revokePost bool     // the client's secret goes into the form, not into a header
	namesItself          bool     // iss is on every authorization response (RFC 9207)
}

// learn takes the endpoints for logins from a discovery document. One without
// them is no error: most callers do not log in. A token endpoint that moves to
// another host is not followed, like a key set: our secret would go there.
func (p *provider) learn(members object) {
	var e endpoints
	var err error
	if e.authorize, err = p.endpoint(members, "authorization_endpoint"); err != nil {
		return
	}
	if e.token, err = p.endpoint(members, "token_endpoint"); err != nil {
		return
	}
	if last := p.logins.Load(); last != nil && last.token.Host != e.token.Host && e.token.Host != p.issuer.Host {
		return
	}
	e.userinfo, _ = p.endpoint(members, "userinfo_endpoint")
	e.endSession, _ = p.endpoint(members, "end_session_endpoint")
	e.postOnly = postOnly(members, "token_endpoint_auth_methods_supported")
	e.learnRevoke(p, members)
	e.namesItself = members["authorization_response_iss_parameter_supported"].Kind() == 't'
	p.logins.Store(&e)
}

// postOnly says whether a list of ways to authenticate leaves out the default.
func postOnly(members object, name string) bool {
	methods, _ := list(members[name], text)
	return methods != nil && !slices.Contains(methods, "client_secret_basic")
}

// Client is this gateway as a client that people log in to at one issuer: the
// relying party of OpenID Connect Core section 3.1.
type Client struct {
	issuer *issuer
	now    func() time.Time
}

// Clients are the issuers that people can log in at, in the configuration's
// order.
func (a *Authenticator) Clients() []*Client {
	var clients []*Client
	for _, i := range a.issuers {
		if i.login.ClientID != "" {
			clients = append(clients, &Client{i, a.now})
		}
	}
	return clients
}

// Name is the issuer's name in the configuration.
func (c *Client) Name() string { return c.issuer.name }

// Title is the issuer's name for people.
func (c *Client) Title() string { return cmp.Or(c.issuer.login.Title, c.issuer.name) }

// Secrets of one login. Each is made for it and used once.
type Secrets struct {
	State    string // ties the answer to the browser that asked
	Nonce    string // ties the ID token to this login
	Verifier string // ties the code to this gateway (PKCE, RFC 7636)
}

// Begin returns where to send a browser, which comes back to redirect.
func (c *Client) Begin(ctx context.Context, redirect string, s Secrets, d Demand) (string, error) {
	e, err := c.endpoints(ctx)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(s.Verifier), oauth2.SetAuthURLParam("nonce", s.Nonce)}
	for name, values := range d.Parameters() {
		options = append(options, oauth2.SetAuthURLParam(name, values[0]))
	}
	return c.oauth(e, redirect).AuthCodeURL(s.State, options...), nil
}

// CheckIss checks the iss of an authorization response (RFC 9207): the one
// configured, and there when the issuer says that it always is. present says
// whether there was one.
func (c *Client) CheckIss(iss string, present bool) error {
	e := c.issuer.provider.logins.Load()
	switch {
	case present && iss != c.issuer.url:
		return c.refused(refuse(Invalid, "iss of the authorization response is another issuer's"))
	case !present && e != nil && e.namesItself:
		return c.refused(refuse(Invalid, "the authorization response has no iss, which this issuer always sends"))
	}
	return nil
}

// Redeem trades the code of an authorization response for tokens and says who
// logged in. The error is an *Error. Providers may pass over what was demanded in
// Begin, so it is looked whether they did (OpenID Connect Core section 3.1.3.7, 12
// and 13).
func (c *Client) Redeem(ctx context.Context, redirect, code string, s Secrets, d Demand) (Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchBudget)
	defer cancel()
	e, err := c.endpoints(ctx)
	if err != nil {
		return Tokens{}, err
	}
	answer, err := c.oauth(e, redirect).Exchange(c.reach(ctx), code, oauth2.VerifierOption(s.Verifier))
	if err != nil {
		return Tokens{}, c.refused(exchangeError(ctx, err))
	}
	t, err := c.tokens(ctx, e, answer, expected{nonce: s.Nonce, code: code, login: true})
	if err != nil {
		return Tokens{}, c.refused(err)
	}
	if err := d.unmet(t.Identity, c.now()); err != nil {
		return Tokens{}, c.refused(&Error{Reason: Insufficient, Err: err})
	}
	return t, nil
}

// Refresh asks whether a login still stands, and for the tokens it has now. An
// Error with Reason Refused means that it does not; Unavailable, that nobody can
// tell at the moment: the Tokens then have a Refresh, if the issuer gave a new one
// with an ID token that cannot be judged now, and nothing else.
func (c *Client) Refresh(ctx context.Context, last Tokens) (Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchBudget)
	defer cancel()
	e, err := c.endpoints(ctx)
	if err != nil {
		return Tokens{}, err
	}
	answer, err := c.oauth(e, "").TokenSource(c.reach(ctx), &oauth2.Token{RefreshToken: last.Refresh()}).Token()
	if err != nil {
		return Tokens{}, c.refused(exchangeError(ctx, err))
	}
	t, err := c.tokens(ctx, e, answer, expected{nonce: last.Nonce, subject: last.Identity.Subject, last: &last})
	if err != nil {
		next := answer.RefreshToken
		return Tokens{Refresh: func() string { return next }}, c.refused(err)
	}
	return t, nil
}

// EndSession is where to send a browser so that the login at the issuer ends
// too (OpenID Connect RP-Initiated Logout 1.0), or "" where that is not offered.
func (c *Client) EndSession(idToken, redirect string) string {
	e := c.issuer.provider.logins.Load()
	if e == nil || e.endSession == nil {
		return ""
	}
	u := *e.endSession
	q := u.Query()
	q.Set("client_id", c.issuer.login.ClientID)
	if idToken != "" {
		q.Set("id_token_hint", idToken)
	}
	q.Set("post_logout_redirect_uri", redirect)
	u.RawQuery = q.Encode()
	return u.String()
}

// endpoints are those that the issuer named last; if it never did, it is asked.
func (c *Client) endpoints(ctx context.Context) (*endpoints, error) {
	if e := c.issuer.provider.logins.Load(); e != nil {
		return e, nil
	}
	c.issuer.keys.refreshFor(ctx)
	if e := c.issuer.provider.logins.Load(); e != nil {
		return e, nil
	}
	return nil, c.refused(refuse(Unavailable, "its discovery document cannot be had, or names no endpoints to log in at"))
}

func (c *Client) oauth(e *endpoints, redirect string) *oauth2.Config {
	l := c.issuer.login
	config := &oauth2.Config{
		ClientID: l.ClientID, RedirectURL: redirect, Scopes: l.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: e.authorize.String(), TokenURL: e.token.String(), AuthStyle: oauth2.AuthStyleInHeader},
	}
	if l.Scopes == nil {
		config.Scopes = []string{"openid", "profile", "email"}
	}
	if l.ClientSecret != nil {
		config.ClientSecret = l.ClientSecret()
	}
	if e.postOnly || l.ClientSecret == nil {
		config.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return config
}

// reach makes oauth2 use the issuer's own transport: its authorities, checked
// addresses, no redirects.
func (c *Client) reach(ctx context.Context) context.Context {
	client := *c.issuer.provider.client
	client.Transport = traced{client.Transport, c.issuer.provider.tracer}
	return context.WithValue(ctx, oauth2.HTTPClient, &client)
}

// refused names the issuer.
func (c *Client) refused(err error) error {
	refusal, ok := errors.AsType[*Error](err)
	if !ok {
		refusal = &Error{Reason: Invalid, Err: errors.New("not accepted")}
	}
	refusal.Issuer, refusal.what = c.issuer.name, "login"
	return refusal
}

// grantErrors are the codes of RFC 6749 section 5.2 that may be told. A
// provider's own words are not: they may quote what we sent.
var grantErrors = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
}

// exchangeError sorts what the token endpoint answered. Only invalid_grant says
// something about the person: everything else is about us or the provider, and
// may be over in a minute.
func exchangeError(ctx context.Context, err error) *Error {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case ok && answer.ErrorCode == "invalid_grant":
		return refuse(Refused, "the token endpoint answers invalid_grant")
	case ok && slices.Contains(grantErrors, answer.ErrorCode):
		return &Error{Reason: Unavailable, Err: errors.New("the token endpoint answers " + answer.ErrorCode +
			": compare client_id, client_secret and redirect URIs with what the issuer has")}
	case ok && answer.Response != nil:
		return &Error{Reason: Unavailable, Err: errors.New("the token endpoint answers " + http.StatusText(answer.Response.StatusCode))}
	case ctx.Err() != nil:
		return refuse(Unavailable, "the token endpoint does not answer in time")
	}
	if _, network := errors.AsType[*url.Error](err); network {
		return &Error{Reason: Unavailable, Err: unreached(err)}
	}
	if strings.Contains(err.Error(), "parse json") {
		return refuse(Unavailable, "the token endpoint does not answer in JSON")
	}
	return refuse(Invalid, "the token endpoint's answer is not one")
}
