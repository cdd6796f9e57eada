package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/vaultspan/vaultspan/authn"
)

// body is what a store keeps sealed. It is versioned: a session of a version
// that we do not know is no session, and its person logs in again.
type body struct {
	V        int                 `json:"v"`
	Kind     string              `json:"kind"`
	Email    string              `json:"email,omitempty"`
	ClientID string              `json:"client_id,omitempty"`
	Groups   []string            `json:"groups,omitempty"`
	Roles    []string            `json:"roles,omitempty"`
	Actors   []string            `json:"actors,omitempty"`
	Claims   map[string][]string `json:"claims,omitempty"`

	// Those before had neither: whom a route demands more of then logs in again.
	AuthTime time.Time `json:"auth_time,omitzero"`
	ACR      string    `json:"acr,omitempty"`

	// Issuer and Subject are beside it in the record, for finding; these count.
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	Ends    int64  `json:"ends,omitempty"` // likewise; those before had none

	Nonce   string    `json:"nonce"`
	Until   time.Time `json:"until"`
	ID      string    `json:"id_token"`
	Refresh string    `json:"refresh_token,omitempty"`
}

const bodyVersion = 1

// sealed is what a record keeps of tokens.
func (m *Manager) sealed(r Record, t authn.Tokens) ([]byte, error) {
	plain, err := json.Marshal(body{
		V: bodyVersion, Kind: string(t.Identity.Kind), Email: t.Identity.Email, ClientID: t.Identity.ClientID,
		Groups: t.Identity.Groups, Roles: t.Identity.Roles, Actors: t.Identity.Actors, Claims: t.Identity.Claims,
		AuthTime: t.Identity.AuthTime, ACR: t.Identity.ACR,
		Issuer: t.Identity.Issuer, Subject: t.Identity.Subject, Ends: millis(r.Ends),
		Nonce: t.Nonce, Until: t.Until, ID: t.ID(), Refresh: t.Refresh(),
	})
	if err != nil {
		return nil, errors.New("a session cannot be written")
	}
	return m.keys.seal(ofSession, r.Key[:], plain), nil
}

// open is the way back.
func (m *Manager) open(r Record) (authn.Tokens, error) {
	plain, err := m.keys.open(ofSession, r.Key[:], r.Sealed)
	if err != nil {
		return authn.Tokens{}, err
	}
	var b body
	if err := json.Unmarshal(plain, &b); err != nil {
		return authn.Tokens{}, errors.New("a session cannot be read")
	}
	if b.V != bodyVersion {
		return authn.Tokens{}, fmt.Errorf("a session of version %d", b.V)
	}
	if b.Issuer != r.Issuer || b.Subject != r.Subject {
		return authn.Tokens{}, errors.New("a session filed under another name")
	}
	if b.Ends != 0 && b.Ends != millis(r.Ends) {
		return authn.Tokens{}, errors.New("a session that was given another end")
	}
	return authn.Tokens{
		Identity: authn.Identity{
			Issuer: b.Issuer, Subject: b.Subject, Kind: authn.Kind(b.Kind), Email: b.Email, ClientID: b.ClientID,
			Groups: b.Groups, Roles: b.Roles, Actors: b.Actors, Claims: b.Claims, Method: "session",
			AuthTime: b.AuthTime, ACR: b.ACR,
		},
		SessionID: r.SessionID, Nonce: b.Nonce, Until: b.Until,
		ID: func() string { return b.ID }, Refresh: func() string { return b.Refresh },
	}, nil
}
