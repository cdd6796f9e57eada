package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// caller is who sends a request, by the gateway's word.
type caller struct {
	Subject       string   `json:"sub"` // issuer:subject, for ever the same person
	Email         string   `json:"email"`
	Groups        []string `json:"groups"`
	GroupsOmitted bool     `json:"groups_omitted"` // there were too many: ask somebody else, or refuse
	Roles         []string `json:"roles"`
}

// verifier takes the assertions of one gateway for one route.
type verifier struct{ tokens *oidc.IDTokenVerifier }

// newVerifier fetches keys when it meets one that it does not know. gateway and
// route are from the configuration, never from a request.
func newVerifier(ctx context.Context, gateway, route string, now func() time.Time) verifier {
	keys := oidc.NewRemoteKeySet(ctx, gateway+"/.vaultspan/jwks.json")
	return verifier{oidc.NewVerifier(gateway, keys, &oidc.Config{
		ClientID:             route, // aud
		SupportedSigningAlgs: []string{oidc.ES256},
		Now:                  now,
	})}
}

// caller says who sends a request. An error means that it has to be refused.
func (v verifier) caller(r *http.Request) (caller, error) {
	values := r.Header.Values("X-Vaultspan-Assertion")
	if len(values) != 1 {
		return caller{}, errors.New("no assertion: this did not come through the gateway")
	}
	if typeOf(values[0]) != "vaultspan-assertion+jwt" {
		return caller{}, errors.New("a token of another type")
	}
	token, err := v.tokens.Verify(r.Context(), values[0]) // signature, iss, aud, exp, nbf
	if err != nil {
		return caller{}, err
	}
	var c caller
	return c, token.Claims(&c)
}

// typeOf is the typ in a token's header, which the signature covers.
func typeOf(token string) string {
	encoded, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	var header struct {
		Type string `json:"typ"`
	}
	if json.Unmarshal(text, &header) != nil {
		return ""
	}
	return header.Type
}
