package dex_test

import (
	"slices"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/vaultspan/vaultspan/e2e/dex"
)

func TestTokensVerifyAndCarryGroups(t *testing.T) {
	p, err := dex.Start(t.Context(), dex.Config{
		People:    map[string][]string{"alice": {"dev", "payments"}},
		Workloads: map[string][]string{"ci-deployer": {"ci"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	provider, err := oidc.NewProvider(t.Context(), p.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: "vaultspan"})
	for _, c := range []struct {
		name, azp, email string
		groups           []string
	}{
		{"alice", "script", "alice@example.com", []string{"dev", "payments"}},
		{"ci-deployer", "ci-deployer", "", []string{"ci"}},
	} {
		raw, err := p.Token(t.Context(), c.name)
		if err != nil {
			t.Fatal(err)
		}
		token, err := verifier.Verify(t.Context(), raw)
		if err != nil {
			t.Fatal(err)
		}
		var claims struct {
			Groups     []string
			Email, AZP string
		}
		if err := token.Claims(&claims); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(claims.Groups, c.groups) || claims.Email != c.email || claims.AZP != c.azp {
			t.Errorf("%s: %+v", c.name, claims)
		}
	}
	if _, err := p.Token(t.Context(), "nobody"); err == nil {
		t.Error("nobody got a token")
	}
}
