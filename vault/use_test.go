package vault_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

// Another access token is used at once, even while a back-off runs; leases go on
// meanwhile, and what only the former account saw is gone when the new one has
// answered.
func TestAnotherSourceTakesOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newAccount(), newAccount()
		v := open(t, setup(a))
		first := lease(t, v, stripeRef).Version()
		a.failWith(&vault.SourceError{Reason: vault.Throttled, Status: 429, RetryAfter: 5 * time.Minute, Err: errThrottled})
		time.Sleep(time.Minute)

		b.put(stripeID, payments, "STRIPE_API_KEY", "CANARY-stripe-2")
		b.remove(wikiID)
		b.gate = make(chan struct{})
		asked, released := a.count(), 0
		v.Use(b, func() { released++ })
		synctest.Wait()
		if released != 1 || b.count() != 1 {
			t.Errorf("the former source was released %d times, the new one asked %d times", released, b.count())
		}
		if got := authorization(t, lease(t, v, stripeRef)); got != "Bearer CANARY-stripe-1" || lease(t, v, stripeRef).Version() != first {
			t.Errorf("while the new source is asked: %q", got)
		}
		close(b.gate)
		synctest.Wait()
		if got := authorization(t, lease(t, v, stripeRef)); got != "Bearer CANARY-stripe-2" {
			t.Errorf("when it has answered: %q", got)
		}
		if got := refused(t, v, wikiRef); got != vault.NoCredential {
			t.Errorf("what the new account does not see: %q", got)
		}
		time.Sleep(10 * time.Minute)
		if a.count() != asked {
			t.Errorf("the former source was asked %d times more", a.count()-asked)
		}
	})
}

// FB07: a new token that is refused, however often, takes nothing that the former
// one brought before max_stale; and one that worked, and then is not welcome any
// more, does.
func TestARefusedSuccessorTakesNothingBeforeMaxStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, bad, good := newAccount(), newAccount(), newAccount()
		v := open(t, setup(a)) // max_stale is 10m
		bad.failWith(&vault.SourceError{Reason: vault.Unauthorized, Status: 400, Err: errors.New("no")})
		v.Use(bad, func() {})
		synctest.Wait()
		time.Sleep(9 * time.Minute)
		if n := bad.count(); n < 4 || n > 6 {
			t.Errorf("a refused account was asked %d times in 9 minutes, want three and then one each 5 minutes", n)
		}
		lease(t, v, stripeRef)
		if s := v.Status(); s.Reason != vault.Unauthorized || !strings.Contains(s.Err.Error(), "took the place of a working one") {
			t.Errorf("status: %+v", s)
		}
		time.Sleep(time.Minute + time.Second)
		if got := refused(t, v, stripeRef); got != vault.Unavailable {
			t.Errorf("after max_stale: %q", got)
		}

		v.Use(good, func() {})
		synctest.Wait()
		lease(t, v, stripeRef)
		if s := v.Status(); s.Err != nil {
			t.Errorf("status: %v", s.Err)
		}
		good.failWith(&vault.SourceError{Reason: vault.Unauthorized, Status: 400, Err: errors.New("no")})
		time.Sleep(40 * time.Second)
		if got := refused(t, v, stripeRef); got != vault.Unavailable {
			t.Errorf("after three refusals of one that worked: %q", got)
		}
	})
}

// Of several that come at once the last is used, and each one before is released,
// also when the vault is closed.
func TestTheLastSourceIsUsedAndEachFormerOneReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		a.gate = make(chan struct{})
		v, err := vault.Open(setup(a))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		skipped, last, late := newAccount(), newAccount(), newAccount()
		var released []string
		v.Use(skipped, func() { released = append(released, "a") })
		v.Use(last, func() { released = append(released, "skipped") })
		synctest.Wait()
		if len(released) > 0 {
			t.Errorf("%q released while one is still asked", released)
		}
		close(a.gate)
		synctest.Wait()
		if strings.Join(released, " ") != "a skipped" || skipped.count() != 0 || last.count() != 1 {
			t.Errorf("released %q, asked %d and %d times", released, skipped.count(), last.count())
		}
		v.Close()
		v.Use(late, func() { released = append(released, "last") })
		if late.count() != 0 {
			t.Error("a closed vault asks")
		}
	})
}
