package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Revoke tells the issuer that a refresh token is of no more use, so that a copy
// of it is worth nothing either (RFC 7009). It does nothing where there is no
// refresh token, where the issuer has no revocation_endpoint, or where the
// operator keeps tokens. Its errors quote nothing that the issuer said.
func (c *Client) Revoke(ctx context.Context, t Tokens) error {
	login := c.issuer.login
	token := t.Refresh()
	e := c.issuer.provider.logins.Load()
	if token == "" || login.KeepTokens || e == nil || e.revoke == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchBudget)
	defer cancel()
	form := url.Values{"token": {token}, "token_type_hint": {"refresh_token"}}
	inForm := e.revokePost || login.ClientSecret == nil
	if inForm {
		form.Set("client_id", login.ClientID)
		if login.ClientSecret != nil {
			form.Set("client_secret", login.ClientSecret())
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.revoke.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return errors.New("not a URL that can be asked")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if !inForm { // RFC 6749 section 2.3.1: encoded, then joined
		r.SetBasicAuth(url.QueryEscape(login.ClientID), url.QueryEscape(login.ClientSecret()))
	}
	answer, err := c.issuer.provider.client.Do(r)
	if err != nil {
		return fmt.Errorf("the revocation endpoint: %w", unreached(err))
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the revocation endpoint answers %d", answer.StatusCode)
	}
	return nil
}

// learnRevoke takes the endpoint from a discovery document, if our secret may go
// there: to the issuer or to where its token endpoint is.
func (e *endpoints) learnRevoke(p *provider, members object) {
	u, err := p.endpoint(members, "revocation_endpoint")
	if err != nil || u.Host != p.issuer.Host && u.Host != e.token.Host {
		return
	}
	e.revoke, e.revokePost = u, e.postOnly
	if members.has("revocation_endpoint_auth_methods_supported") {
		e.revokePost = postOnly(members, "revocation_endpoint_auth_methods_supported")
	}
}
