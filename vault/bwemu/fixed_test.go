package bwemu_test

import (
	"testing"

	"github.com/vaultspan/vaultspan/vault/bwemu"
)

// A configuration can be written against a fixed organization: another process
// has the same access tokens.
func TestAFixedOrganizationIsTheSameInEveryProcess(t *testing.T) {
	const id = "de7de7de-0000-4000-8000-000000000000"
	token := func(name string) string {
		o := bwemu.New().AddFixedOrganization(id)
		if o.ID != id {
			t.Fatalf("the id is %s", o.ID)
		}
		return o.AddAccount(name).AccessToken()
	}
	first, again, other := token("a"), token("a"), token("b")
	if first != again || first == other {
		t.Errorf("want the same access token for a name, and another for another: %q, %q, %q", first, again, other)
	}
	one, two := bwemu.New().AddOrganization(), bwemu.New().AddOrganization()
	if one.ID == two.ID || one.AddAccount("a").AccessToken() == two.AddAccount("a").AccessToken() {
		t.Error("two organizations are alike")
	}
}
