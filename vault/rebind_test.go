package vault_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

func TestNewlyBoundSecretIsFetchedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		s := setup(a)
		s.Bindings = []vault.Binding{bind(stripeRef)}
		v := open(t, s)
		kept := lease(t, v, stripeRef)
		time.Sleep(time.Second)

		v.Rebind([]vault.Binding{bind(stripeRef), bind(wikiRef)})
		began := time.Now()
		if got := authorization(t, lease(t, v, wikiRef)); got != "Bearer CANARY-wiki-1" || time.Since(began) > 0 {
			t.Errorf("%q after %s", got, time.Since(began))
		}
		if again := lease(t, v, stripeRef); again.Version() != kept.Version() || again.Fetched().TraceID() != kept.Fetched().TraceID() {
			t.Error("what stayed bound was replaced")
		}

		n := a.count()
		v.Rebind([]vault.Binding{bind(stripeRef)})
		if got := refused(t, v, wikiRef); got != vault.NotBound {
			t.Errorf("unbound: %q", got)
		}
		synctest.Wait()
		if a.count() != n {
			t.Error("a reload that binds nothing new asked the secret manager")
		}
		v.Rebind([]vault.Binding{bind(stripeRef), bind(wikiRef)}) // its value was dropped
		lease(t, v, wikiRef)
	})
}

func TestReloadDoesNotShortenABackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		s := setup(a)
		s.Bindings = nil
		v := open(t, s)
		a.failWith(&vault.SourceError{Reason: vault.Throttled, Status: 429, RetryAfter: time.Minute, Err: errThrottled})
		time.Sleep(31 * time.Second)
		n := a.count()
		for range 20 {
			v.Rebind([]vault.Binding{bind(stripeRef)})
			v.Rebind(nil)
			synctest.Wait()
		}
		v.Rebind([]vault.Binding{bind(stripeRef)})
		time.Sleep(25 * time.Second)
		if a.count() != n {
			t.Errorf("%d fetches while told to wait", a.count()-n)
		}
		if got := refused(t, v, stripeRef); got != vault.Unavailable {
			t.Errorf("lease: %q", got)
		}
		a.failWith(nil)
		time.Sleep(60 * time.Second)
		lease(t, v, stripeRef)
	})
}

// A fetch that began before a reload cannot answer for what the reload binds.
func TestReloadDuringAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		a.gate = make(chan struct{})
		s := setup(a)
		s.Bindings = []vault.Binding{bind(stripeRef)}
		v, err := vault.Open(s)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		synctest.Wait()
		v.Rebind([]vault.Binding{bind(wikiRef)})
		close(a.gate)
		if got := authorization(t, lease(t, v, wikiRef)); got != "Bearer CANARY-wiki-1" {
			t.Error(got)
		}
		if s := v.Status(); len(s.Secrets) != 1 || s.Secrets[0].Secret != wikiRef {
			t.Errorf("status: %+v", s)
		}
	})
}

// Q09: leases, reloads, rotations and readers at once; run with -race.
func TestLeasesAreTakenWhileEverythingMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		s := setup(a)
		s.Config.Bitwarden.Refresh = time.Second
		v := open(t, s)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 200 {
					l, err := v.Lease(t.Context(), "r", stripeRef)
					if err != nil {
						t.Error(err)
						return
					}
					r := request(t)
					if err := l.Authorize(r); err != nil || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer CANARY-stripe-") {
						t.Errorf("%v, %v", err, r.Header)
					}
					_, _ = v.Status(), v.Problems()
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		all.Go(func() {
			for i := range 200 {
				v.Rebind([]vault.Binding{bind(stripeRef), bind(wikiRef)}[:1+i%2])
				a.put(stripeID, payments, "STRIPE_API_KEY", "CANARY-stripe-"+strings.Repeat("x", i))
				time.Sleep(100 * time.Millisecond)
			}
		})
		all.Wait()
	})
}

func TestOnChangeHearsOfEachVersionOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		var mu sync.Mutex
		var heard []vault.Change
		s := setup(a)
		s.Bindings = append(s.Bindings, bind("prod/payments/"+stripeID)) // one secret, two names
		s.OnChange = func(c vault.Change) {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, c)
		}
		v := open(t, s)
		take := func() []vault.Change {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			all := heard
			heard = nil
			return all
		}

		if got := take(); len(got) != 2 || got[0].Secret != stripeRef || got[0].Version == "" || got[0].Previous != "" || !got[0].Span.IsValid() {
			t.Fatalf("at first: %v", got)
		}
		first := lease(t, v, stripeRef)
		time.Sleep(time.Minute)
		if got := take(); len(got) != 0 {
			t.Errorf("though nothing moved: %v", got)
		}

		a.put(stripeID, payments, "STRIPE_API_KEY", "CANARY-stripe-2")
		time.Sleep(30 * time.Second)
		got := take()
		if len(got) != 1 || got[0].ID != stripeID || got[0].Previous != first.Version() || got[0].Version != lease(t, v, stripeRef).Version() {
			t.Errorf("rotation: %v", got)
		}
		a.remove(stripeID)
		time.Sleep(30 * time.Second)
		if got := take(); len(got) != 1 || got[0].Version != "" || got[0].Previous == "" {
			t.Errorf("deletion: %v", got)
		}
		a.failWith(unreachable())
		time.Sleep(time.Minute)
		v.Rebind(nil)
		time.Sleep(time.Minute)
		if got := take(); len(got) != 0 {
			t.Errorf("an outage and a reload change no version: %v", got)
		}
	})
}

// Requests of two configurations are under way during a reload: each has the
// destination of its own.
func TestEachGenerationHasItsOwnBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(newAccount())
		was, is, only := bind(stripeRef), bind(stripeRef), bind(wikiRef)
		is.Generation, is.Destination.Host = 1, "api.example.net"
		only.Generation = 1
		s.Bindings = []vault.Binding{was}
		v := open(t, s)
		lease(t, v, stripeRef)
		v.Rebind([]vault.Binding{was, is, only})
		for generation, host := range []string{"api.example.com", "api.example.net"} {
			l, err := v.LeaseOf(t.Context(), uint64(generation), "r", stripeRef)
			if err != nil || l.Destination().Host != host {
				t.Errorf("generation %d: %v, %v", generation, l, err)
			}
		}
		if got := refused(t, v, wikiRef); got != vault.NotBound {
			t.Errorf("a secret of the next configuration: %q", got)
		}
		v.Rebind([]vault.Binding{is, only})
		if got := refused(t, v, stripeRef); got != vault.NotBound {
			t.Errorf("a generation that is over: %q", got)
		}
	})
}
