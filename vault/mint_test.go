package vault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

// A token is kept as long as it may be used, through refreshes and reloads, and
// no longer.
func TestATokenIsRenewedShortlyBeforeItsEnd(t *testing.T) {
	for _, c := range []struct{ life, kept time.Duration }{
		{time.Hour, 59 * time.Minute}, {100 * time.Second, 90 * time.Second}, {0, 59 * time.Minute}, {10 * time.Second, 9 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAuthority()
			a.life = c.life
			v, account := minting(t, clientSecret, oauth())
			began := time.Now()
			wears(t, mint(t, v, a.send), "Bearer CANARY-token-1")
			again := bind(stripeRef)
			again.Inject, again.Generation = oauth(), 1 // the same, read anew
			other := again
			other.Route = "other"
			v.Rebind([]vault.Binding{again, other})
			account.put(wikiID, wiki, "TOKEN", "CANARY-wiki-2") // the next refresh makes a new view
			time.Sleep(c.kept - time.Since(began) - time.Millisecond)
			for _, route := range []string{"r", "other"} {
				l, err := v.LeaseOf(t.Context(), 1, route, stripeRef)
				if err != nil {
					t.Fatal(err)
				}
				if l, err = l.Mint(t.Context(), a.send); err != nil {
					t.Fatal(err)
				}
				wears(t, l, "Bearer CANARY-token-1")
			}
			time.Sleep(2 * time.Millisecond)
			l, _ := v.LeaseOf(t.Context(), 1, "r", stripeRef)
			if l, _ = l.Mint(t.Context(), a.send); l == nil {
				t.Fatal("no token")
			}
			wears(t, l, "Bearer CANARY-token-2")
			if n := len(a.requests()); n != 2 {
				t.Errorf("life %s: %d tokens were minted", c.life, n)
			}
		})
	}
}

// A rotated secret mints tokens of its own: none of the version before is used
// with it.
func TestARotatedSecretMintsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority()
		v, account := minting(t, clientSecret, oauth())
		old := lease(t, v, stripeRef)
		first := mint(t, v, a.send)
		time.Sleep(time.Second)
		account.put(stripeID, payments, "STRIPE_API_KEY", "CANARY-next")
		a.set(func() { a.secret = "CANARY-next" })
		time.Sleep(31 * time.Second)
		second := mint(t, v, a.send)
		wears(t, second, "Bearer CANARY-token-2")
		if second.Version() == first.Version() {
			t.Error("both tokens are of one version")
		}
		if l, err := old.Mint(t.Context(), a.send); err != nil {
			t.Error(err)
		} else {
			wears(t, l, "Bearer CANARY-token-1") // a lease never changes
		}
	})
}

// 500 callers cost one token, whether there was none or it had to be renewed;
// and nobody waits for a renewal while the token before is good. Run with -race.
func TestManyCallersCostOneToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority()
		a.slow = time.Second
		v, _ := minting(t, clientSecret, oauth())
		var waited sync.Map
		all := func() {
			var callers sync.WaitGroup
			for range 500 {
				callers.Go(func() {
					began := time.Now()
					l := mint(t, v, a.send)
					waited.Store(time.Since(began), true)
					authorization(t, l)
				})
			}
			callers.Wait()
		}
		all()
		if n := len(a.requests()); n != 1 {
			t.Errorf("%d tokens were minted", n)
		}
		time.Sleep(59*time.Minute + 30*time.Second)
		waited.Clear()
		all()
		if n := len(a.requests()); n != 2 {
			t.Errorf("%d tokens were minted, want one more", n)
		}
		if _, some := waited.Load(time.Duration(0)); !some {
			t.Error("all waited for a token that was to be renewed early")
		}
	})
}

