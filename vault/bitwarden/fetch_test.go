//go:build cgo

package bitwarden_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/vault"
	"github.com/vaultspan/vaultspan/vault/bwemu"
)

func TestFetchBringsWhatIsWanted(t *testing.T) {
	w := newWorld(t)
	hidden := w.org.AddProject("hidden")
	w.org.AddSecret("OTHER", "not ours", "", hidden)
	w.org.AddSecret("LOOSE", "in no project", "")

	snapshot, err := w.client.Fetch(t.Context(), time.Time{}, func(r vault.Ref) bool { return r.Name == "STRIPE_API_KEY" })
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"STRIPE_API_KEY": "sk_test_canary"}; !maps.Equal(values(snapshot), want) {
		t.Errorf("values = %v, want %v", values(snapshot), want)
	}
	if len(snapshot.Refs) != 2 {
		t.Errorf("the account sees %d secrets, want 2", len(snapshot.Refs))
	}
	if want := map[string]string{w.payments.ID: "payments"}; !maps.Equal(snapshot.Projects, want) {
		t.Errorf("projects = %v, want %v", snapshot.Projects, want)
	}
	s := snapshot.Secrets[0]
	if s.ID != w.stripe.ID || s.Project != w.payments.ID || s.Note != "rotate monthly" || s.Revised.IsZero() {
		t.Errorf("secret = %+v", s.Ref)
	}
}

func TestRotationIsSeen(t *testing.T) {
	w := newWorld(t)
	w.emulator.Advance(time.Minute)
	first := w.fetch(time.Time{})
	w.emulator.Advance(time.Minute)
	if again := w.fetch(first.Synced); !again.Unchanged || len(again.Secrets) != 0 {
		t.Fatalf("nothing moved, and Fetch brought %d secrets, unchanged %t", len(again.Secrets), again.Unchanged)
	}
	w.stripe.Rotate("sk_test_second")
	w.emulator.Advance(time.Minute)
	second := w.fetch(first.Synced)
	if got := values(second)["STRIPE_API_KEY"]; got != "sk_test_second" {
		t.Errorf("after the rotation the value is %q", got)
	}
	if !second.Secrets[0].Revised.After(first.Secrets[0].Revised) {
		t.Error("the revision date did not move")
	}
	if logins := w.emulator.Count(bwemu.Token); logins != 1 {
		t.Errorf("%d logins, want 1", logins)
	}
}

func TestChangeInTheSecondOfTheFetchIsNotMissed(t *testing.T) {
	w := newWorld(t)
	first := w.fetch(time.Time{})
	w.stripe.Rotate("sk_test_second")
	if got := values(w.fetch(first.Synced))["STRIPE_API_KEY"]; got != "sk_test_second" {
		t.Errorf("the value is %q", got)
	}
}

func TestRenamedProjectIsSeen(t *testing.T) {
	w := newWorld(t)
	w.emulator.Advance(time.Minute)
	first := w.fetch(time.Time{})
	w.payments.Rename("billing")
	if again := w.fetch(first.Synced); again.Unchanged || again.Projects[w.payments.ID] != "billing" {
		t.Errorf("unchanged %t, projects %v", again.Unchanged, again.Projects)
	}
}

func TestServersClockSetBack(t *testing.T) {
	w := newWorld(t)
	w.emulator.Advance(time.Hour)
	first := w.fetch(time.Time{})
	w.emulator.Advance(-30 * time.Minute)
	if again := w.fetch(first.Synced); len(again.Secrets) != 2 {
		t.Errorf("%d secrets, want 2", len(again.Secrets))
	}
}

func TestOneBadSecretDoesNotTakeTheOthers(t *testing.T) {
	for _, test := range []struct {
		id    string
		field bwemu.Field
	}{
		{"FB10", bwemu.Value},
		{"FB10", bwemu.Note},
		{"FB10", bwemu.Name},
	} {
		w := newWorld(t)
		for range 9 {
			w.org.AddSecret("FILLER", "x", "", w.payments)
		}
		w.adyen.Corrupt(test.field)
		for round := range 2 {
			snapshot := w.fetch(time.Time{})
			if got := values(snapshot)["STRIPE_API_KEY"]; got != "sk_test_canary" || len(snapshot.Secrets) != 10 {
				t.Errorf("%s round %d: field %d: %d secrets, want 10", test.id, round, test.field, len(snapshot.Secrets))
			}
			if len(snapshot.Failed) != 1 || snapshot.Failed[0].ID != w.adyen.ID {
				t.Fatalf("%s round %d: field %d: failures: %+v", test.id, round, test.field, snapshot.Failed)
			}
			if f := snapshot.Failed[0]; f.Project != w.payments.ID || (f.Name != "ADYEN_API_KEY") != (test.field == bwemu.Name) {
				t.Errorf("%s: field %d: the failure is of %+v", test.id, test.field, f.Ref)
			}
		}
		if n := w.emulator.Count(bwemu.ReadMany) + w.emulator.Count(bwemu.Read) + w.emulator.Count(bwemu.List); n > 0 {
			t.Errorf("%s: %d requests to find the bad one in what is already here", test.id, n)
		}
		// Written again, it is whole again.
		w.adyen.Rename("ADYEN_API_KEY")
		w.adyen.Rotate("adyen-second")
		w.adyen.Annotate("")
		if got := values(w.fetch(time.Now())); got["ADYEN_API_KEY"] != "adyen-second" {
			t.Errorf("%s: after repair: %d secrets", test.id, len(got))
		}
	}
}

