package vault_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/vaultspan/vaultspan/vault"
)

func unreachable() error {
	return &vault.SourceError{Reason: vault.Unreachable, Err: errors.New("connection refused")}
}

func TestRotationIsServedWithinRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		v := open(t, setup(a))
		before := lease(t, v, stripeRef)

		time.Sleep(12 * time.Second)
		a.put(stripeID, payments, "STRIPE_API_KEY", "CANARY-stripe-2")
		time.Sleep(30 * time.Second)

		after := lease(t, v, stripeRef)
		if got := authorization(t, after); got != "Bearer CANARY-stripe-2" {
			t.Errorf("after a refresh interval the upstream gets %q", got)
		}
		if after.Version() == before.Version() || after.Fingerprint() == before.Fingerprint() {
			t.Errorf("version %s → %s: a rotation must show", before.Version(), after.Version())
		}
		if after.Fetched().TraceID() == before.Fetched().TraceID() {
			t.Error("the new version names the fetch of the old one")
		}
	})
}

// A lease holds one version end to end: FB12.
func TestRotationDuringARequestDoesNotTouchIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		v := open(t, setup(a))
		during, version := lease(t, v, stripeRef), lease(t, v, stripeRef).Version()
		a.put(stripeID, payments, "STRIPE_API_KEY", "CANARY-stripe-2")
		time.Sleep(31 * time.Second)
		if got := authorization(t, during); got != "Bearer CANARY-stripe-1" {
			t.Errorf("the lease taken before gives %q", got)
		}
		if during.Version() != version {
			t.Errorf("its version moved from %s to %s", version, during.Version())
		}
	})
}

func TestRenameIsANewVersionOfTheSameValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		s := setup(a)
		s.Bindings = []vault.Binding{bind("prod/payments/" + stripeID)}
		v := open(t, s)
		before := lease(t, v, s.Bindings[0].Secret)
		time.Sleep(time.Second)
		a.put(stripeID, payments, "STRIPE_LIVE_KEY", "CANARY-stripe-1")
		time.Sleep(30 * time.Second)
		after := lease(t, v, s.Bindings[0].Secret)
		if after.Version() == before.Version() {
			t.Error("the revision date moved, the version did not")
		}
		if after.Fingerprint() != before.Fingerprint() {
			t.Error("the value stayed, the fingerprint did not")
		}
	})
}

func TestUnchangedVersionKeepsTheSpanThatFetchedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		v := open(t, setup(a))
		before := lease(t, v, stripeRef)
		a.put(wikiID, wiki, "TOKEN", "CANARY-wiki-2") // a full fetch, for another reason
		time.Sleep(31 * time.Second)
		if after := lease(t, v, stripeRef); after.Fetched().TraceID() != before.Fetched().TraceID() {
			t.Error("a version nobody touched names a later fetch")
		}
	})
}

func TestStaleIsMarkedThenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		v := open(t, setup(a))
		good := time.Now()
		a.failWith(unreachable())

		time.Sleep(time.Until(good.Add(59 * time.Second)))
		if l := lease(t, v, stripeRef); l.Stale() {
			t.Errorf("stale after %s: want only past two refresh intervals", l.Age())
		}
		time.Sleep(time.Until(good.Add(61 * time.Second)))
		if l := lease(t, v, stripeRef); !l.Stale() || l.Age() < time.Minute {
			t.Errorf("after two refresh intervals: stale %v, age %s", l.Stale(), l.Age())
		}
		time.Sleep(time.Until(good.Add(10 * time.Minute)))
		last := lease(t, v, stripeRef)
		if err := v.Ready(stripeRef); err != nil {
			t.Errorf("at max_stale: %v", err)
		}
		time.Sleep(time.Second)
		if got := refused(t, v, stripeRef); got != vault.Unavailable {
			t.Errorf("past max_stale: %q", got)
		}
		if err := last.Authorize(request(t)); err == nil {
			t.Error("a lease outlived max_stale")
		}
		if err := v.Ready(stripeRef); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("Ready past max_stale says %v, not why", err)
		}

		a.failWith(nil)
		time.Sleep(30 * time.Second)
		if l := lease(t, v, stripeRef); l.Stale() {
			t.Error("stale after the secret manager came back")
		}
	})
}