// Who began a minting may go away: the others still have their token. And who
// waits for one may go away by himself.
func TestAMintingOutlivesWhoBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority()
		a.slow = 5 * time.Second
		v, _ := minting(t, clientSecret, oauth())
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		go func() { _, _ = lease(t, v, stripeRef).Mint(ctx, a.send) }()
		synctest.Wait()
		began := time.Now()
		if _, err := lease(t, v, stripeRef).Mint(ctx, a.send); reason(t, err) != vault.NoToken || time.Since(began) != time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		wears(t, mint(t, v, a.send), "Bearer CANARY-token-1")
		if n := len(a.requests()); n != 1 {
			t.Errorf("%d tokens were minted", n)
		}
	})
}

// A token endpoint that fails is not stormed, and says nothing of what it was
// sent; a good token is used meanwhile.
func TestAFailingTokenEndpointIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority()
		v, _ := minting(t, clientSecret, oauth())
		down := func(w http.ResponseWriter) { http.Error(w, "CANARY: "+clientSecret, http.StatusServiceUnavailable) }
		a.set(func() { a.fail = down })
		tries := func(d time.Duration) int {
			before := len(a.requests())
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				_, err := lease(t, v, stripeRef).Mint(t.Context(), a.send)
				if err == nil || reason(t, err) != vault.NoToken || strings.Contains(err.Error(), "CANARY") || !strings.Contains(err.Error(), "https://login.example.com:443: answered 503") {
					t.Fatal(err)
				}
			}
			return len(a.requests()) - before
		}
		if n := tries(time.Minute); n != 6 { // at 0, 1, 3, 7, 15, 31 s
			t.Errorf("asked %d times in the first minute", n)
		}
		if n := tries(5 * time.Minute); n != 10 { // each 30 s
			t.Errorf("asked %d times in five minutes", n)
		}
		a.set(func() { a.fail = nil })
		time.Sleep(30 * time.Second)
		wears(t, mint(t, v, a.send), "Bearer CANARY-token-1")
		time.Sleep(59*time.Minute + time.Second)
		a.set(func() { a.fail = down })
		wears(t, mint(t, v, a.send), "Bearer CANARY-token-1") // for its last minute
		time.Sleep(time.Minute)
		if n := tries(100 * time.Millisecond); n > 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestTheEndpointSaysHowLongToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority()
		a.fail = func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(429)
		}
		v, _ := minting(t, clientSecret, oauth())
		for range 400 {
			_, err := lease(t, v, stripeRef).Mint(t.Context(), a.send)
			if reason(t, err) != vault.NoToken {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := len(a.requests()); n != 2 {
			t.Errorf("asked %d times in 40 s", n)
		}
	})
}

// What was not sent is no failure of the endpoint: the next may ask at once. A
// panic is one, and leaves nobody waiting.
func TestAnExchangeThatFails(t *testing.T) {
	a := newAuthority()
	v, _ := minting(t, clientSecret, oauth())
	own := errors.New("the record failed")
	_, err := lease(t, v, stripeRef).Mint(t.Context(), func(*http.Request) (*http.Response, string, error) {
		return nil, "", fmt.Errorf("%w: %w", vault.ErrNotSent, own)
	})
	if reason(t, err) != vault.NoToken || !errors.Is(err, own) {
		t.Error(err)
	}
	wears(t, mint(t, v, a.send), "Bearer CANARY-token-1")

	v, _ = minting(t, clientSecret, oauth())
	func() {
		defer func() { recover() }()
		lease(t, v, stripeRef).Mint(t.Context(), func(*http.Request) (*http.Response, string, error) { panic("x") })
		t.Error("a panic was swallowed")
	}()
	if _, err := lease(t, v, stripeRef).Mint(t.Context(), a.send); reason(t, err) != vault.NoToken {
		t.Error(err)
	}
}

