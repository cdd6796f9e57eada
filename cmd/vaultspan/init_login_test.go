package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// With --login the route is for people with a browser too: one more file to
// paste, and check lists what to register at the issuer.
func TestInitLetsPeopleLogIn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gw")
	out, stderr, err := withToken(t, initArgs(dir, "--login", "gate: 1")...)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	secret, path := filepath.Join(dir, "login.secret"), filepath.Join(dir, "vaultspan.yaml")
	if !strings.Contains(out, "the secret of client gate: 1") || !strings.Contains(out, "cat > "+secret) || !strings.Contains(out, "in a browser") ||
		!strings.Contains(out, "http://127.0.0.1:8443/.vaultspan/callback") {
		t.Errorf("no word of %s:\n%s", secret, out)
	}
	if _, _, err := cli(t, "check", "-c", path); err == nil {
		t.Error("without the secret nothing is wrong")
	}
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	checked, stderr, err := cli(t, "check", "-c", path)
	if err != nil || !strings.Contains(checked, "register for client gate: 1 of issuer corp") || !strings.Contains(checked, "http://127.0.0.1:8443/.vaultspan/callback") {
		t.Errorf("%v\n%s%s", err, checked, stderr)
	}
	key, err := os.ReadFile(filepath.Join(dir, "session.key"))
	if err != nil || len(strings.TrimSpace(string(key))) != 64 {
		t.Errorf("session.key has %d bytes, %v", len(key), err)
	}
}

// Whoever decides later takes the # off three lines.
func TestInitLetsPeopleLogInLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gw")
	if _, _, err := withToken(t, initArgs(dir)...); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "vaultspan.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	live := strings.NewReplacer("# login: {", "login: {", "# sessions: {", "sessions: {", "# session: true", "session: true").Replace(string(text))
	if err := errors.Join(os.WriteFile(path, []byte(live), 0o644), os.WriteFile(filepath.Join(dir, "login.secret"), []byte("s3cret\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	checked, stderr, err := cli(t, "check", "-c", path)
	if err != nil || !strings.Contains(checked, "register for client vaultspan of issuer corp") {
		t.Errorf("%v\n%s%s", err, checked, stderr)
	}
}
