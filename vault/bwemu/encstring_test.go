package bwemu

import (
	"encoding/base64"
	"strings"
	"testing"
)

// The vector is public: it is the one of the SDK's own tests.
func TestSeedKeyAgreesWithTheSDK(t *testing.T) {
	seed, err := base64.StdEncoding.DecodeString("X8vbvA0bduihIDe/qrzIQQ==")
	if err != nil {
		t.Fatal(err)
	}
	k := seedKey(seed)
	if got := base64.StdEncoding.EncodeToString(k[:]); !strings.HasPrefix(got, "H9/oIRLt") {
		t.Errorf("key = %s…, want H9/oIRLt…", got[:8])
	}
}

func TestFlipChangesTheCiphertextOnly(t *testing.T) {
	sealed := newKey().seal([]byte("value"))
	before, after := strings.Split(sealed, "|"), strings.Split(flip(sealed), "|")
	if before[0] != after[0] || before[1] == after[1] || before[2] != after[2] || len(before[1]) != len(after[1]) {
		t.Errorf("%q became %q", before, after)
	}
}