// An upstream that refuses a token gets another one, once; one that refuses
// every token does not mint one for every request.
func TestARefusedTokenIsReplacedWithinABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority()
		a.slow = time.Second
		v, _ := minting(t, clientSecret, oauth())
		l := mint(t, v, a.send)
		if _, err := l.Remint(t.Context(), a.send); !errors.Is(err, vault.ErrUnchanged) {
			t.Errorf("a young token: %v", err)
		}
		time.Sleep(10 * time.Second)
		var callers sync.WaitGroup
		for range 500 {
			callers.Go(func() {
				other, err := l.Remint(t.Context(), a.send)
				if err != nil {
					t.Error(err)
					return
				}
				wears(t, other, "Bearer CANARY-token-2")
			})
		}
		callers.Wait()
		before := len(a.requests())
		for range 600 { // for a minute
			l := mint(t, v, a.send)
			if _, err := l.Remint(t.Context(), a.send); err != nil && !errors.Is(err, vault.ErrUnchanged) {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := len(a.requests()) - before; n < 5 || n > 7 {
			t.Errorf("%d tokens were minted in a minute of refusals", n)
		}
		if _, err := lease(t, v, stripeRef).Remint(t.Context(), a.send); !errors.Is(err, vault.ErrUnchanged) {
			t.Errorf("without a token: %v", err)
		}
		a.set(func() { a.fail = func(w http.ResponseWriter) { w.WriteHeader(500) } })
		time.Sleep(10 * time.Second)
		l = mint(t, v, a.send)
		if _, err := l.Remint(t.Context(), a.send); reason(t, err) != vault.NoToken {
			t.Error(err)
		}
		if authorization(t, mint(t, v, a.send)) != authorization(t, l) {
			t.Error("a token was dropped before there was another")
		}
	})
}

// The lease of a secret that is worn as it is mints nothing, and an expired one
// does not send the secret.
func TestWhatDoesNotMint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority()
		l := lease(t, open(t, setup(newAccount())), stripeRef)
		if _, err := l.Mint(t.Context(), a.send); l.Mints() || reason(t, err) != vault.NotBound {
			t.Error(err)
		}
		if _, err := new(vault.Lease).Mint(t.Context(), a.send); reason(t, err) != vault.NotBound {
			t.Error(err)
		}
		v, _ := minting(t, clientSecret, oauth())
		l = lease(t, v, stripeRef)
		time.Sleep(time.Minute + 1)
		if _, err := l.Mint(t.Context(), a.send); reason(t, err) != vault.Unavailable {
			t.Error(err)
		}
		if n := len(a.requests()); n != 0 {
			t.Errorf("the secret was sent %d times", n)
		}
	})
}

// Promise 2: neither the token nor the secret comes back through us.
func TestAnEchoOfATokenIsFound(t *testing.T) {
	v, _ := minting(t, clientSecret, oauth())
	bare, l := lease(t, v, stripeRef), mint(t, v, newAuthority().send)
	for _, echo := range []string{"CANARY-token-1", clientSecret} {
		if masked, found := l.Guard().Text("you sent " + echo); !found || strings.Contains(masked, "CANARY") {
			t.Errorf("%s comes back as %q", echo, masked)
		}
	}
	if bare.Guard() != nil {
		t.Error("a lease that wears nothing has a guard")
	}
}

// K08: a note that says where a secret may go has to allow both the token
// endpoint and the place where the token is worn.
func TestTheNoteNarrowsWhereASecretIsExchanged(t *testing.T) {
	for note, ok := range map[string]bool{
		"vaultspan: {hosts: [api.example.com, login.example.com]}": true,
		"vaultspan: {hosts: [api.example.com]}":                    false,
		"vaultspan: {hosts: [login.example.com]}":                  false,
		"vaultspan: {owner: payments}":                             true,
	} {
		_, err := noted(t, note, func(s *vault.Setup) {
			s.Bindings = []vault.Binding{bind(stripeRef)}
			s.Bindings[0].Inject = oauth()
		})
		if (err == nil) != ok {
			t.Errorf("%s: %v", note, err)
		}
	}
}
