package vault_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/vault"
)

// A value that no header can carry closes its binding; nothing of it is sent
// or told.
func TestUnusableValuesAreRefused(t *testing.T) {
	for _, test := range []struct{ id, value string }{
		{"J10", "CANARY\r\nX-Evil: 1"},
		{"J10", "CANARY\nX"},
		{"J10", "CANARY\x00X"},
		{"J10", "CANARY\n"},
		{"J10", "CANARY\r\n"},
		{"J10", "CANARY "},
		{"J10", "\tCANARY"},
		{"J10", " CANARY"},
		{"J10", "CANARY\x7f"},
		{"J10", "CANARY\x1b[2J"},
		{"J10", "CANARYé"},
		{"J10", "CANARY\xff"},
		{"J10", "CANARY\u00a0"},
		{"J11", ""},
		{"J11", " "},
		{"J11", "\n"},
		{"J11", " \t\r\n"},
		{"FB13", strings.Repeat("C", 64<<10+1)},
	} {
		a := newAccount()
		a.put(stripeID, payments, "STRIPE_API_KEY", test.value)
		v := open(t, setup(a))
		_, err := v.Lease(t.Context(), "r", stripeRef)
		if err == nil || reason(t, err) != vault.NoCredential {
			t.Errorf("%s %q: %v", test.id, test.value, err)
			continue
		}
		problems := v.Problems()
		if len(problems) != 1 || !strings.Contains(problems[0].Text, stripeID) {
			t.Errorf("%s %q: problems %v, want one with the id", test.id, test.value, problems)
		}
		if out := fmt.Sprint(err, problems, v.Ready(stripeRef), v.Status()); strings.Contains(out, "CANARY") || strings.Contains(out, "CCC") {
			t.Errorf("%s %q is told: %s", test.id, test.value, out)
		}
	}
}

// What does not name exactly one secret names none, and says what to do.
func TestAReferenceNamesOneSecretOrNone(t *testing.T) {
	const twin, loose = "22222222-0000-4000-8000-00000000000a", "22222222-0000-4000-8000-00000000000b"
	for _, test := range []struct {
		id, name, secret string
		change           func(*account)
		says             []string // of the problem; none: a lease is given
	}{
		{"", "by key", stripeRef, nil, nil},
		{"", "by id", "prod/payments/" + stripeID, nil, nil},
		{"", "by id in upper case", "prod/payments/" + strings.ToUpper("22222222-0000-4000-8000-00000000000a"),
			func(a *account) { a.put(twin, payments, "X", "v-is-long-enough") }, nil},
		{"I27", "collection does not exist", "prod/paymets/STRIPE_API_KEY", nil, []string{"prod/paymets", "does not exist", `did you mean "payments"?`}},
		{"I27", "secret does not exist", "prod/payments/STRIPE_API_KEYS", nil, []string{"does not exist", `did you mean "STRIPE_API_KEY"?`}},
		{"I27", "nothing like it", "prod/payments/zzz", nil, []string{"does not exist, or the machine account cannot see it"}},
		{"I27", "id of another collection", "prod/wiki/" + stripeID, nil, []string{"does not exist"}},
		{"I27", "wildcard", "prod/payments/*", nil, []string{"does not exist"}},
		{"I27", "no project", "prod/payments/LOOSE",
			func(a *account) { a.put(loose, "", "LOOSE", "v") }, []string{loose, "no project"}},
		{"I27", "no project, by id", "prod/payments/" + loose,
			func(a *account) { a.put(loose, "", "LOOSE", "v") }, []string{loose, "no project"}},
		{"Q04", "two secrets of one name", stripeRef,
			func(a *account) { a.put(twin, payments, "STRIPE_API_KEY", "v") }, []string{"ambiguous", stripeID, twin}},
		{"Q04", "two secrets of one name, by id", "prod/payments/" + stripeID,
			func(a *account) { a.put(twin, payments, "STRIPE_API_KEY", "v") }, nil},
		{"Q04", "a secret named like another's id", "prod/payments/" + stripeID,
			func(a *account) { a.put(twin, payments, stripeID, "evil") }, nil},
		{"Q04", "two collections of one name", stripeRef,
			func(a *account) { a.change(func() { a.projects["p2"] = "payments" }) }, []string{"ambiguous", payments, "p2"}},
		{"", "of another vault", "dev/payments/STRIPE_API_KEY", nil, []string{"not of vault prod"}},
		{"", "two parts", "prod/payments", nil, []string{"vault/collection/name"}},
		{"", "four parts", "prod/payments/a/b", nil, []string{"three parts"}},
		{"", "an empty part", "prod//STRIPE_API_KEY", nil, []string{"vault/collection/name"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAccount()
			if test.change != nil {
				test.change(a)
			}
			s := setup(a)
			s.Bindings = []vault.Binding{bind(test.secret), bind(wikiRef)}
			v := open(t, s)
			lease(t, v, wikiRef) // a neighbour's problem closes nothing else
			problems := v.Problems()
			if test.says == nil {
				if got := authorization(t, lease(t, v, test.secret)); got != "Bearer CANARY-stripe-1" && got != "Bearer v-is-long-enough" {
					t.Errorf("%s leased %q", test.id, got)
				}
				if len(problems) != 0 || v.Ready(test.secret) != nil {
					t.Errorf("problems %v, ready %v", problems, v.Ready(test.secret))
				}
				return
			}
			if got := refused(t, v, test.secret); got != vault.NoCredential {
				t.Errorf("%s lease: %q", test.id, got)
			}
			if len(problems) != 1 || problems[0].Secret != test.secret || problems[0].Route != "r" {
				t.Fatalf("problems: %+v", problems)
			}
			for _, says := range test.says {
				if !strings.Contains(problems[0].Text, says) {
					t.Errorf("problem %q does not say %q", problems[0].Text, says)
				}
			}
		})
	}
}

