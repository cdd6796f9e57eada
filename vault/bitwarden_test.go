//go:build cgo

package vault_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/vault"
	"github.com/vaultspan/vaultspan/vault/bitwarden"
	"github.com/vaultspan/vaultspan/vault/bwemu"
)

// world is the real SDK on the emulator, with a Vault that refreshes every
// second. Tests wait for what the Vault reports, not for time.
type world struct {
	*testing.T
	emulator *bwemu.Emulator
	org      *bwemu.Organization
	payments *bwemu.Project
	wiki     *bwemu.Project
	stripe   *bwemu.Secret
	account  *bwemu.Account
	changes  chan vault.Change
	log      lines
	vault    *vault.Vault
}

func newWorld(t *testing.T) *world {
	e := bwemu.New()
	w := &world{T: t, emulator: e, org: e.AddOrganization(), changes: make(chan vault.Change, 100), log: make(lines, 100)}
	w.payments = w.org.AddProject("payments")
	w.wiki = w.org.AddProject("wiki")
	w.stripe = w.org.AddSecret("STRIPE_API_KEY", "CANARY-stripe-1", "", w.payments)
	w.org.AddSecret("TOKEN", "CANARY-wiki-1", "", w.wiki)
	w.account = w.org.AddAccount("gateway", w.payments, w.wiki)
	server, err := e.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	t.Cleanup(e.Clear)

	config := vault.Config{Bitwarden: vault.Bitwarden{
		Organization: w.org.ID, AccessToken: w.account.AccessToken, API: server.API, Identity: server.Identity,
		Refresh: time.Second, MaxStale: time.Hour, Timeout: time.Minute,
	}}
	config.Check(func(path, problem string) { t.Errorf("%s: %s", path, problem) })
	client, err := bitwarden.New(bitwarden.Setup{Name: "prod", Config: config.Bitwarden})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s := setup(nil)
	s.Config, s.Source = config, client
	s.Logger = slog.New(slog.NewTextHandler(w.log, nil))
	s.OnChange = func(c vault.Change) { w.changes <- c }
	w.vault = open(t, s)
	if err := w.vault.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// next waits for a change of the secret.
func (w *world) next(secret string) vault.Change {
	w.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case c := <-w.changes:
			if c.Secret == secret {
				return c
			}
		case <-deadline:
			w.Fatalf("no change of %s", secret)
		}
	}
}

func TestRotationInBitwardenReachesTheUpstream(t *testing.T) {
	w := newWorld(t)
	first := w.next(stripeRef)
	before := lease(t, w.vault, stripeRef)
	if got := authorization(t, before); got != "Bearer CANARY-stripe-1" || before.Version() != first.Version {
		t.Fatalf("%s of %s, want %s", got, before.Version(), first.Version)
	}
	w.stripe.Rotate("CANARY-stripe-2")
	second := w.next(stripeRef)
	after := lease(t, w.vault, stripeRef)
	if got := authorization(t, after); got != "Bearer CANARY-stripe-2" || after.Version() != second.Version || second.Previous != first.Version {
		t.Errorf("%s of %s after %v", got, after.Version(), second)
	}
	if got := authorization(t, before); got != "Bearer CANARY-stripe-1" {
		t.Errorf("FB12 the lease taken before gives %s", got)
	}
}

// FB09, I27: what an operator takes away in Bitwarden is refused at the next
// refresh, and its neighbour is served.
func TestAccessTakenAwayInBitwardenIsRefused(t *testing.T) {
	for name, take := range map[string]func(*world){
		"FB09 deleted":              func(w *world) { w.stripe.Delete() },
		"FB09 project withdrawn":    func(w *world) { w.account.Reads(w.wiki) },
		"I27 project deleted":       func(w *world) { w.payments.Delete() },
		"I27 project renamed":       func(w *world) { w.payments.Rename("billing") },
		"I27 secret renamed":        func(w *world) { w.stripe.Rename("STRIPE_OLD") },
		"J11 emptied":               func(w *world) { w.stripe.Rotate("") },
		"Q04 a twin in its project": func(w *world) { w.org.AddSecret("STRIPE_API_KEY", "CANARY-twin", "", w.payments) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.next(stripeRef)
			take(w)
			w.next(stripeRef)
			if got := refused(t, w.vault, stripeRef); got != vault.NoCredential {
				t.Errorf("lease: %q", got)
			}
			if problems := w.vault.Problems(); len(problems) != 1 {
				t.Errorf("problems: %v", problems)
			}
			lease(t, w.vault, wikiRef)
		})
	}
}

// FB10: one corrupt ciphertext is one secret's matter; its last value is served
// and nothing of the new one.
func TestCorruptCiphertextInBitwardenIsOneSecretsMatter(t *testing.T) {
	w := newWorld(t)
	w.next(stripeRef)
	w.stripe.Corrupt(bwemu.Value)
	w.says("cannot be read: its last value is served")
	if got := authorization(t, lease(t, w.vault, stripeRef)); got != "Bearer CANARY-stripe-1" {
		t.Errorf("%q", got)
	}
	lease(t, w.vault, wikiRef)
	w.stripe.Rotate("CANARY-stripe-3")
	w.next(stripeRef)
	if got := authorization(t, lease(t, w.vault, stripeRef)); got != "Bearer CANARY-stripe-3" {
		t.Errorf("mended: %q", got)
	}
}

// says waits for the log to say text of the stripe secret.
func (w *world) says(text string) {
	w.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case line := <-w.log:
			if strings.Contains(line, text) && strings.Contains(line, w.stripe.ID) {
				return
			}
		case <-deadline:
			w.Fatalf("the log never says %q; status %+v", text, w.vault.Status())
		}
	}
}

// lines receives a log.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}