// FB09 (and I27): what a good refresh no longer shows is gone at once, the rest is served.
func TestWhatIsGoneIsDroppedWithinRefresh(t *testing.T) {
	for _, test := range []struct {
		id, name string
		take     func(*account)
	}{
		{"FB09", "secret deleted", func(a *account) { a.remove(stripeID) }},
		{"FB09", "project no longer visible", func(a *account) {
			a.remove(stripeID)
			a.change(func() { delete(a.projects, payments) })
		}},
		{"I27", "collection renamed", func(a *account) { a.change(func() { a.projects[payments] = "payments-old" }) }},
		{"I27", "secret moved to another collection", func(a *account) { a.put(stripeID, wiki, "STRIPE_API_KEY", "CANARY-stripe-1") }},
		{"I27", "secret taken out of every collection", func(a *account) { a.put(stripeID, "", "STRIPE_API_KEY", "CANARY-stripe-1") }},
		{"J11", "secret emptied", func(a *account) { a.put(stripeID, payments, "STRIPE_API_KEY", "") }},
	} {
		t.Run(test.id+" "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount()
				v := open(t, setup(a))
				lease(t, v, stripeRef)
				time.Sleep(time.Second)
				test.take(a)
				time.Sleep(30 * time.Second)
				if got := refused(t, v, stripeRef); got != vault.NoCredential {
					t.Errorf("lease: %q", got)
				}
				if err := v.Ready(stripeRef); err == nil {
					t.Error("ready")
				}
				if len(v.Problems()) != 1 {
					t.Errorf("problems: %v", v.Problems())
				}
				lease(t, v, wikiRef)
			})
		})
	}
}

// FB10: a secret that is there but cannot be read keeps its last value, by its own clock.
func TestAnUnreadableSecretAgesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		v := open(t, setup(a))
		time.Sleep(time.Second)
		a.change(func() { a.broken[stripeID] = errors.New("cannot be decrypted") })
		time.Sleep(5 * time.Minute)
		if l := lease(t, v, stripeRef); !l.Stale() {
			t.Error("served for minutes without confirmation, and not stale")
		}
		if l := lease(t, v, wikiRef); l.Stale() {
			t.Error("its neighbour is stale too")
		}
		time.Sleep(6 * time.Minute)
		if got := refused(t, v, stripeRef); got != vault.Unavailable {
			t.Errorf("past max_stale: %q", got)
		}
		lease(t, v, wikiRef)
		a.set(func() { clear(a.broken) }) // nothing moved: only a full fetch finds out
		time.Sleep(31 * time.Second)
		if l := lease(t, v, stripeRef); l.Stale() {
			t.Error("stale though readable again")
		}
	})
}

// FB10 at the first fetch: there is no last value.
func TestAnUnreadableSecretWithoutALastValueIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		a.broken[stripeID] = errors.New("cannot be decrypted")
		s := setup(a)
		byID := "prod/payments/" + stripeID
		s.Bindings = append(s.Bindings, bind(byID))
		v := open(t, s)
		if got := refused(t, v, byID); got != vault.Unavailable {
			t.Errorf("lease: %q", got)
		}
		lease(t, v, wikiRef)
	})
}

func TestFailuresBackOffAndHonourRetryAfter(t *testing.T) {
	for _, test := range []struct {
		id, name    string
		fail        error
		within      time.Duration
		most, least int
		gap         time.Duration // the least between two fetches, but for the first
	}{
		{"FB03", "unreachable", unreachable(), 5 * time.Minute, 20, 10, 800 * time.Millisecond},
		{"FB05", "throttled for a minute", &vault.SourceError{Reason: vault.Throttled, RetryAfter: time.Minute, Err: errors.New("slow down")}, 5 * time.Minute, 5, 4, time.Minute},
		{"FB05", "throttled for a year", &vault.SourceError{Reason: vault.Throttled, RetryAfter: 365 * 24 * time.Hour, Err: errors.New("slow down")}, time.Hour, 4, 3, 15 * time.Minute},
		{"FB07", "account revoked", &vault.SourceError{Reason: vault.Unauthorized, Status: 401, Err: errors.New("invalid client")}, 4 * time.Minute, 3, 3, 800 * time.Millisecond},
		{"FB07", "account revoked, for an hour", &vault.SourceError{Reason: vault.Unauthorized, Status: 401, Err: errors.New("invalid client")}, time.Hour, 19, 14, 800 * time.Millisecond},
		{"FB15", "an error of no class", errors.New("?"), time.Minute, 10, 4, 800 * time.Millisecond},
	} {
		t.Run(test.id+" "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount()
				a.failWith(test.fail)
				v := open(t, setup(a))
				time.Sleep(test.within)
				times := a.times()
				if n := len(times); n < test.least || n > test.most {
					t.Errorf("%d fetches in %s, want %d to %d", n, test.within, test.least, test.most)
				}
				for i := range len(times) - 1 {
					if gap := times[i+1].Sub(times[i]); gap < test.gap {
						t.Errorf("fetch %d came %s after the one before, want %s", i+2, gap, test.gap)
					}
				}
				if got := refused(t, v, stripeRef); got != vault.Unavailable {
					t.Errorf("lease: %q", got)
				}
			})
		})
	}
}

