package vault_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

const ownRef = "prod/payments/{subject}"

func personID(n int) string { return fmt.Sprintf("33333333-0000-4000-8000-%012d", n) }

// people gives n callers a secret each, called p-1 and so on.
func people(a *account, n int) {
	a.change(func() {
		for i := range n {
			name := fmt.Sprintf("p-%d", i+1)
			a.secrets = append(a.secrets, secret{personID(i + 1), payments, name, func() string { return "CANARY-own-" + name }, time.Now(), ""})
		}
	})
}

// personal is a vault that binds callers' own secrets beside the others.
func personal(t *testing.T, a *account, change ...func(*vault.Setup)) *vault.Vault {
	t.Helper()
	s := setup(a)
	s.Bindings = append(s.Bindings, bind(ownRef))
	for _, f := range change {
		f(&s)
	}
	return open(t, s)
}

func ownLease(t *testing.T, v *vault.Vault, name string) *vault.Lease {
	t.Helper()
	l, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestACallersOwnSecretIsFetchedOnFirstUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		people(a, 2)
		v := personal(t, a)
		if a.fetched[personID(1)] != 0 {
			t.Error("a value that nobody asked for was fetched")
		}
		for range 3 {
			if got := authorization(t, ownLease(t, v, "p-1")); got != "Bearer CANARY-own-p-1" {
				t.Errorf("wearing %q", got)
			}
		}
		if a.reads != 1 || a.fetched[personID(2)] != 0 {
			t.Errorf("%d readings, of another's secret %d", a.reads, a.fetched[personID(2)])
		}
		l := ownLease(t, v, "p-1")
		if l.Secret() != "prod/payments/p-1" || l.Name() != "{subject}" || l.ID() != personID(1) || l.Collection() != "prod/payments" {
			t.Errorf("leased %s, %s, %s", l.Secret(), l.Name(), l.ID())
		}
		// A refresh that found nothing new confirms it, and asks for no value.
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if l := ownLease(t, v, "p-1"); l.Age() > 10*time.Second || a.reads != 1 || a.fetched[personID(1)] != 1 {
			t.Errorf("age %s, %d readings, fetched %d times", l.Age(), a.reads, a.fetched[personID(1)])
		}
		if _, err := v.Lease(t.Context(), "r", ownRef); err == nil {
			t.Error("the template itself was leased")
		}
		if _, err := v.LeaseOwnOf(t.Context(), 0, "r", stripeRef, "p-1"); reason(t, err) != vault.NotBound {
			t.Errorf("a shared secret as a caller's own: %v", err)
		}
		if _, err := v.LeaseOwnOf(t.Context(), 1, "r", ownRef, "p-1"); reason(t, err) != vault.NotBound {
			t.Errorf("of another generation: %v", err)
		}
	})
}

// Names are compared exactly; nothing a token says selects by id, by case,
// or in another collection.
func TestOwnNamesAreMatchedExactly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		people(a, 1)
		a.put("44444444-0000-4000-8000-000000000001", wiki, "p-2", "CANARY-own-elsewhere")
		a.put("44444444-0000-4000-8000-000000000002", "", "p-3", "CANARY-own-loose")
		a.put("44444444-0000-4000-8000-000000000003", payments, "twice", "CANARY-own-1")
		a.put("44444444-0000-4000-8000-000000000004", payments, "twice", "CANARY-own-2")
		v := personal(t, a)
		for _, name := range []string{personID(1), stripeID, strings.ToUpper(stripeID), "P-1", "p-1 ", "p-10", "p-", "", "p-2", "p-3", "{subject}", "..", "prod/payments/p-1"} {
			_, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, name)
			if err == nil || reason(t, err) != vault.NoCredential || !errors.Is(err, vault.ErrNobody) {
				t.Errorf("%q: %v", name, err)
			}
			if name != "" && strings.Contains(err.Error(), name) && name != "{subject}" && name != "p-" {
				t.Errorf("the error names the caller: %v", err)
			}
		}
		if _, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, "twice"); reason(t, err) != vault.NoCredential || errors.Is(err, vault.ErrNobody) {
			t.Errorf("a name of two secrets: %v", err)
		}
		if a.reads != 0 {
			t.Errorf("%d readings", a.reads)
		}
	})
}

// A caller without a secret costs no request, closes nothing and is no error of
// the operator's; one that is made for it is found within refresh.
func TestACallerWithoutASecretIsAloneWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		people(a, 1)
		var log strings.Builder
		v := personal(t, a, func(s *vault.Setup) {
			s.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		})
		for range 1000 {
			if _, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, "p-9"); !errors.Is(err, vault.ErrNobody) {
				t.Fatal(err)
			}
		}
		if a.reads != 0 || a.count() != 1 || log.Len() > 0 {
			t.Errorf("%d readings, %d fetches, logged %s", a.reads, a.count(), log.String())
		}
		if err := v.Ready(ownRef); err != nil || len(v.Problems()) != 0 {
			t.Errorf("the binding is closed: %v, %v", err, v.Problems())
		}
		ownLease(t, v, "p-1")
		time.Sleep(time.Second)
		a.put(personID(9), payments, "p-9", "CANARY-own-p-9")
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if got := authorization(t, ownLease(t, v, "p-9")); got != "Bearer CANARY-own-p-9" {
			t.Errorf("wearing %q", got)
		}
	})
}

