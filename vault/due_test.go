package vault_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/vaultspan/vaultspan/telemetry/attr"
	"github.com/vaultspan/vaultspan/vault"
)

const day = 24 * time.Hour

// seldom is a vault that refreshes every six hours, so that tests of days take
// no time.
func seldom(a *account) vault.Setup {
	s := setup(a)
	s.Config.Bitwarden.Refresh, s.Config.Bitwarden.MaxStale = 6*time.Hour, 12*time.Hour
	return s
}

// aged is a vault whose Stripe secret may get this old.
func aged(t *testing.T, a *account, age string, of string, log *bytes.Buffer) *vault.Vault {
	t.Helper()
	var m vault.MaxAge
	if err := m.UnmarshalText([]byte(age)); err != nil {
		t.Fatal(err)
	}
	s := seldom(a)
	s.Config.MaxAge = map[string]vault.MaxAge{of: m}
	s.Logger = slog.New(slog.NewTextHandler(log, nil))
	return open(t, s)
}

// max_age warns, then marks, then refuses, each at its instant and without a
// refresh; the log says each once; a rotation begins anew.
func TestAnOldValueIsWarnedOfThenMarkedThenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		var log bytes.Buffer
		v := aged(t, a, "10d", "payments", &log)
		if l := lease(t, v, stripeRef); l.Stale() || v.Status().Secrets[0].Due != vault.NotDue {
			t.Error("a fresh value is stale or due")
		}
		time.Sleep(8*day + time.Minute)
		if l, due := lease(t, v, stripeRef), v.Status().Secrets[0].Due; l.Stale() || due != vault.DueSoon {
			t.Errorf("past warn: stale %t, due %v", l.Stale(), due)
		}
		time.Sleep(day)
		l := lease(t, v, stripeRef)
		if one := v.Status().Secrets[0]; !l.Stale() || l.Staleness() != vault.Old || !one.Stale || one.Staleness != vault.Old || one.Due != vault.Overdue {
			t.Errorf("past stale: %q %+v", l.Staleness(), one)
		}
		if other := lease(t, v, wikiRef); other.Stale() {
			t.Error("a secret of another collection is stale")
		}
		time.Sleep(day - time.Minute) // to the instant
		late, err := v.Lease(t.Context(), "r", stripeRef)
		if err == nil || reason(t, err) != vault.NoCredential || !strings.Contains(err.Error(), "its value is older than max_age (10d): rotate it") {
			t.Errorf("past refuse: %v, %v", late, err)
		}
		if v.Ready(stripeRef) == nil || len(v.Problems()) != 1 {
			t.Errorf("ready: %v; problems: %v", v.Ready(stripeRef), v.Problems())
		}
		time.Sleep(6 * time.Hour) // the log is told by the next refresh
		a.put(stripeID, payments, "STRIPE_API_KEY", "CANARY-stripe-2")
		time.Sleep(6 * time.Hour)
		if l := lease(t, v, stripeRef); l.Stale() {
			t.Error("a rotated value is stale")
		}
		v.Close()
		var got []string
		for line := range strings.Lines(log.String()) {
			_, rest, _ := strings.Cut(line, "msg=")
			if strings.Contains(rest, "STRIPE") {
				got = append(got, rest[:min(len(rest), 30)])
			}
		}
		if len(got) != 4 || !strings.Contains(got[0], "is due for rotation") || !strings.Contains(got[1], "is overdue") ||
			!strings.Contains(got[2], "refused") || !strings.Contains(got[3], "no longer due") || strings.Contains(log.String(), "CANARY") {
			t.Errorf("log:\n%s", log.String())
		}
	})
}

// A lease that was given before the limit ends at the limit.
func TestALeaseEndsWhereItsValueDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := aged(t, newAccount(), "1h", "payments/STRIPE_API_KEY", new(bytes.Buffer))
		time.Sleep(time.Hour - 10*time.Second)
		l := lease(t, v, stripeRef)
		authorization(t, l)
		time.Sleep(11 * time.Second)
		if err := l.Authorize(request(t)); err == nil {
			t.Error("a lease outlives its value")
		}
	})
}

// The revision date moves on renames and when a note is edited: the value is as
// old as it was.
func TestARenameDoesNotMakeAValueYounger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		v := aged(t, a, "4d", "payments", new(bytes.Buffer))
		changed := v.Status().Secrets[0].Changed
		time.Sleep(3 * day)
		a.annotate(stripeID, "asked for a new one")
		time.Sleep(7 * time.Hour)
		if one := v.Status().Secrets[0]; !one.Changed.Equal(changed) || one.Revised.Equal(changed) || one.Due != vault.DueSoon {
			t.Errorf("after a note: %+v", one)
		}
		time.Sleep(18 * time.Hour)
		if got := refused(t, v, stripeRef); got != vault.NoCredential {
			t.Errorf("four days after the value changed: %q", got)
		}
	})
}

