package devidp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// Token asks the running provider for an access token, over HTTP as anyone
// would: a client's by client credentials, a person's from /token-for.
func (p *Provider) Token(ctx context.Context, name string) (string, error) {
	if c, ok := p.clients[name]; ok && c.Secret != nil {
		cc := clientcredentials.Config{ClientID: c.ID, ClientSecret: c.Secret(), TokenURL: p.cfg.Issuer + string(Token)}
		token, err := cc.Token(ctx)
		if err != nil {
			return "", fmt.Errorf("client credentials of %s: %w", name, err)
		}
		return token.AccessToken, nil
	}
	text, err := p.post(ctx, "/token-for?"+url.Values{"person": {name}}.Encode(), nil, "")
	return strings.TrimSpace(text), err
}

// ActingToken is agent's token to act for person: it exchanges person's token
// (RFC 8693), with act naming the agent.
func (p *Provider) ActingToken(ctx context.Context, agent, person string) (string, error) {
	subject, err := p.Token(ctx, person)
	if err != nil {
		return "", err
	}
	return p.Exchange(ctx, agent, subject)
}

// Exchange trades an access token for one with which the client acts for its
// subject (RFC 8693).
func (p *Provider) Exchange(ctx context.Context, client, token string) (string, error) {
	text, err := p.post(ctx, string(Token), url.Values{
		"grant_type":         {string(oidc.GrantTypeTokenExchange)},
		"subject_token":      {token},
		"subject_token_type": {string(oidc.AccessTokenType)},
	}, client)
	if err != nil {
		return "", err
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.AccessToken == "" {
		return "", errors.New("token exchange: the answer has no access token")
	}
	return answer.AccessToken, nil
}

// Login logs a person in to a client by the authorization code flow with PKCE,
// clicking the picker, and returns the tokens: access, refresh, and the ID token
// as Extra("id_token").
func (p *Provider) Login(ctx context.Context, client, person string) (*oauth2.Token, error) {
	c, ok := p.clients[client]
	if !ok || len(c.RedirectURIs) == 0 {
		return nil, fmt.Errorf("nobody can log in to client %q", client)
	}
	cfg := oauth2.Config{
		ClientID:    c.ID,
		Endpoint:    oauth2.Endpoint{AuthURL: p.cfg.Issuer + "/authorize", TokenURL: p.cfg.Issuer + string(Token)},
		RedirectURL: c.RedirectURIs[0],
		Scopes:      []string{"openid", "offline_access"},
	}
	if c.Secret != nil {
		cfg.ClientSecret = c.Secret()
	}
	verifier := oauth2.GenerateVerifier()
	at, err := p.follow(ctx, http.MethodGet, cfg.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)), nil)
	if err != nil {
		return nil, err
	}
	at, err = p.follow(ctx, http.MethodPost, p.cfg.Issuer+"/login", url.Values{"request": {at.Query().Get("request")}, "person": {person}})
	if err != nil {
		return nil, err
	}
	at, err = p.follow(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	token, err := cfg.Exchange(ctx, at.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, fmt.Errorf("redeeming the code: %w", err)
	}
	return token, nil
}

// follow sends one request and returns where it redirects to.
func (p *Provider) follow(ctx context.Context, method, to string, form url.Values) (*url.URL, error) {
	resp, err := p.send(ctx, method, to, form, "")
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	at, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("login: expected a redirect, got %s", resp.Status)
	}
	return at, nil
}

// post sends one form, as a client if one is named, and returns the answer.
func (p *Provider) post(ctx context.Context, path string, form url.Values, client string) (string, error) {
	resp, err := p.send(ctx, http.MethodPost, p.cfg.Issuer+path, form, client)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("asking for a token: %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return string(text), err
}

func (p *Provider) send(ctx context.Context, method, to string, form url.Values, client string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c := p.clients[client]; c.Secret != nil {
		req.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret()))
	}
	return noRedirects.Do(req)
}

var noRedirects = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
