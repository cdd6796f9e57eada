package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// OAuth2 is for an upstream that wants a token of an authorization server
// (RFC 6749). The secret goes to the server alone, which mints a token that
// lives shortly; the upstream sees the token alone.
//
// The secret is the client's secret, with grant: refresh_token the refresh
// token, or a JSON object with the fields client_id, client_secret and
// refresh_token.
type OAuth2 struct {
	// TokenURL is where the authorization server mints tokens, such as
	// https://login.example.com/token: https, or http on loopback. Required.
	TokenURL string `yaml:"token_url"`
	// ClientID is the client's name at the authorization server. Default: the
	// field client_id of the secret.
	ClientID string `yaml:"client_id"`
	// Grant is what the secret is exchanged by: client_credentials (the
	// default) or refresh_token. A refresh token that the server rotates is
	// kept in memory only: prefer a client that does not need one.
	Grant string `yaml:"grant"`
	// Auth is how the client proves itself: basic (the default, in the header)
	// or post (in the form). A client without a secret only names itself.
	Auth string `yaml:"auth"`
	// Scopes are asked for. Default: what the server gives of itself.
	Scopes []string `yaml:"scopes"`
	// Params are more parameters of the request, such as audience or resource.
	Params map[string]string `yaml:"params"`
	// As says how the token is worn. Default: Authorization: Bearer.
	As As `yaml:"as"`
	// Private lists the private ranges the server may resolve to. Without it
	// only public addresses are dialed; loopback only when token_url says so.
	Private []netip.Prefix `yaml:"private"`
	// CA is a PEM file of certificate authorities for the server. Default: the
	// system's.
	CA string `yaml:"ca"`
}

// ownParams are the parameters that are not for params.
var ownParams = []string{"grant_type", "client_id", "client_secret", "refresh_token", "scope", "code"}

func (o *OAuth2) check(report func(path, problem string)) {
	if o.TokenURL == "" {
		report("oauth2.token_url", "is missing: name the authorization server's token endpoint, such as https://login.example.com/token")
	} else {
		checkEndpoint("oauth2.token_url", o.TokenURL, o.Private, report)
	}
	if !slices.Contains([]string{"", "client_credentials", "refresh_token"}, o.Grant) {
		report("oauth2.grant", "want client_credentials or refresh_token")
	}
	if !slices.Contains([]string{"", "basic", "post"}, o.Auth) {
		report("oauth2.auth", "want basic or post")
	}
	for i, scope := range o.Scopes {
		if scope == "" || strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			report(fmt.Sprintf("oauth2.scopes[%d]", i), "is not a scope: one without spaces or quotes each (RFC 6749, section 3.3)")
		}
	}
	for name := range o.Params {
		if name == "" || slices.Contains(ownParams, name) {
			report("oauth2.params."+name, "is not a parameter to add: it has a place of its own, or is the gateway's to set")
		}
	}
	o.As.check("oauth2.as", report)
}

// client are the credentials of a client, as the secret and the configuration
// say.
type client struct{ id, secret, refresh string }

func (o *OAuth2) client(secret string) (client, error) {
	c, err := open(secret)
	if err != nil {
		return client{}, err
	}
	defer c.close()
	refresh := o.Grant == "refresh_token"
	who := client{id: o.ClientID}
	if c.err == errNoObject {
		switch err := plainText(secret); {
		case err != nil:
			return client{}, err
		case who.id == "":
			return client{}, errors.New(`is no JSON object with a field "client_id", and inject names no client_id`)
		case refresh:
			who.refresh = secret
		default:
			who.secret = secret
		}
		return who, nil
	}
	for _, field := range []struct {
		name string
		to   *string
	}{{"client_id", &who.id}, {"client_secret", &who.secret}, {"refresh_token", &who.refresh}} {
		if _, there := c.fields[field.name]; *field.to != "" || c.err == nil && !there {
			continue
		}
		if *field.to, err = c.value(field.name, plainText); err != nil {
			return client{}, err
		}
	}
	switch {
	case who.id == "":
		return client{}, errors.New(`has no field "client_id", and inject names no client_id`)
	case refresh && who.refresh == "":
		return client{}, errors.New(`has no field "refresh_token", which grant: refresh_token exchanges`)
	case !refresh && who.secret == "":
		return client{}, errors.New(`has no field "client_secret"`)
	}
	if !refresh {
		who.refresh = ""
	}
	return who, nil
}

