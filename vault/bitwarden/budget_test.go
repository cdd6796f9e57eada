package bitwarden

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

func TestBudgetStaysBelowWhatBitwardenAllows(t *testing.T) {
	for _, test := range []struct {
		name     string
		spending spending
		within   time.Duration
		most     int
	}{
		{"GET a minute", get, time.Minute, 120},
		{"POST a minute", post, time.Minute, 40},
		{"POST a second", post, time.Second, 5},
		{"logins a minute", login, time.Minute, 8},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := new(Budgets).of(&url.URL{Host: "api.example.com"})
			var spent []time.Time
			for begun := time.Now(); time.Since(begun) < 5*time.Minute; {
				if failure := b.spend(t.Context(), test.spending); failure != nil {
					t.Fatal(failure)
				}
				spent = append(spent, time.Now())
			}
			for i := range spent {
				n := 0
				for _, at := range spent[i:] {
					if at.Sub(spent[i]) < test.within {
						n++
					}
				}
				if n > test.most {
					t.Fatalf("%s: %d, want %d at most", test.name, n, test.most)
				}
			}
		})
	}
}

func TestBudgetDoesNotWaitPastTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(Budgets).of(&url.URL{Host: "api.example.com"})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		for range 20 {
			if failure := b.spend(ctx, login); failure != nil {
				if failure.Reason != vault.Throttled || failure.RetryAfter < 5*time.Second || time.Since(begun) != 0 {
					t.Errorf("%+v after %s, want Throttled at once", failure, time.Since(begun))
				}
				return
			}
		}
		t.Error("20 logins at once")
	})
}

func TestSilenceIsBounded(t *testing.T) {
	in := func(d time.Duration) func() string {
		return func() string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	}
	says := func(text string) func() string { return func() string { return text } }
	for _, test := range []struct {
		header func() string
		want   time.Duration
	}{
		{says(""), defaultSilence},
		{says("soon"), defaultSilence},
		{says("-1"), defaultSilence},
		{says("0"), time.Second},
		{says("7"), 7 * time.Second},
		{says("99999"), maxSilence},
		{says("99999999999999999999"), defaultSilence},
		{in(time.Minute), time.Minute},
		{in(-time.Minute), time.Second},
		{in(100 * 365 * 24 * time.Hour), maxSilence},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := new(Budgets).of(&url.URL{Host: "api.example.com"})
			header := test.header()
			if got := b.silence(header); got != test.want {
				t.Errorf("Retry-After: %q: %s, want %s", header, got, test.want)
			}
			if failure := b.spend(t.Context(), get); failure == nil || failure.Reason != vault.Throttled {
				t.Errorf("Retry-After: %q: a request goes out", header)
			}
			time.Sleep(test.want)
			if failure := b.spend(t.Context(), get); failure != nil {
				t.Errorf("Retry-After: %q: after the wait: %v", header, failure)
			}
		})
	}
}

func TestVaultsOfOneServerShareItsBudget(t *testing.T) {
	var b Budgets
	at := func(host string) *budget { return b.of(&url.URL{Host: host}) }
	if at("api.example.com") != at("API.example.com") || at("api.example.com") == at("api.example.com:8443") {
		t.Error("a budget is for one server address")
	}
}