// The narrower of the configuration's and the note's max_age counts, and what is
// said of a secret stands in place of what is said of its collection, by the name
// that a route writes and by the id alike.
func TestWhichMaxAgeCounts(t *testing.T) {
	hours := func(n time.Duration) vault.MaxAge { return vault.MaxAge{Refuse: n * time.Hour} }
	for _, c := range []struct {
		config map[string]vault.MaxAge
		note   string
		want   time.Duration // zero: any age
	}{
		{nil, "", 0},
		{nil, "vaultspan: {max_age: 5h}", 5 * time.Hour},
		{map[string]vault.MaxAge{"payments": hours(3)}, "", 3 * time.Hour},
		{map[string]vault.MaxAge{"payments": hours(3)}, "vaultspan: {max_age: 5h}", 3 * time.Hour},
		{map[string]vault.MaxAge{"payments": hours(7)}, "vaultspan: {max_age: 5h}", 5 * time.Hour},
		{map[string]vault.MaxAge{"payments": hours(3), "payments/STRIPE_API_KEY": hours(9)}, "", 9 * time.Hour},
		{map[string]vault.MaxAge{"payments": hours(3), "payments/" + stripeID: hours(9)}, "", 9 * time.Hour},
		{map[string]vault.MaxAge{"payments/STRIPE_API_KEY": hours(9), "payments/" + stripeID: hours(4)}, "", 4 * time.Hour},
		{map[string]vault.MaxAge{"wiki": hours(3), "payments/TOKEN": hours(3)}, "", 0},
		{map[string]vault.MaxAge{"payments": {Warn: time.Hour}}, "vaultspan: {max_age: 5h}", 5 * time.Hour},
	} {
		v, err := noted(t, c.note, func(s *vault.Setup) {
			s.Config.MaxAge = c.config
			s.Bindings = append(s.Bindings, bind("prod/payments/"+stripeID))
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range v.Status().Secrets {
			if one.ID == stripeID && one.MaxAge.Refuse != c.want {
				t.Errorf("%v and %q: %s may be %s old, want %s", c.config, c.note, one.Secret, one.MaxAge.Refuse, c.want)
			}
		}
	}
}

// expires is the beginning of a day in UTC, or an instant; 14 days before, the
// secret is due.
func TestASecretExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight UTC, 2000-01-01
		a := newAccount()
		a.annotate(stripeID, "vaultspan: {expires: 2000-01-31}")
		a.annotate(wikiID, "vaultspan: {expires: 2000-01-31T12:00:00+02:00}")
		v := open(t, seldom(a))
		for _, step := range []struct {
			after        time.Duration
			stripe, wiki vault.Due
		}{
			{15*day + 23*time.Hour, vault.NotDue, vault.NotDue},
			{16 * day, vault.DueSoon, vault.NotDue},
			{16*day + 10*time.Hour, vault.DueSoon, vault.DueSoon},
			{30*day - time.Second, vault.DueSoon, vault.DueSoon},
			{30 * day, vault.TooLate, vault.DueSoon},
			{30*day + 10*time.Hour, vault.TooLate, vault.TooLate},
		} {
			time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(step.after)))
			if s := v.Status().Secrets; s[0].Due != step.stripe || s[1].Due != step.wiki {
				t.Errorf("after %s: %v and %v, want %v and %v", step.after, s[0].Due, s[1].Due, step.stripe, step.wiki)
			}
		}
		_, err := v.Lease(t.Context(), "r", wikiRef)
		if err == nil || !strings.Contains(err.Error(), "expired at 2000-01-31T10:00:00Z") || reason(t, err) != vault.NoCredential {
			t.Errorf("expired: %v", err)
		}
	})
}

