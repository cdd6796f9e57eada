package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/session"
)

// F14: an operator sees who is logged in, never what lets anybody in, and logs
// them out by id, subject or issuer.
func TestSessionsAreListedAndRevoked(t *testing.T) {
	store, err := session.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "sessions.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	nobody, err := authn.New(t.Context(), authn.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	m, err := session.New(session.Setup{
		Config: session.Config{Key: func() string { return strings.Repeat("ab", 32) }}, URL: &url.URL{Scheme: "https", Host: "gw.test"}, Issuers: nobody, Store: store,
	})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i, who := range []string{"alice", "alice", "carol"} {
		r := session.Record{
			Key: session.Key{byte(i + 1), 0xfe}, Handle: "handle" + string(rune('a'+i)), Issuer: "corp", Subject: who, Version: 1,
			Created: now.Add(-time.Minute * time.Duration(i)), Used: now, Ends: now.Add(time.Hour), Sealed: []byte("sealed tokens"),
		}
		if err := store.Add(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(socketDir(t), "admin.sock")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sessions", func(w http.ResponseWriter, r *http.Request) { listSessions(w, r, m) })
	mux.HandleFunc("DELETE /sessions", func(w http.ResponseWriter, r *http.Request) { revokeSessions(w, r, m) })
	gatewayOn(t, socket, mux)
	ask := func(args ...string) (string, error) {
		var stdout, stderr bytes.Buffer
		err := run(context.Background(), append(append([]string{"sessions"}, args...), "--socket", socket), func(string) string { return "" }, &stdout, &stderr)
		return stdout.String() + stderr.String(), err
	}
	listed, err := ask("list")
	if err != nil || strings.Count(listed, "\n") != 4 || !strings.Contains(listed, "handlea") || !strings.Contains(listed, `"carol"`) {
		t.Errorf("%v\n%s", err, listed)
	}
	asJSON, err := ask("list", "--json", "--subject", "carol")
	if err != nil || strings.Contains(asJSON, "alice") || strings.Contains(asJSON, "sealed") || strings.Contains(asJSON, "fe00") {
		t.Errorf("%v\n%s", err, asJSON)
	}
	if out, err := ask("revoke"); err == nil || !strings.Contains(err.Error(), "say whose") {
		t.Errorf("nobody named: %v %s", err, out)
	}
	for _, c := range []struct{ flag, value, want string }{
		{"--id", "handlec", "1 session ended\n"}, {"--subject", "alice", "2 sessions ended\n"}, {"--issuer", "corp", "0 sessions ended\n"},
	} {
		if out, err := ask("revoke", c.flag, c.value); err != nil || out != c.want {
			t.Errorf("%s %s: %v %q, want %q", c.flag, c.value, err, out, c.want)
		}
	}
}

// What has to be registered at the issuer is in check, for every host.
func TestCheckListsWhatToRegister(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"session.key": strings.Repeat("ab", 32), "client.secret": "s",
		"vaultspan.yaml": `
url: https://gw.example.com
issuers:
  - {name: corp, url: https://login.example.com, audience: vaultspan, login: {client_id: web, client_secret: "${file:client.secret}"}}
sessions: {key: "${file:session.key}"}
roles: {reader: {members: [{issuer: corp, groups: staff}]}}
routes:
  - {name: wiki, match: [wiki.example.com/, gw.example.com/wiki/], upstream: https://wiki.example.org, allow: [reader], session: true}
audit: {dir: audit, key: "${file:audit.key}"}
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	none := func(string) string { return "" }
	if err := run(context.Background(), []string{"audit", "keygen", "gw.example.com/audit", "--out", filepath.Join(dir, "audit.key")}, none, &stdout, &stderr); err != nil {
		t.Fatal(err, stderr.String())
	}
	stdout.Reset()
	if err := run(context.Background(), []string{"check", "--config", filepath.Join(dir, "vaultspan.yaml")}, none, &stdout, &stderr); err != nil {
		t.Fatal(err, stderr.String())
	}
	for _, want := range []string{
		"https://gw.example.com/.vaultspan/callback", "https://wiki.example.com/.vaultspan/callback",
		"https://gw.example.com/.vaultspan/signed-out", "https://wiki.example.com/.vaultspan/signed-out",
		"https://gw.example.com/.vaultspan/backchannel-logout",
	} {
		if strings.Count(stdout.String(), want+"\n") != 1 {
			t.Errorf("want %s once in\n%s", want, stdout.String())
		}
	}
}

// A store that does not answer is said with what it said: to whoever revokes, who
// must know that nothing was, and to whoever checks.
func TestAnUnreachableStoreIsNamed(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	closed.Close()
	socket := filepath.Join(socketDir(t), "admin.sock")
	gatewayOn(t, socket, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "sessions cannot be read or written: connection refused", http.StatusServiceUnavailable)
	}))
	if out, _, err := cli(t, "sessions", "revoke", "--subject", "alice", "--socket", socket); err == nil || out != "" || !strings.Contains(err.Error(), "could not do that: sessions cannot be read") {
		t.Errorf("said %q and %v", out, err)
	}
	cfg := loaded(t, t.TempDir(), "people: true\nsessions: {key: \"${file:session.key}\"}\n")
	if err := checkSessions(t.Context(), cfg); err != nil {
		t.Errorf("SQLite: %v", err)
	}
	cfg.Sessions.SQLite, cfg.Sessions.Redis = "", func() string { return "redis://:hush@" + address + "/0" }
	if err := checkSessions(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "sessions.redis: cannot be used: dial tcp "+address) || strings.Contains(err.Error(), "hush") {
		t.Errorf("Redis: %v", err)
	}
}
