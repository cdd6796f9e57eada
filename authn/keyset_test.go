package authn

import (
	"context"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// published is an issuer whose keys are always at hand.
type published []key

func (p published) fetch(context.Context) ([]key, error) { return p, nil }

// TestKeySetOfGoOIDC: a keySet serves a go-oidc verifier.
func TestKeySetOfGoOIDC(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var set oidc.KeySet = &keySet{
		source: published{{id: "k", algorithms: []string{"EdDSA"}, public: public}},
		maxAge: time.Hour, now: time.Now, life: t.Context(), tell: func(bool, error) {},
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: private}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(`{"iss":"https://a.test","sub":"alice","aud":"v","exp":9999999999}`))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	verifier := oidc.NewVerifier("https://a.test", set, &oidc.Config{ClientID: "v", SupportedSigningAlgs: []string{"EdDSA"}})
	if got, err := verifier.Verify(t.Context(), token); err != nil || got.Subject != "alice" {
		t.Errorf("got %v, %v", got, err)
	}
	header, rest, _ := strings.Cut(token, ".")
	if _, err := verifier.Verify(t.Context(), header+".e30"+rest[strings.Index(rest, "."):]); err == nil {
		t.Error("a signature of another payload verifies")
	}
}
