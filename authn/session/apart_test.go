package session_test

import (
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/session"
)

// TestKeysAreWhole: sessions whose keys, handles or people nearly agree are apart in
// either store, and each is ended by itself (Q12).
func TestKeysAreWhole(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) session.Store{
		"sqlite": func(t *testing.T) session.Store { return openStore(t) },
		"redis":  func(t *testing.T) session.Store { return newRedisServer(t).open() },
	} {
		t.Run(name, func(t *testing.T) {
			store := open(t)
			people := [][3]string{{"corp", "alice", "s1"}, {"corp", "alice ", "s2"}, {"corp", "Alice", "s3"}, {"cor", "palice", "s4"}, {"corp\x00", "alice", "S1"}, {"", "corpalice", "s"}}
			base := record("x", "y", "z")
			for i, who := range people {
				r := record(who[0], who[1], who[2])
				r.Key, r.Handle = base.Key, strings.Repeat("a", 15)+string(rune('a'+i))
				r.Key[31] ^= byte(i) // the last byte alone differs
				if err := store.Add(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			for i, who := range people {
				key := base.Key
				key[31] ^= byte(i)
				if r, err := store.Find(t.Context(), key); err != nil || r.Issuer != who[0] || r.Subject != who[1] {
					t.Errorf("%q is found as %q of %q: %v", who, r.Subject, r.Issuer, err)
				}
			}
			short := base.Key
			short[31] ^= 0x80
			if _, err := store.Find(t.Context(), short); err == nil {
				t.Error("a key that nobody has was found")
			}
			for _, f := range []session.Filter{{Issuer: "corp", Subject: "alice"}, {Issuer: "corp", SessionID: "s2"}, {Handle: strings.Repeat("a", 15) + "c"}} {
				if ended, err := store.End(t.Context(), f, "test"); err != nil || len(ended) != 1 {
					t.Errorf("%+v ended %d: %v", f, len(ended), err)
				}
			}
			if left, err := store.List(t.Context(), session.Filter{}); err != nil || len(left) != 3 {
				t.Errorf("%d are left: %v", len(left), err)
			}
		})
	}
}

// TestNothingIsRememberedByATokensBeginning: what userinfo says is of the whole access
// token that it was asked with, at a login and at every refresh (E22).
func TestNothingIsRememberedByATokensBeginning(t *testing.T) {
	p, g, alice := start(t, options{login: authn.Login{Userinfo: true}})
	long := strings.Repeat("a", 64)
	p.set(func(p *provider) {
		p.claims["groups"], p.claims["at_hash"] = nil, nil
		p.infos = map[string]map[string]any{
			long + "1": {"sub": "alice", "groups": []string{"hers"}},
			long + "2": {"sub": "carol", "groups": []string{"also-hers"}},
		}
	})
	carol := newBrowser(t, g)
	as := func(n string) { p.set(func(p *provider) { p.answer["access_token"] = long + n }) }
	reads := func(b *browser, want string) {
		t.Helper()
		if got := b.get("/x"); !strings.HasPrefix(got.body, want) {
			t.Errorf("%d %q, want %q\n%s", got.status, got.body, want, g.logs)
		}
	}
	for range 2 {
		as("1")
		alice.login(p, "/x", "alice")
		as("2")
		carol.login(p, "/x", "carol")
		reads(alice, "alice of corp in [hers]")
		reads(carol, "carol of corp in [also-hers]")
		p.clock.advance(5 * time.Minute)
		as("1")
		reads(alice, "alice of corp in [hers]")
		as("2")
		reads(carol, "carol of corp in [also-hers]")
		p.clock.advance(2 * time.Hour) // idle: to be logged in again
	}
}
