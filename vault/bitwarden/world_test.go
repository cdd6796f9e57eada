//go:build cgo

package bitwarden_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/vault"
	"github.com/vaultspan/vaultspan/vault/bitwarden"
	"github.com/vaultspan/vaultspan/vault/bwemu"
)

// A world is an emulator with one organization, where one machine account reads
// the project payments with two secrets, and one Client.
type world struct {
	*testing.T
	emulator *bwemu.Emulator
	org      *bwemu.Organization
	payments *bwemu.Project
	stripe   *bwemu.Secret
	adyen    *bwemu.Secret
	account  *bwemu.Account
	setup    bitwarden.Setup
	client   *bitwarden.Client
}

// newWorld makes a world; change may alter the Setup before the Client is made.
func newWorld(t *testing.T, change ...func(*world)) *world {
	t.Helper()
	e := bwemu.New()
	w := &world{T: t, emulator: e, org: e.AddOrganization()}
	w.payments = w.org.AddProject("payments")
	w.stripe = w.org.AddSecret("STRIPE_API_KEY", "sk_test_canary", "rotate monthly", w.payments)
	w.adyen = w.org.AddSecret("ADYEN_API_KEY", "adyen-canary", "", w.payments)
	w.account = w.org.AddAccount("gateway", w.payments)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	t.Cleanup(e.Clear) // before Close, which waits for requests that hang
	w.setup = bitwarden.Setup{Name: "prod", Config: vault.Bitwarden{
		Organization: w.org.ID,
		AccessToken:  w.account.AccessToken,
		API:          server.URL + "/api",
		Identity:     server.URL + "/identity",
		Timeout:      time.Minute, // so that a slow machine fails no test; those about time set their own
	}}
	for _, c := range change {
		c(w)
	}
	client, err := bitwarden.New(w.setup)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w.client = client
	return w
}

func everything(vault.Ref) bool { return true }

// fetch must succeed.
func (w *world) fetch(since time.Time) vault.Snapshot {
	w.Helper()
	snapshot, err := w.client.Fetch(w.Context(), since, everything)
	if err != nil {
		w.Fatalf("Fetch: %v", err)
	}
	return snapshot
}

// fails must fail, for the reason.
func (w *world) fails(reason vault.Reason) *vault.SourceError {
	w.Helper()
	snapshot, err := w.client.Fetch(w.Context(), time.Time{}, everything)
	failure, ok := err.(*vault.SourceError)
	if !ok || failure.Reason != reason {
		w.Fatalf("Fetch = %d secrets, %v; want a SourceError with reason %s", len(snapshot.Secrets), err, reason)
	}
	return failure
}

// values maps names to values.
func values(s vault.Snapshot) map[string]string {
	m := make(map[string]string)
	for _, secret := range s.Secrets {
		m[secret.Name] = secret.Reveal()
	}
	return m
}