// wear makes a secret ready to be exchanged. Its error never quotes the value.
func (o *OAuth2) wear(secret string) (worn, error) {
	who, err := o.client(secret)
	if err != nil {
		return worn{}, err
	}
	config := func() clientcredentials.Config { // behind a func: it holds the secret
		style := oauth2.AuthStyleInHeader
		if o.Auth == "post" || who.secret == "" { // RFC 6749, section 3.2.1
			style = oauth2.AuthStyleInParams
		}
		params := url.Values{}
		for name, value := range o.Params {
			params.Set(name, value)
		}
		return clientcredentials.Config{
			ClientID: who.id, ClientSecret: who.secret, TokenURL: o.TokenURL, Scopes: o.Scopes, EndpointParams: params, AuthStyle: style,
		}
	}
	newest := who.refresh
	return worn{
		shape: shapeOf("oauth2", o),
		mint: func(ctx context.Context, c *http.Client) (granted, error) {
			ask := config()
			if newest != "" {
				// RFC 6749, section 6. The package lets the grant be another.
				ask.EndpointParams.Set("grant_type", "refresh_token")
				ask.EndpointParams.Set("refresh_token", newest)
			}
			t, err := ask.Token(context.WithValue(ctx, oauth2.HTTPClient, c))
			if err != nil {
				return granted{}, oauth2Failure(err)
			}
			g, err := o.granted(t)
			if err == nil && newest != "" && t.RefreshToken != newest {
				newest, g.rotated = t.RefreshToken, true
			}
			return g, err
		},
		values: func() []string {
			return slices.DeleteFunc([]string{who.secret, who.refresh}, func(s string) bool { return s == "" })
		},
	}, nil
}

// granted takes a token that the server minted.
func (o *OAuth2) granted(t *oauth2.Token) (granted, error) {
	// RFC 6749, section 7.1: a type that is not understood must not be used.
	if o.As == (As{}) && !strings.EqualFold(cmp.Or(t.TokenType, "bearer"), "bearer") {
		return granted{}, &mintError{reason: NoCredential, err: errors.New("the token is of a type that is not worn as a bearer token: say how it is worn with as")}
	}
	put, err := o.As.wear(t.AccessToken)
	if err != nil {
		return granted{}, &mintError{reason: NoToken, err: fmt.Errorf("the token %w", err)}
	}
	g := granted{put: put, reveal: func() string { return t.AccessToken }}
	if !t.Expiry.IsZero() {
		if g.life = time.Until(t.Expiry); g.life <= 0 {
			return granted{}, &mintError{reason: NoToken, err: errors.New("the token had expired before it came")}
		}
	}
	return g, nil
}

// oauth2Errors are the codes of RFC 6749, section 5.2 and RFC 8707, section 2,
// and what an operator would do. Others are not repeated: what a server says
// may quote what it was sent.
var oauth2Errors = map[string]string{
	"invalid_client":         "it does not know the client, or not with this secret: store the client's current secret",
	"invalid_grant":          "it does not take the refresh token any more: store a new one",
	"unauthorized_client":    "the client may not use this grant: allow it at the server",
	"unsupported_grant_type": "it does not know this grant: see grant",
	"invalid_scope":          "it does not give the client these scopes: see scopes",
	"invalid_target":         "it does not know the audience or resource: see params",
	"invalid_request":        "it does not understand the request: see auth and params",
	"access_denied":          "it denies the client a token",
}

// oauth2Failure sorts what can go wrong, by who has to act.
func oauth2Failure(err error) error {
	e, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return err // of the way there, or of what came back
	}
	status := e.Response.StatusCode
	if hint, known := oauth2Errors[e.ErrorCode]; known && !isPassing(status) {
		return &mintError{reason: NoCredential, err: fmt.Errorf("answered %d %s: %s", status, e.ErrorCode, hint)}
	}
	if isPassing(status) || status < 300 || e.ErrorCode == "temporarily_unavailable" || e.ErrorCode == "server_error" {
		return &mintError{reason: NoToken, err: fmt.Errorf("answered %d, and no token", status)}
	}
	return &mintError{reason: NoCredential, err: fmt.Errorf("answered %d, and no token: check token_url", status)}
}
