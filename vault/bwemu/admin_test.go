package bwemu_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/vault/bwemu"
)

func TestAdminFromAnotherProcess(t *testing.T) {
	e := bwemu.New()
	org := e.AddOrganization()
	project := org.AddProject("payments")
	secret := org.AddSecret("KEY", "first", "", project)
	account := org.AddAccount("gateway", project)
	server, err := e.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	login := func() int {
		id, rest, _ := strings.Cut(strings.TrimPrefix(account.AccessToken(), "0."), ".")
		password, _, _ := strings.Cut(rest, ":")
		response, err := http.PostForm(server.Identity+"/connect/token", url.Values{
			"scope": {"api.secrets"}, "grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {password}})
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	for _, step := range []struct {
		path, body string
		want       int
		login      int // what a login says afterwards
	}{
		{"/rotate", `{"secret": "KEY", "value": "second"}`, 204, 200},
		{"/rotate", `{"secret": "` + secret.ID + `", "value": "third"}`, 204, 200},
		{"/rotate", `{"secret": "OTHER", "value": "second"}`, 404, 200},
		{"/rotate", `{"secert": "KEY"}`, 400, 200},
		{"/fault", `{"endpoint": "token", "status": 503}`, 204, 503},
		{"/clear", ``, 204, 200},
		{"/revoke", `{"account": "gateway"}`, 204, 400},
	} {
		response, err := http.Post(server.Admin+step.path, "application/json", strings.NewReader(step.body))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != step.want {
			t.Errorf("POST %s %s: %d, want %d", step.path, step.body, response.StatusCode, step.want)
		}
		if got := login(); got != step.login {
			t.Errorf("after %s a login says %d, want %d", step.path, got, step.login)
		}
	}
	response, err := http.Get(server.Admin + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var stats map[bwemu.Endpoint]int
	if err := json.NewDecoder(response.Body).Decode(&stats); err != nil || stats[bwemu.Token] != 7 {
		t.Errorf("stats = %v, %v; want 7 logins", stats, err)
	}
	// The API's port knows nothing of it.
	response, err = http.Get(strings.TrimSuffix(server.API, "/api") + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("the API answers /stats with %d", response.StatusCode)
	}
}
