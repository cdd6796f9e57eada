package vault_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

// C11: a change, a removal, a rename and a move reach a caller's own secret with
// the next refresh, and a value that is no longer used leaves memory.
func TestOwnSecretsFollowRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		people(a, 4)
		var changes []vault.Change
		v := personal(t, a, func(s *vault.Setup) { s.OnChange = func(c vault.Change) { changes = append(changes, c) } })
		old := ownLease(t, v, "p-1")
		for _, name := range []string{"p-2", "p-3", "p-4"} {
			ownLease(t, v, name)
		}
		changes = nil
		time.Sleep(time.Second)
		a.put(personID(1), payments, "p-1", "CANARY-own-new")
		a.remove(personID(2))
		a.put(personID(3), payments, "p-33", "CANARY-own-p-3")
		a.put(personID(4), wiki, "p-4", "CANARY-own-p-4")
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if l := ownLease(t, v, "p-1"); authorization(t, l) != "Bearer CANARY-own-new" || l.Version() == old.Version() {
			t.Errorf("after a change: %v", l)
		}
		for _, name := range []string{"p-2", "p-3", "p-4"} {
			if _, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, name); !errors.Is(err, vault.ErrNobody) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := v.Status().Secrets[2].People; n != 1 || len(changes) != 4 {
			t.Errorf("%d are held, changes %v", n, changes)
		}
		for _, c := range changes {
			if c.ID == personID(1) && (c.Secret != "prod/payments/p-1" || c.Previous != old.Version() || c.Version == "") || c.ID != personID(1) && c.Version != "" {
				t.Errorf("change %v", c)
			}
		}
		// In use, it stays; unused, it goes.
		reads := a.reads
		for range 30 {
			time.Sleep(time.Minute)
			ownLease(t, v, "p-1")
		}
		if a.reads != reads {
			t.Errorf("read again while in use: %d times", a.reads-reads)
		}
		time.Sleep(16 * time.Minute)
		synctest.Wait()
		if n := v.Status().Secrets[2].People; n != 0 {
			t.Errorf("%d are held after sixteen minutes without use", n)
		}
		if ownLease(t, v, "p-1"); a.reads != reads+1 {
			t.Errorf("%d readings after it was dropped", a.reads-reads)
		}
	})
}

// Many who come at once are served by one reading each or one refresh for all.
func TestFirstUsesAreSharedAndBudgeted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		people(a, 300)
		v := personal(t, a)
		ask := func(callers int, name func(int) string) {
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					l, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, name(i))
					if err != nil {
						t.Errorf("%s: %v", name(i), err)
					} else if got := authorization(t, l); got != "Bearer CANARY-own-"+name(i) {
						t.Errorf("%s wears %q", name(i), got)
					}
				})
			}
			all.Wait()
		}
		ask(500, func(int) string { return "p-1" })
		if a.reads != 1 {
			t.Errorf("500 requests of one caller cost %d readings", a.reads)
		}
		fetches := a.count()
		ask(600, func(i int) string { return fmt.Sprintf("p-%d", i/2+1) })
		if a.reads > 10 || a.count()-fetches != 1 {
			t.Errorf("300 callers cost %d readings and %d fetches", a.reads, a.count()-fetches)
		}
	})
}

// Two callers that ask at the same time never get each other's.
func TestOwnSecretsDoNotMix(t *testing.T) {
	a := newAccount()
	people(a, 20)
	v := personal(t, a)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			name := fmt.Sprintf("p-%d", i+1)
			for range 50 {
				l, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, name)
				if err != nil {
					t.Error(err)
					return
				}
				if got := authorization(t, l); got != "Bearer CANARY-own-"+name {
					t.Errorf("%s wears %q", name, got)
				}
			}
		})
	}
	all.Wait()
}

func TestTenThousandCallersAreTheMost(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 10,050 secrets")
	}
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		people(a, 10_050)
		v := personal(t, a)
		ask := func(from, to int) {
			var all sync.WaitGroup
			for i := from; i < to; i++ {
				all.Go(func() {
					if _, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, fmt.Sprintf("p-%d", i+1)); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			time.Sleep(5 * time.Second)
		}
		ask(0, 1000)
		ask(1000, 10_000)
		ask(10_000, 10_050)
		if n := v.Status().Secrets[2].People; n != 10_000 {
			t.Errorf("%d are held", n)
		}
		reads, fetches := a.reads, a.count()
		ask(9000, 10_050) // others made room
		if a.reads != reads || a.count() > fetches+1 {
			t.Errorf("%d readings, %d fetches", a.reads-reads, a.count()-fetches)
		}
	})
}

// A reload keeps the values, and gives them the new binding's place.
func TestAReloadKeepsOwnSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		people(a, 1)
		v := personal(t, a)
		ownLease(t, v, "p-1")
		next := bind(ownRef)
		next.Generation, next.Destination.Host = 1, "other.example.com"
		v.Rebind([]vault.Binding{bind(ownRef), next})
		synctest.Wait()
		reads := a.reads
		l, err := v.LeaseOwnOf(t.Context(), 1, "r", ownRef, "p-1")
		if err != nil || l.Destination().Host != "other.example.com" {
			t.Fatalf("leased %v, %v", l, err)
		}
		if old := ownLease(t, v, "p-1"); old.Destination().Host != "api.example.com" || a.reads != reads {
			t.Errorf("bound to %s, %d readings", old.Destination(), a.reads-reads)
		}
	})
}
