package session

import (
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

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

// Sealed is what something was sealed as: what it is, and the id that its key was
// derived from.
type Sealed struct {
	What string
	ID   []byte
}

// ManySealed makes n sessions' ids, logins and notes on logins, as browsers and
// stores get them.
func ManySealed(t *testing.T, n int) []Sealed {
	m := &Manager{keys: keyring{[][]byte{make([]byte, 32)}}, now: time.Now}
	var all []Sealed
	for range n {
		_, key := newID()
		all = append(all, Sealed{ofSession, key[:]}, Sealed{ofFlow, []byte(random())})
		w := httptest.NewRecorder()
		m.countRound(w, httptest.NewRequest("GET", "/", nil), "/x")
		value, err := base64.RawURLEncoding.DecodeString(w.Result().Cookies()[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.keys.open(ofRounds, value[:roundsID], value[roundsID:]); err != nil {
			t.Fatal(err)
		}
		all = append(all, Sealed{ofRounds, value[:roundsID]})
	}
	return all
}

// OfVersion is a record as another version of this program would have sealed it.
func OfVersion(m *Manager, r Record, version int) (Record, error) {
	plain, err := m.keys.open(ofSession, r.Key[:], r.Sealed)
	if err != nil {
		return r, err
	}
	var b map[string]any
	if err := json.Unmarshal(plain, &b); err != nil {
		return r, err
	}
	b["v"] = version
	if plain, err = json.Marshal(b); err != nil {
		return r, err
	}
	r.Sealed = m.keys.seal(ofSession, r.Key[:], plain)
	return r, nil
}

// SealTextForTest puts what another version wrote into a record.
func SealTextForTest(m *Manager, r Record, plain []byte) Record {
	r.Sealed = m.keys.seal(ofSession, r.Key[:], plain)
	return r
}

// HookForTest puts a test between a store and its server.
func HookForTest(s *Redis, h redis.Hook) { s.client.AddHook(h) }