func TestAMissingCollectionClosesTheTemplate(t *testing.T) {
	a := newAccount()
	const lost = "prod/paymets/{subject}"
	v := personal(t, a, func(s *vault.Setup) { s.Bindings = append(s.Bindings, bind(lost)) })
	_, err := v.LeaseOwnOf(t.Context(), 0, "r", lost, "p-1")
	if reason(t, err) != vault.NoCredential || errors.Is(err, vault.ErrNobody) {
		t.Errorf("got %v", err)
	}
	if p := v.Problems(); len(p) != 1 || !strings.Contains(p[0].Text, `did you mean "payments"?`) {
		t.Errorf("problems %v", p)
	}
}

// What an outage does to shared secrets it does to callers' own.
func TestOwnSecretsInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		people(a, 2)
		v := personal(t, a)
		ownLease(t, v, "p-1")
		a.failWith(unreachable())
		if _, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, "p-2"); reason(t, err) != vault.Unavailable {
			t.Errorf("never fetched: %v", err)
		}
		time.Sleep(5 * time.Minute)
		if l := ownLease(t, v, "p-1"); !l.Stale() {
			t.Error("not stale after five minutes")
		}
		time.Sleep(6 * time.Minute)
		for _, name := range []string{"p-1", "p-9"} {
			if _, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, name); reason(t, err) != vault.Unavailable {
				t.Errorf("%s after eleven minutes: %v", name, err)
			}
		}
		a.failWith(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		ownLease(t, v, "p-1")
		ownLease(t, v, "p-2")
		// An account that is not welcome any more takes all of them along.
		a.failWith(&vault.SourceError{Reason: vault.Unauthorized, Status: 400, Err: errors.New("revoked")})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if _, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, "p-1"); reason(t, err) != vault.Unavailable {
			t.Errorf("after a revocation: %v", err)
		}
	})
}

// A secret manager that hangs holds a caller for two seconds, and nobody else.
func TestASlowFirstUseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		people(a, 2)
		v := personal(t, a)
		ownLease(t, v, "p-1")
		a.set(func() { a.hang = true })
		began := time.Now()
		if _, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, "p-2"); reason(t, err) != vault.Unavailable || time.Since(began) != 2*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		ownLease(t, v, "p-1")
		lease(t, v, stripeRef)
		a.set(func() { a.hang = false })
	})
}

func TestOwnSecretsAreRenewedAndOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		people(a, 2)
		v := personal(t, a, func(s *vault.Setup) { s.Bindings[2].Overlap = time.Minute })
		first := ownLease(t, v, "p-1")
		time.Sleep(2 * time.Second)
		if _, err := v.Renew(t.Context(), first); !errors.Is(err, vault.ErrUnchanged) {
			t.Errorf("nothing changed: %v", err)
		}
		time.Sleep(2 * time.Second)
		a.put(personID(1), payments, "p-1", "CANARY-own-new")
		second, err := v.Renew(t.Context(), first)
		if err != nil || authorization(t, second) != "Bearer CANARY-own-new" || second.Secret() != "prod/payments/p-1" {
			t.Fatalf("renewed %v, %v", second, err)
		}
		before, err := v.Renew(t.Context(), second)
		if err != nil || authorization(t, before) != "Bearer CANARY-own-p-1" {
			t.Errorf("the version before: %v, %v", before, err)
		}
		a.remove(personID(1))
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if _, err := v.Renew(t.Context(), second); err == nil {
			t.Errorf("a secret that is gone: %v", err)
		}
	})
}

// A value that its place cannot carry is refused for its caller alone.
func TestAnUnfitOwnValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		people(a, 1)
		a.put(personID(2), payments, "p-2", "CANARY\nnewline")
		a.put(personID(3), payments, "p-3", "CANARY-own-3")
		v := personal(t, a)
		_, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, "p-2")
		if reason(t, err) != vault.NoCredential || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("got %v", err)
		}
		ownLease(t, v, "p-1")
	})
}

// The note of a caller's own secret narrows its use, and the vault's rules are
// followed: what they close is closed for that caller alone, and at once.
func TestNotesAndRulesHoldForOwnSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		people(a, 3)
		a.annotate(personID(1), "vaultspan: {hosts: [elsewhere.example.com]}")
		a.annotate(personID(2), "vaultspan: {hosts: ["+bind(ownRef).Destination.Host+"], max_age: 1h}")
		v := personal(t, a)
		closed := func(name, why string) {
			t.Helper()
			_, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, name)
			if reason(t, err) != vault.NoCredential || errors.Is(err, vault.ErrNobody) || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v", name, err)
			}
		}
		closed("p-1", "does not let it go to")
		if l := ownLease(t, v, "p-2"); l.Guard() == nil {
			t.Error("a caller's own secret is not guarded")
		}
		ownLease(t, v, "p-3")
		rules := setup(a).Config
		rules.RequireBinding = true
		v.Govern(rules)
		closed("p-3", "require_binding")
		ownLease(t, v, "p-2")
		time.Sleep(2 * time.Hour)
		closed("p-2", "older than max_age")
	})
}

// A connection or a token is not one caller's: neither is made of a secret of its
// own, even where nobody has checked the configuration.
func TestOwnSecretsAreWornOnRequestsOnly(t *testing.T) {
	a := newAccount()
	people(a, 1)
	for _, inject := range []vault.Injection{vault.MTLS(), oauth(), app()} {
		v := personal(t, a, func(s *vault.Setup) {
			one := bind(ownRef)
			one.Inject = inject
			s.Bindings = []vault.Binding{one}
		})
		if _, err := v.LeaseOwnOf(t.Context(), 0, "r", ownRef, "p-1"); reason(t, err) != vault.NoCredential || !strings.Contains(err.Error(), "same for all callers") {
			t.Errorf("%v: %v", inject, err)
		}
	}
}
