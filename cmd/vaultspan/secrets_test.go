package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

// socketDir is a directory whose name is short enough for sockets.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// gatewayOn serves a handler on a socket as the gateway does.
func gatewayOn(t *testing.T, path string, handler http.Handler) {
	t.Helper()
	listener, err := listenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
}

// P17: the socket is for the gateway's user alone, from the moment it is there,
// and goes with the listener.
func TestTheSocketIsForTheGatewaysUserAlone(t *testing.T) {
	before := syscall.Umask(0) // the most that others could be given
	defer syscall.Umask(before)
	path := filepath.Join(socketDir(t), "admin.sock")
	listener, err := listenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs0600Socket {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	listener.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is left behind: %v", err)
	}
}

const fs0600Socket = os.ModeSocket | 0o600

func TestASocketIsReplacedOnlyIfNobodyListens(t *testing.T) {
	dir := socketDir(t)
	path := filepath.Join(dir, "admin.sock")
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenSocket(path); err == nil || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("somebody listens: %v", err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false) // as after a crash
	left.Close()
	again, err := listenSocket(path)
	if err != nil {
		t.Fatalf("nobody listens: %v", err)
	}
	again.Close()

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, link, dir} {
		if _, err := listenSocket(name); err == nil || !strings.Contains(err.Error(), "is no socket") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("a file was overwritten: %q, %v", text, err)
	}
	if _, err := listenSocket(filepath.Join(dir, "none", "admin.sock")); err == nil || !strings.Contains(err.Error(), "make it (mode 0700)") {
		t.Errorf("no directory: %v", err)
	}
}

// What secrets status prints of one secret in each state.
func TestSecretsStatus(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	held := vault.SecretStatus{
		Secret: "prod/payments/KEY", Route: "stripe", ID: "22222222-0000-4000-8000-000000000001", Version: "2026-11-01T10:00:00Z.ab12cd34ef56ab78",
		Fingerprint: "ab12cd34ef56ab78", Revised: now.Add(-25 * 24 * time.Hour), Changed: now.Add(-30 * 24 * time.Hour), Age: 5 * time.Second,
		MaxAge: vault.MaxAge{Refuse: 90 * 24 * time.Hour}, Until: now.Add(60 * 24 * time.Hour), Owner: "payments team",
		Expires: now.Add(60 * 24 * time.Hour), Uses: 1234, LastUsed: now.Add(-90 * time.Second),
	}
	with := func(change func(*vault.SecretStatus)) vault.SecretStatus {
		s := held
		change(&s)
		return s
	}
	report := secretsReport{Time: now}
	for _, s := range []vault.SecretStatus{
		held,
		with(func(s *vault.SecretStatus) { s.Due = vault.DueSoon }),
		with(func(s *vault.SecretStatus) { s.Due, s.Stale, s.Staleness = vault.Overdue, true, vault.Old }),
		with(func(s *vault.SecretStatus) { s.Age, s.Stale, s.Staleness = 3*time.Minute, true, vault.Unconfirmed }),
		with(func(s *vault.SecretStatus) {
			s.Err = &vault.LeaseError{Reason: vault.NoCredential, Secret: s.Secret, Err: fmt.Errorf("its value is older than max_age (90d): rotate it")}
		}),
		{Secret: "prod/wiki/TOKEN", Route: "wiki", Err: &vault.LeaseError{Reason: vault.Unavailable, Err: fmt.Errorf("not fetched yet")}},
	} {
		report.Secrets = append(report.Secrets, rowOf(s, now))
	}
	const want = `SECRET             ROUTE   REVISED               FINGERPRINT       AGE         LAST USED  USES  OWNER          EXPIRES     STATE
prod/payments/KEY  stripe  2026-11-01T12:00:00Z  ab12cd34ef56ab78  30d of 90d  1m ago     1234  payments team  2027-01-25  ok
prod/payments/KEY  stripe  2026-11-01T12:00:00Z  ab12cd34ef56ab78  30d of 90d  1m ago     1234  payments team  2027-01-25  due: rotate it before 2027-01-25T12:00:00Z
prod/payments/KEY  stripe  2026-11-01T12:00:00Z  ab12cd34ef56ab78  30d of 90d  1m ago     1234  payments team  2027-01-25  stale: rotate it before 2027-01-25T12:00:00Z
prod/payments/KEY  stripe  2026-11-01T12:00:00Z  ab12cd34ef56ab78  30d of 90d  1m ago     1234  payments team  2027-01-25  stale: not confirmed for 3m
prod/payments/KEY  stripe  2026-11-01T12:00:00Z  ab12cd34ef56ab78  30d of 90d  1m ago     1234  payments team  2027-01-25  refused: its value is older than max_age (90d): rotate it
prod/wiki/TOKEN    wiki    -                     -                 -           never      0     -              -           refused: not fetched yet
`
	path := filepath.Join(socketDir(t), "admin.sock")
	gatewayOn(t, path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/secrets" {
			t.Errorf("asked %s %s", r.Method, r.URL)
		}
		writeJSON(w, report)
	}))
	out, _, err := cli(t, "secrets", "status", "--socket", path)
	if err != nil || out != want {
		t.Errorf("%v\n%s", err, out)
	}
	out, _, err = cli(t, "secrets", "status", "--socket", path, "--json")
	var back secretsReport
	if err != nil || json.Unmarshal([]byte(out), &back) != nil || len(back.Secrets) != 6 || back.Secrets[5].State != "refused" || back.Secrets[0].MaxAge.Refuse != 7776000 {
		t.Errorf("%v\n%s", err, out)
	}
}

// Everything that keeps an operator from an answer is said, with what to do.
func TestSecretsStatusSaysWhyThereIsNoAnswer(t *testing.T) {
	dir := socketDir(t)
	config := filepath.Join(dir, "vaultspan.yaml")
	path := filepath.Join(dir, "admin.sock")
	for _, c := range []struct{ text, want string }{
		{"admin: {listen: 127.0.0.1:9443}\n", "names no admin.socket"},
		{"admin: {socket: admin.sock}\nrouts: []\n", "there is no socket " + path + ": the gateway is not running"},
		{"admin: {", "give --socket"},
	} {
		if err := os.WriteFile(config, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, _, err := cli(t, "secrets", "status", "-c", config); err == nil || out != "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: said %q and %v, want %q", c.text, out, err, c.want)
		}
	}
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	if _, _, err := cli(t, "secrets", "status", "--socket", path); err == nil || !strings.Contains(err.Error(), "nobody listens on") {
		t.Errorf("after a crash: %v", err)
	}
	gatewayOn(t, path, http.NotFoundHandler())
	if _, _, err := cli(t, "secrets", "status", "--socket", path); err == nil || !strings.Contains(err.Error(), "does not know /secrets") {
		t.Errorf("another server: %v", err)
	}
	other := filepath.Join(dir, "other.sock")
	gatewayOn(t, other, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	if _, _, err := cli(t, "secrets", "status", "--socket", other); err == nil || !strings.Contains(err.Error(), "is not the gateway's socket") {
		t.Errorf("another answer: %v", err)
	}
	silent, err := net.Listen("unix", filepath.Join(dir, "silent.sock")) // takes connections, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, _, err := cli(t, "secrets", "status", "--socket", filepath.Join(dir, "silent.sock"), "--timeout", "20ms"); err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("a silent listener: %v", err)
	}
	if os.Geteuid() != 0 { // root may
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		if _, _, err := cli(t, "secrets", "status", "--socket", path); err == nil || !strings.Contains(err.Error(), "is for the gateway's user") {
			t.Errorf("somebody else: %v", err)
		}
	}
}
