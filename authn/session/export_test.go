package session

import (
	"time"

	"github.com/vaultspan/vaultspan/authn"
)

// SealForTest puts an identity into a record, as a login would.
func SealForTest(m *Manager, r Record) (Record, error) {
	none := func() string { return "" }
	var err error
	r.Sealed, err = m.sealed(r, authn.Tokens{
		Identity: authn.Identity{Issuer: r.Issuer, Subject: r.Subject, Groups: []string{"dev", "payments"}, Kind: authn.Human},
		Until:    time.Now().Add(24 * time.Hour), ID: none, Refresh: none,
	})
	return r, err
}
