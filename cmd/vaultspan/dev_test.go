package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every API of the development world takes its own secret, where it is said to
// want it, and no other secret.
func TestDevAPIsDemandTheirSecrets(t *testing.T) {
	w := newDevWorld()
	asks := map[string]string{ // the request each understands
		"payments": "/v1/balance", "search": "/v1/find", "wiki": "/Home",
		"openai": "/v1/chat/completions", "anthropic": "/v1/messages",
		"gemini": "/v1beta/models/gemini-2.5-flash:generateContent",
	}
	ask := func(api devAPI, key string) int {
		r := httptest.NewRequest(http.MethodPost, asks[api.Name], strings.NewReader(`{}`))
		if field, value, ok := strings.Cut(api.Demands, ": "); ok {
			r.Header.Set(field, strings.Replace(value, "…", key, 1))
		}
		answer := httptest.NewRecorder()
		api.handler.ServeHTTP(answer, r)
		if !json.Valid(answer.Body.Bytes()) {
			t.Errorf("%s answers %q", api.Name, answer.Body)
		}
		return answer.Code
	}
	for _, api := range w.APIs {
		if code := ask(api, api.Secret.value()); code != http.StatusOK {
			t.Errorf("%s: %d with its own secret", api.Name, code)
		}
		if code := ask(api, devSecret{"another", "SECRET"}.value()); api.Secret.Name != "" && code < 400 {
			t.Errorf("%s: %d with another secret", api.Name, code)
		}
	}
}

func TestDevWritesSecretsForTheirOwnerOnly(t *testing.T) {
	out, login := filepath.Join(t.TempDir(), "bws.token"), filepath.Join(t.TempDir(), "login.secret")
	if _, _, err := cli(t, "dev", "access-token", "gateway", "--out", out); err != nil {
		t.Fatal(err)
	}
	if _, _, err := cli(t, "dev", "client-secret", "vaultspan", "--out", login); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(login); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	info, err := os.Stat(out)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	text, _, err := cli(t, "dev", "access-token", "gateway")
	written, readErr := os.ReadFile(out)
	if err != nil || readErr != nil || text != string(written) {
		t.Errorf("%q was printed, %q was written: want the same each time; %v, %v", text, written, err, readErr)
	}
}

func TestDevSaysWhatThereIs(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"dev", "access-token", "nobody"}, "there is gateway, payments, search"},
		{[]string{"dev", "secret", "nothing"}, "payments/PAYMENTS_API_KEY"},
		{[]string{"dev", "client-secret", "nobody"}, "there is vaultspan"},
	} {
		if _, _, err := cli(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
}
