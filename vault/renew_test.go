package vault_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

func TestARefusedVersionIsReadAnewAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		var changes []vault.Change
		s := setup(a)
		s.OnChange = func(c vault.Change) { changes = append(changes, c) }
		v := open(t, s)
		old := lease(t, v, stripeRef)
		synctest.Wait()
		changes = nil
		a.put(stripeID, payments, "STRIPE_API_KEY", "CANARY-stripe-2")

		renewed, err := v.Renew(t.Context(), old)
		if err != nil {
			t.Fatal(err)
		}
		if got := authorization(t, renewed); got != "Bearer CANARY-stripe-2" {
			t.Errorf("the renewed lease wears %q", got)
		}
		if got := authorization(t, old); got != "Bearer CANARY-stripe-1" {
			t.Errorf("the refused lease wears %q: a request must not mix versions", got)
		}
		if renewed.Version() == old.Version() || !renewed.Fetched().IsValid() || renewed.Age() != 0 {
			t.Errorf("renewed %v, fetched by %v, age %v", renewed, renewed.Fetched(), renewed.Age())
		}
		if got := authorization(t, lease(t, v, stripeRef)); got != "Bearer CANARY-stripe-2" {
			t.Errorf("later leases wear %q", got)
		}
		if len(changes) != 1 || changes[0].Previous != old.Version() || changes[0].Version != renewed.Version() {
			t.Errorf("changes %v, want the one", changes)
		}
		// The next refresh reports the same change, and it is none.
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if len(changes) != 1 {
			t.Errorf("changes after the refresh %v", changes)
		}
		if l := lease(t, v, stripeRef); !l.Fetched().Equal(renewed.Fetched()) {
			t.Error("the refresh took the version's span away")
		}
	})
}

// An upstream that refuses everybody costs one reading a second at most, and no
// more than the budget.
func TestRenewalsAreSharedAndBudgeted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		v := open(t, setup(a))
		l := lease(t, v, stripeRef)
		gate := make(chan struct{})
		a.set(func() { a.gate = gate })
		var callers sync.WaitGroup
		for range 500 {
			callers.Go(func() {
				if _, err := v.Renew(t.Context(), l); !errors.Is(err, vault.ErrUnchanged) {
					t.Errorf("renewed what had not changed: %v", err)
				}
			})
		}
		synctest.Wait()
		close(gate)
		callers.Wait()
		if a.reads != 1 {
			t.Fatalf("500 callers cost %d readings, want 1", a.reads)
		}
		if _, err := v.Renew(t.Context(), l); !errors.Is(err, vault.ErrUnchanged) || a.reads != 1 {
			t.Fatalf("asked again at once: %v, %d readings", err, a.reads)
		}
		for range 600 { // ten minutes of refusals
			time.Sleep(time.Second)
			if _, err := v.Renew(t.Context(), l); !errors.Is(err, vault.ErrUnchanged) {
				t.Fatal(err)
			}
		}
		if a.reads < 250 || a.reads > 320 {
			t.Errorf("%d readings in ten minutes, want about 300: one every two seconds", a.reads)
		}
	})
}

// Some upstreams learn of a new credential after the vault does.
func TestTheVersionBeforeIsUsableWhileItOverlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		s := setup(a)
		s.Bindings[0].Overlap = time.Hour // longer than max_stale
		v := open(t, s)
		first := lease(t, v, stripeRef)
		time.Sleep(time.Second)
		a.put(stripeID, payments, "STRIPE_API_KEY", "CANARY-stripe-2")
		time.Sleep(31 * time.Second)
		synctest.Wait()
		second := lease(t, v, stripeRef)
		if authorization(t, second) != "Bearer CANARY-stripe-2" {
			t.Fatal("the new version is not preferred")
		}
		before, err := v.Renew(t.Context(), second)
		if err != nil || authorization(t, before) != "Bearer CANARY-stripe-1" || before.Version() != first.Version() {
			t.Fatalf("the version before: %v, %v", before, err)
		}
		time.Sleep(58 * time.Minute)
		if l, err := v.Renew(t.Context(), second); err != nil || l.Version() != first.Version() {
			t.Errorf("late in the overlap: %v, %v", l, err)
		}
		time.Sleep(2 * time.Minute)
		if l, err := v.Renew(t.Context(), second); !errors.Is(err, vault.ErrUnchanged) {
			t.Errorf("after the overlap: %v, %v", l, err)
		}
		// Not without the operator's word.
		other := lease(t, v, wikiRef)
		a.put(wikiID, wiki, "TOKEN", "CANARY-wiki-2")
		renewed, err := v.Renew(t.Context(), other)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if l, err := v.Renew(t.Context(), renewed); !errors.Is(err, vault.ErrUnchanged) {
			t.Errorf("without overlap: %v, %v", l, err)
		}
	})
}

// A secret manager that hangs costs the caller two seconds, and one reading.
func TestARenewalEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		v := open(t, setup(a))
		l := lease(t, v, stripeRef)
		a.set(func() { a.hang = true })
		began := time.Now()
		if _, err := v.Renew(t.Context(), l); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// What was moved or renamed is not this secret any more until a refresh says so.
func TestARenewalTakesInNothingButTheValue(t *testing.T) {
	for name, change := range map[string]func(*account){
		"moved":   func(a *account) { a.put(stripeID, wiki, "STRIPE_API_KEY", "CANARY-other") },
		"renamed": func(a *account) { a.put(stripeID, payments, "OTHER", "CANARY-other") },
		"gone":    func(a *account) { a.remove(stripeID) },
		"broken":  func(a *account) { a.failWith(&vault.SourceError{Reason: vault.Unusable, Err: errors.New("no")}) },
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount()
			v := open(t, setup(a))
			l := lease(t, v, stripeRef)
			change(a)
			if l, err := v.Renew(t.Context(), l); err == nil {
				t.Errorf("%s: renewed as %v", name, l)
			}
		})
	}
	var zero vault.Lease
	if _, err := open(t, setup(newAccount())).Renew(t.Context(), &zero); err == nil {
		t.Error("the zero lease is renewed")
	}
}
