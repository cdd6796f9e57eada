//go:build cgo

package bitwarden_test

import (
	"encoding/pem"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/vault"
	"github.com/vaultspan/vaultspan/vault/bitwarden"
)

func TestCheckTokenNamesWhatIsWrongWithoutQuoting(t *testing.T) {
	const id, secret, key = "5f1c9d0e-0a3b-4c5d-8e7f-112233445566", "C2IgxjjLF7qSshsbwe8JGcbM075YXw", "X8vbvA0bduihIDe/qrzIQQ=="
	if err := bitwarden.CheckToken("0." + id + "." + secret + ":" + key); err != nil {
		t.Errorf("a good token: %v", err)
	}
	for _, test := range []struct{ token, says string }{
		{"", "empty"},
		{"0." + id + "." + secret + ":" + key + "\n", "white space"},
		{" 0." + id + "." + secret + ":" + key, "white space"},
		{"0." + id + "." + secret, "colon"},
		{"1." + id + "." + secret + ":" + key, "machine account"},
		{id + "." + secret + ":" + key, "machine account"},
		{"0." + id + "." + secret + ".x:" + key, "machine account"},
		{"0." + id[1:] + "." + secret + ":" + key, "UUID"},
		{"0." + id + ".:" + key, "secret"},
		{"0." + id + "." + secret + "\x00:" + key, "secret"},
		{"0." + id + "." + secret + "\xff:" + key, "secret"},
		{"0." + id + "." + secret + ":" + key[:20], "cut off"},
		{"0." + id + "." + secret + ":" + key + key, "16 bytes"},
		{"0." + id + "." + secret + ":" + strings.TrimRight(key, "="), "16 bytes"},
	} {
		err := bitwarden.CheckToken(test.token)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q: %v, want %q", test.token, err, test.says)
		}
		if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), key[:10]) || strings.Contains(err.Error(), id[1:])) {
			t.Errorf("%v quotes the token", err)
		}
	}
}

func TestNewSaysAllThatIsWrong(t *testing.T) {
	const us, eu = "bitwarden.com", "bitwarden.eu"
	for _, test := range []struct {
		config vault.Bitwarden
		says   []string
	}{
		{vault.Bitwarden{Organization: "acme", CA: "/nonexistent"}, []string{"organization: ", "access_token: ", "ca: "}},
		{vault.Bitwarden{API: "https://api." + eu}, []string{"both or neither", "EU cloud but identity its US cloud"}}, // FB19
		{vault.Bitwarden{API: "https://api." + us, Identity: "https://identity." + eu}, []string{"US cloud but identity its EU cloud"}},
		{vault.Bitwarden{API: "http://vault.example.com/api", Identity: "http://10.0.0.1/identity"}, []string{"api: want https", "identity: want https"}},
		{vault.Bitwarden{API: "https://user:pw@vault.example.com", Identity: "vault.example.com"}, []string{"api: want https", "identity: want https"}},
	} {
		_, err := bitwarden.New(bitwarden.Setup{Config: test.config})
		for _, want := range test.says {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v; want %q", test.config, err, want)
			}
		}
	}
}

func TestOwnCertificateAuthority(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewUnstartedServer(w.emulator)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	w.setup.Config.API, w.setup.Config.Identity = server.URL+"/api", server.URL+"/identity"

	_, err := bitwarden.Probe(t.Context(), w.setup)
	if failure, ok := err.(*vault.SourceError); !ok || failure.Reason != vault.Unreachable || !strings.Contains(err.Error(), "set ca") {
		t.Errorf("a certificate of nobody: %v", err)
	}
	w.setup.Config.CA = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(w.setup.Config.CA, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bitwarden.Probe(t.Context(), w.setup); err != nil {
		t.Errorf("with its authority: %v", err)
	}
}

func TestNothingWorksAfterClose(t *testing.T) { // FB16: and nothing ends the process
	w := newWorld(t)
	w.fetch(time.Time{})
	w.client.Close()
	for range 3 {
		w.fails(vault.Unusable)
		w.client.Close()
	}
}

func TestFetchesAtTheSameTime(t *testing.T) { // FB16
	w := newWorld(t)
	results := make(chan error)
	for range 8 {
		go func() {
			_, err := w.client.Fetch(t.Context(), time.Time{}, everything)
			results <- err
		}()
	}
	w.client.Fetch(t.Context(), time.Time{}, everything)
	w.client.Close()
	for range 8 {
		<-results // with or without an error: the process lives
	}
}
