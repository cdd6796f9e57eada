package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/config"
)

// A reload names what a restart is needed for: what differs, not what was merely
// read again; and where sessions are only once somebody could have one.
func TestReloadNamesWhatIsReadAtTheStart(t *testing.T) {
	const sessions, other = `sessions: {key: "${file:session.key}"}`, `sessions: {key: "${file:session.key}", sqlite: other.db}`
	people := func(text string) string { return "people: true\n" + text } // see loaded
	base := sessions + "\ntelemetry: {sample: 0.5, otlp: {endpoint: \"https://c.example.com\", headers: {x-token: \"${file:token}\"}}}\n"
	for _, c := range []struct{ name, was, is, storeAt, want string }{
		{"the same file", people(base), people(base), "sessions.db", ""},
		{"the sampled share", people(base), people(strings.Replace(base, "0.5", "0.6", 1)), "sessions.db", "telemetry"},
		{"a header of the collector", people(base), people(strings.Replace(base, "file:token", "file:session.key", 1)), "sessions.db", "telemetry"},
		{"the log level", people(base), people(strings.Replace(base, "{sample", "{log_level: debug, sample", 1)), "sessions.db", "telemetry"},
		{"people for the first time", base, people(base), "sessions.db", ""},
		{"no people any more", people(base), base, "sessions.db", ""},
		{"sessions elsewhere", people(base), people(strings.Replace(base, sessions, other, 1)), "sessions.db", "sessions"},
	} {
		dir := t.TempDir()
		restart := strings.Join(restartFor(loaded(t, dir, c.was), loaded(t, dir, c.is), filepath.Join(dir, c.storeAt)), " ")
		if restart != c.want {
			t.Errorf("%s: %q, want %q", c.name, restart, c.want)
		}
	}
}

// loaded is a configuration for programs, and also for people if text begins so.
func loaded(t *testing.T, dir, text string) *config.Config {
	t.Helper()
	private, _, err := audit.Keygen("gw.test/audit")
	if err != nil {
		t.Fatal(err)
	}
	rest, people := strings.CutPrefix(text, "people: true\n")
	session := ""
	if people {
		session = ", session: true"
	}
	files := map[string]string{
		"session.key": strings.Repeat("ab", 32), "token": "t",
		"vaultspan.yaml": rest + `
issuers: [{name: corp, url: https://login.example.com, audience: vaultspan, login: {client_id: web}}]
roles: {reader: {members: [{issuer: corp, groups: staff}]}}
routes: [{name: wiki, match: [/], upstream: https://wiki.example.org, allow: [reader]` + session + `}]
audit: {dir: audit, key: "${file:audit.key}"}
`}
	if _, err := os.Stat(filepath.Join(dir, "audit.key")); err != nil {
		files["audit.key"] = private
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(filepath.Join(dir, "vaultspan.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