// Q04: secrets are kept by id; a name in common is nothing in common.
func TestOneNameInTwoCollectionsAndTwoVaults(t *testing.T) {
	a := newAccount()
	a.put("x1", payments, "TOKEN", "CANARY-payments")
	s := setup(a)
	s.Bindings = []vault.Binding{bind("prod/payments/TOKEN"), bind(wikiRef)}
	v := open(t, s)
	b := newAccount()
	b.put(wikiID, wiki, "TOKEN", "CANARY-wiki-1") // the same id and value, too
	s = setup(b)
	s.Name, s.Bindings = "dev", []vault.Binding{bind("dev/wiki/TOKEN")}
	dev := open(t, s)

	one, two, three := lease(t, v, "prod/payments/TOKEN"), lease(t, v, wikiRef), lease(t, dev, "dev/wiki/TOKEN")
	if got := authorization(t, one); got != "Bearer CANARY-payments" {
		t.Errorf("Q04 payments gives %q", got)
	}
	if got := authorization(t, two); got != "Bearer CANARY-wiki-1" {
		t.Errorf("Q04 wiki gives %q", got)
	}
	if two.Fingerprint() == three.Fingerprint() {
		t.Error("Q04 equal values of two vaults show as equal")
	}
	if got := refused(t, dev, wikiRef); got != vault.NotBound {
		t.Errorf("Q04 one vault leases another's: %q", got)
	}
}

func TestABindingThatStandsTwiceIsClosed(t *testing.T) {
	s := setup(newAccount())
	other := bind(stripeRef)
	other.Destination.Host = "evil.example.com"
	s.Bindings = append(s.Bindings, other)
	if got := refused(t, open(t, s), stripeRef); got != vault.NoCredential {
		t.Errorf("lease: %q", got)
	}
}

func TestOpenRefusesASetupThatCannotWork(t *testing.T) {
	for name, change := range map[string]func(*vault.Setup){
		"no name":             func(s *vault.Setup) { s.Name = "" },
		"no source":           func(s *vault.Setup) { s.Source = nil },
		"no fingerprint key":  func(s *vault.Setup) { s.FingerprintKey = nil },
		"a short fingerprint": func(s *vault.Setup) { s.FingerprintKey = func() string { return "short" } },
	} {
		s := setup(newAccount())
		change(&s)
		if v, err := vault.Open(s); err == nil {
			v.Close()
			t.Errorf("%s is accepted", name)
		}
	}
}

// Whatever the value: either it is refused, or the upstream reads back exactly
// it.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{"", "CANARY", "a\nb", "{secret}", " x", "é", "\x00"} {
		f.Add(seed)
	}
	a := newAccount()
	f.Fuzz(func(t *testing.T, value string) {
		a.put(stripeID, payments, "STRIPE_API_KEY", value)
		v := open(t, setup(a))
		l, err := v.Lease(t.Context(), "r", stripeRef)
		if err != nil {
			return
		}
		r := request(t)
		if err := l.Authorize(r); err != nil {
			t.Fatal(err)
		}
		var wire strings.Builder
		if err := r.Write(&wire); err != nil {
			t.Fatal(err)
		}
		if want := "\r\nAuthorization: Bearer " + value + "\r\n"; strings.Count(wire.String(), want) != 1 {
			t.Errorf("value %q is not one whole header of %q", value, wire.String())
		}
	})
}