func TestSecretTakenAwayDuringTheReading(t *testing.T) { // FB09
	for _, status := range []int{403, 404} {
		w := newWorld(t)
		w.emulator.Fault(bwemu.Fault{Endpoint: bwemu.Sync, Giant: 17 << 20}) // so that secrets are read by id
		w.emulator.Fault(bwemu.Fault{Secret: w.adyen.ID, Status: status})
		snapshot := w.fetch(time.Time{})
		if got := values(snapshot); got["STRIPE_API_KEY"] != "sk_test_canary" || len(got) != 1 {
			t.Errorf("status %d: values of %d secrets, want one", status, len(got))
		}
		if len(snapshot.Failed) != 0 || len(snapshot.Refs) != 1 {
			t.Errorf("status %d: refs %+v, failures %+v; want it gone", status, snapshot.Refs, snapshot.Failed)
		}
		w.emulator.Clear() // and it comes back without a new revision
		if got := values(w.fetch(time.Now())); got["ADYEN_API_KEY"] == "" {
			t.Errorf("status %d: given back, the secret is not seen", status)
		}
	}
}

func TestRightsTakenAway(t *testing.T) { // FB09
	w := newWorld(t)
	first := w.fetch(time.Time{})
	w.account.Reads()
	if again := w.fetch(first.Synced); again.Unchanged || len(again.Refs) != 0 || len(again.Projects) != 0 {
		t.Errorf("after its rights were taken the account sees %d secrets", len(again.Refs))
	}
}

func TestValueTooLarge(t *testing.T) { // FB13
	w := newWorld(t)
	big := w.org.AddSecret("BIG", strings.Repeat("x", 1<<20), "", w.payments)
	snapshot := w.fetch(time.Time{})
	if len(snapshot.Secrets) != 2 || len(snapshot.Failed) != 1 || snapshot.Failed[0].ID != big.ID {
		t.Errorf("%d secrets, failures %+v", len(snapshot.Secrets), snapshot.Failed)
	}
}

func TestTenThousandSecrets(t *testing.T) { // FB13
	w := newWorld(t)
	filler := strings.Repeat("x", 1<<10)
	for range 10_000 {
		w.org.AddSecret("FILLER", filler, "", w.payments)
	}
	wanted := func(r vault.Ref) bool { return r.Name == "STRIPE_API_KEY" }
	snapshot, err := w.client.Fetch(t.Context(), time.Time{}, wanted)
	if err != nil {
		t.Fatal(err)
	}
	if len(snapshot.Refs) != 10_002 || values(snapshot)["STRIPE_API_KEY"] != "sk_test_canary" {
		t.Errorf("%d secrets, values of %d", len(snapshot.Refs), len(snapshot.Secrets))
	}
	if w.emulator.Count(bwemu.List) != 1 {
		t.Error("a sync of more than the cap must be replaced by a list and a reading by id")
	}
}

func TestOneBadProjectDoesNotTakeTheOthers(t *testing.T) { // FB10
	w := newWorld(t)
	bad := w.org.AddProject("bad")
	w.account.Reads(w.payments, bad)
	bad.Corrupt()
	for range 3 {
		snapshot := w.fetch(time.Time{})
		if want := map[string]string{w.payments.ID: "payments"}; !maps.Equal(snapshot.Projects, want) {
			t.Errorf("projects = %v, want %v", snapshot.Projects, want)
		}
		if len(snapshot.Secrets) != 2 {
			t.Errorf("%d secrets, want 2", len(snapshot.Secrets))
		}
	}
	if reads := w.emulator.Count(bwemu.ReadProject); reads != 2 {
		t.Errorf("%d projects read one by one, want 2: once a revision", reads)
	}
}

func TestBadSecretAmongTooMany(t *testing.T) { // FB10, FB13
	w := newWorld(t)
	for range 9 {
		w.org.AddSecret("FILLER", "x", "", w.payments)
	}
	w.adyen.Corrupt(bwemu.Value)
	w.emulator.Fault(bwemu.Fault{Endpoint: bwemu.Sync, Giant: 17 << 20})
	for round, wantPosts := range []int{7, 1} {
		before := w.emulator.Count(bwemu.ReadMany)
		snapshot := w.fetch(time.Time{})
		if len(snapshot.Secrets) != 10 || len(snapshot.Failed) != 1 || snapshot.Failed[0].ID != w.adyen.ID {
			t.Errorf("round %d: %d secrets, failures %+v", round, len(snapshot.Secrets), snapshot.Failed)
		}
		if posts := w.emulator.Count(bwemu.ReadMany) - before; posts > wantPosts {
			t.Errorf("round %d: %d POSTs, want %d at most", round, posts, wantPosts)
		}
	}
}