// P17: by id, never by name or owner.
func TestMetricsOfAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		a := newAccount()
		a.annotate(stripeID, "vaultspan: {expires: 2000-01-31, max_age: 40d, owner: CANARY-owner}")
		s := seldom(a)
		s.Meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		open(t, s)
		time.Sleep(35 * day)
		got := collect(t, reader)
		stripe := attribute.NewSet(attr.Vault.String("prod"), attr.SecretID.String(stripeID))
		wiki := attribute.NewSet(attr.Vault.String("prod"), attr.SecretID.String(wikiID))
		expires := float64(time.Date(2000, 1, 31, 0, 0, 0, 0, time.UTC).Unix())
		if got[attr.MetricSecretValueAge][stripe] != (35*day).Seconds() || got[attr.MetricSecretStaleness][stripe] != 3 || got[attr.MetricSecretExpires][stripe] != expires {
			t.Errorf("stripe: %v", got)
		}
		if _, says := got[attr.MetricSecretExpires][wiki]; says || got[attr.MetricSecretStaleness][wiki] != 0 {
			t.Errorf("wiki: %v", got)
		}
		for name, sets := range got {
			for set := range sets {
				if text := set.Encoded(attribute.DefaultEncoder()); strings.Contains(text, "STRIPE") || strings.Contains(text, "CANARY") {
					t.Errorf("P17 %s: %s", name, text)
				}
			}
		}
	})
}

// What status says of use: how often, and when last, per route.
func TestStatusSaysWhenASecretWasLastUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount()
		a.annotate(stripeID, "vaultspan: {owner: payments, expires: 2000-06-01, max_age: 90d}")
		v := open(t, setup(a))
		if one := v.Status().Secrets[0]; one.Uses != 0 || !one.LastUsed.IsZero() || one.Owner != "payments" || one.MaxAge.Refuse != 90*day ||
			!one.Expires.Equal(time.Date(2000, 6, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("before: %+v", one)
		}
		lease(t, v, stripeRef) // a lease is no use
		time.Sleep(time.Minute)
		authorization(t, lease(t, v, stripeRef))
		time.Sleep(time.Minute)
		used := time.Now()
		authorization(t, lease(t, v, stripeRef))
		time.Sleep(time.Hour)
		a.put(stripeID, payments, "STRIPE_API_KEY", "CANARY-stripe-2")
		time.Sleep(time.Minute)
		if s := v.Status().Secrets; s[0].Uses != 2 || !s[0].LastUsed.Equal(used) || s[1].Uses != 0 {
			t.Errorf("after: %+v", s)
		}
	})
}

func TestMaxAgeIsReadAndChecked(t *testing.T) {
	for text, want := range map[string]vault.MaxAge{
		"90d":     {Warn: 72 * day, Stale: 81 * day, Refuse: 90 * day},
		"1d12h":   {Warn: 36 * time.Hour / 10 * 8, Stale: 36 * time.Hour / 10 * 9, Refuse: 36 * time.Hour},
		"10m":     {Warn: 8 * time.Minute, Stale: 9 * time.Minute, Refuse: 10 * time.Minute},
		"":        {},
		"90":      {},
		"0d":      {},
		"-1d":     {},
		"+1h":     {},
		"1d-2h":   {},
		"999999d": {},
		"ninety":  {},
	} {
		var m vault.MaxAge
		if err := m.UnmarshalText([]byte(text)); m != want || (err == nil) != (want != vault.MaxAge{}) {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
	for m, want := range map[vault.MaxAge]string{
		{Warn: day}: "", {Stale: day, Refuse: day}: "", {Warn: 2 * day, Refuse: day}: "warn", {Stale: 2 * day, Refuse: day}: "stale", {Warn: 2 * day, Stale: day, Refuse: 3 * day}: "warn",
	} {
		got := ""
		m.Check(func(path, _ string) { got += path })
		if got != want {
			t.Errorf("%+v: problem at %q, want %q", m, got, want)
		}
	}
}

// max_age goes for the version before, too, by when that was made.
func TestTheVersionBeforeIsNotLentWhenItIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for after, lent := range map[time.Duration]bool{time.Minute: true, 9 * time.Hour: false} {
			a := newAccount()
			s := setup(a)
			s.Config.Bitwarden.Refresh, s.Config.Bitwarden.MaxStale = time.Hour, 12*time.Hour
			s.Bindings[0].Overlap = 24 * time.Hour
			s.Config.MaxAge = map[string]vault.MaxAge{"payments": {Refuse: 10 * time.Hour}}
			v := open(t, s)
			time.Sleep(after)
			a.put(stripeID, payments, "STRIPE_API_KEY", "CANARY-stripe-2")
			time.Sleep(2 * time.Hour)
			l, err := v.Renew(t.Context(), lease(t, v, stripeRef))
			if (err == nil) != lent || lent && authorization(t, l) != "Bearer CANARY-stripe-1" || !lent && reason(t, err) != vault.NoCredential {
				t.Errorf("after %s: %v, %v", after, l, err)
			}
			v.Close()
		}
	})
}