// Promise 8: max_stale is for a secret manager that cannot be reached. One
// that says three times that the account is not welcome is obeyed.
func TestAccountThatIsNotWelcomeLosesItsValues(t *testing.T) {
	for _, why := range []vault.Reason{vault.Unauthorized, vault.Forbidden} {
		t.Run("FB07 "+string(why), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount()
				v := open(t, setup(a))
				a.failWith(&vault.SourceError{Reason: why, Status: 403, Err: errors.New("no")})
				for n := a.count(); a.count() == n; {
					time.Sleep(100 * time.Millisecond)
				}
				lease(t, v, stripeRef) // one answer may be a mistake
				time.Sleep(5 * time.Second)
				if got := refused(t, v, stripeRef); got != vault.Unavailable {
					t.Errorf("after three refusals: %q", got)
				}
				if s := v.Status(); s.Reason != why || s.Secrets[0].Version != "" {
					t.Errorf("status: %+v", s)
				}
				a.failWith(nil)
				time.Sleep(5 * time.Minute)
				lease(t, v, stripeRef)
			})
		})
	}
}

// FB03: a secret manager that never answers costs one fetch at a time, each
// bounded.
func TestHangIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		v := open(t, setup(a))
		a.set(func() { a.hang = true })
		time.Sleep(time.Hour)
		for i, times := 1, a.times(); i < len(times)-1; i++ {
			if gap := times[i+1].Sub(times[i]); gap < 10*time.Second {
				t.Errorf("fetch %d began %s after the one before: two at a time", i+2, gap)
			}
		}
		a.set(func() { a.hang = false })
		time.Sleep(41 * time.Second)
		if l := lease(t, v, stripeRef); l.Stale() {
			t.Error("stale though the secret manager answers again")
		}
	})
}

func TestLeaseWaitsForTheFirstFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		a.gate = make(chan struct{})
		v, err := vault.Open(setup(a))
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()

		began := time.Now()
		if got := refused(t, v, stripeRef); got != vault.Unavailable || time.Since(began) != 2*time.Second {
			t.Errorf("without an answer: %q after %s", got, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began = time.Now()
		if _, err := v.Lease(ctx, "r", stripeRef); err == nil || time.Since(began) != 100*time.Millisecond {
			t.Errorf("within a context: %v after %s", err, time.Since(began))
		}

		time.AfterFunc(time.Second, func() { close(a.gate) })
		began = time.Now()
		lease(t, v, stripeRef)
		if time.Since(began) != time.Second {
			t.Errorf("leased after %s", time.Since(began))
		}
	})
}

func TestAFailedFirstFetchIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		a.failWith(unreachable())
		v := open(t, setup(a))
		if v.Wait(t.Context()) == nil {
			t.Error("Wait hides the failure")
		}
		began := time.Now()
		if got := refused(t, v, stripeRef); got != vault.Unavailable || time.Since(began) > 0 {
			t.Errorf("%q after %s", got, time.Since(began))
		}
		if s := v.Status(); s.Reason != vault.Unreachable || !s.Stale || !s.Refreshed.IsZero() {
			t.Errorf("status: %+v", s)
		}
		if len(v.Problems()) != 0 {
			t.Errorf("an outage is no problem of a binding: %v", v.Problems())
		}
		a.failWith(nil)
		time.Sleep(10 * time.Second)
		lease(t, v, stripeRef)
	})
}

// FK10: what a source panics with is neither fatal nor quoted.
func TestSourceThatPanicsHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(nil)
		s.Source = panics{}
		v := open(t, s)
		err := v.Wait(t.Context())
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("err = %v", err)
		}
		if got := refused(t, v, stripeRef); got != vault.Unavailable {
			t.Errorf("lease: %q", got)
		}
	})
}

type panics struct{}

func (panics) Fetch(context.Context, time.Time, func(vault.Ref) bool) (vault.Snapshot, error) {
	panic("CANARY-in-a-panic")
}

func (panics) Read(context.Context, string) (vault.Secret, trace.SpanContext, error) {
	panic("CANARY-in-a-panic")
}

func TestCloseStopsRefreshing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		v := open(t, setup(a))
		a.set(func() { a.hang = true })
		time.Sleep(31 * time.Second) // a fetch is under way
		v.Close()
		n := a.count()
		lease(t, v, stripeRef) // requests that began end well
		time.Sleep(time.Hour)
		if a.count() != n {
			t.Error("fetched after Close")
		}
		if got := refused(t, v, stripeRef); got != vault.Unavailable {
			t.Errorf("an hour later: %q", got)
		}
	})
}
