package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// adminSaying is an admin listener that gives these answers, and its host:port.
func adminSaying(t *testing.T, status int, ready string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, ready)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestHealthIsTheProcessAndReadyIsWhatItNeeds(t *testing.T) {
	const good = `{"ready": true, "config": "ready", "audit": "ready", "issuers": {"a": "ready"}, "vaults": {"prod": "ready"}, "routes": {"r": "ready", "s": "ready"}}`
	partly := strings.Replace(good, `"s": "ready"`, `"s": "never synced"`, 1)
	bad := strings.NewReplacer("true", "false", `"audit": "ready"`, `"audit": "no space left"`).Replace(good)
	for name, c := range map[string]struct {
		status  int
		ready   string
		args    []string
		out     string
		problem string
	}{
		"alive":                   {200, good, nil, "ok\n", ""},
		"alive but not ready":     {503, bad, nil, "ok\n", ""},
		"ready":                   {200, good, []string{"--ready"}, "ready\n", ""},
		"one route is not":        {200, partly, []string{"--ready"}, "ready, but for:\n  route s: never synced\n", ""},
		"that route":              {503, partly, []string{"--route", "s"}, "", "not ready:\n  route s: never synced"},
		"the other route":         {200, partly, []string{"--route", "r"}, "ready\n", ""},
		"a route that is not one": {503, good, []string{"--route", "x"}, "", "route x: there is no such route"},
		"not ready":               {503, bad, []string{"--ready"}, "", "audit: no space left"},
		"draining":                {503, strings.Replace(good, "true", "false", 1), []string{"--ready"}, "", "not ready:\n  draining"},
		"something else":          {200, "<html>", []string{"--ready"}, "", "is not the gateway's admin listener"},
	} {
		t.Run(name, func(t *testing.T) {
			address := adminSaying(t, c.status, c.ready)
			out, _, err := cli(t, append([]string{"health", "--address", address}, c.args...)...)
			if out != c.out || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
				t.Errorf("said %q and %v, want %q and %q", out, err, c.out, c.problem)
			}
		})
	}
}

func TestHealthFindsTheGatewayOfAConfiguration(t *testing.T) {
	_, port, err := net.SplitHostPort(adminSaying(t, 200, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vaultspan.yaml")
	for name, c := range map[string]struct{ text, problem string }{
		"its address":                 {"admin: {listen: 127.0.0.1:" + port + "}\n", ""},
		"every address":               {"admin: {listen: 0.0.0.0:" + port + "}\n", ""},
		"the rest of it bad":          {"admin: {listen: 127.0.0.1:" + port + "}\nroutes: [{nmae: x}]\n", ""},
		"a port known to nobody else": {"admin: {listen: 127.0.0.1:0}\n", "give --address"},
		"no YAML":                     {"admin: {", "give --address"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, _, err := cli(t, "health", "-c", path)
			if c.problem == "" && (err != nil || out != "ok\n") || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
				t.Errorf("said %q and %v, want %q", out, err, c.problem)
			}
		})
	}
}

func TestHealthSaysThatNobodyAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // takes connections, and never answers
	_, _, err = cli(t, "health", "--address", listener.Addr().String(), "--timeout", "50ms")
	if err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("a silent listener: %v", err)
	}
	if _, _, err = cli(t, "health", "--address", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("no listener: %v", err)
	}
}

func TestHealthAsksNoProxyAndFollowsNobody(t *testing.T) {
	asked := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked++; fmt.Fprintln(w, "ok") }))
	defer elsewhere.Close()
	t.Setenv("HTTP_PROXY", elsewhere.URL)
	t.Setenv("http_proxy", elsewhere.URL)
	sending := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer sending.Close()
	if _, _, err := cli(t, "health", "--address", sending.Listener.Addr().String()); err == nil || asked > 0 {
		t.Errorf("went elsewhere %d times: %v", asked, err)
	}
}
