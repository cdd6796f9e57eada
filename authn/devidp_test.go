package authn_test

import (
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/devidp"
)

// TestRealProvider: the whole way, from a login at a real OpenID provider to an
// Identity, with every algorithm, and what must not get there (G16).
func TestRealProvider(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA} {
		t.Run(string(alg), func(t *testing.T) {
			p, err := devidp.Start(t.Context(), devidp.Config{Algorithm: alg})
			if err != nil {
				t.Fatal(err)
			}
			config := authn.IssuerConfig{
				Name: "corp", URL: p.Issuer(), Audience: "vaultspan",
				Claims: authn.ClaimPaths{Roles: "realm_access.roles"},
				KindRules: []authn.KindRule{
					{Claim: "kind", Value: "workload", Kind: authn.Workload},
					{Claim: "kind", Value: "agent", Kind: authn.Agent},
				},
			}
			if err := authn.Probe(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			a := start(t, authn.Config{Issuers: []authn.IssuerConfig{config}})
			login, err := p.Login(t.Context(), "vaultspan", "alice")
			if err != nil {
				t.Fatal(err)
			}
			acting := must(p.ActingToken(t.Context(), "agent-1", "alice"))
			for _, c := range []struct {
				token   string
				subject string
				kind    authn.Kind
				rest    string // groups, roles, email and actors
			}{
				{login.AccessToken, "alice", authn.Human, "dev payments|engineer|alice@example.com|"},
				{must(p.Token(t.Context(), "ci-deployer")), "ci-deployer", authn.Workload, "ci|||"},
				{must(p.Token(t.Context(), "agent-1")), "agent-1", authn.Agent, "agents|||"},
				{acting, "alice", authn.Human, "dev payments|engineer|alice@example.com|agent-1"},
			} {
				id, err := a.Bearer(t.Context(), c.token)
				if err != nil {
					t.Errorf("%s: %v", c.subject, err)
					continue
				}
				rest := strings.Join([]string{strings.Join(id.Groups, " "), strings.Join(id.Roles, " "), id.Email, strings.Join(id.Actors, " ")}, "|")
				if id.Issuer != "corp" || id.Subject != c.subject || id.Kind != c.kind || rest != c.rest {
					t.Errorf("%s: got %+v", c.subject, id)
				}
			}
			idToken, _ := login.Extra("id_token").(string)
			if got := reason(t, a, idToken); got != "invalid" {
				t.Errorf("G16: an ID token: got %s, want invalid", got)
			}
			if got := reason(t, a, login.RefreshToken); got != "malformed" {
				t.Errorf("a refresh token: got %s, want malformed", got)
			}

			asked := p.Requests(devidp.Keys)
			if _, err := p.Rotate(); err != nil {
				t.Fatal(err)
			}
			if got := reason(t, a, must(p.Token(t.Context(), "alice"))); got != "ok" {
				t.Errorf("FI04: after a rotation: got %s, want ok", got)
			}
			if n := p.Requests(devidp.Keys) - asked; n != 1 {
				t.Errorf("a rotation caused %d fetches, want 1", n)
			}
			p.Fault(devidp.Keys, devidp.NoKeys())
			p.Fault(devidp.Discovery, devidp.HTML())
			if got := reason(t, a, must(p.Token(t.Context(), "alice"))); got != "ok" {
				t.Errorf("with the issuer broken: got %s, want ok", got)
			}
		})
	}
}
