package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// J23: a library that is asked to print what travels is not allowed to begin; and
// neither command gets as far as reading the configuration.
func TestNothingStartsThatPrintsCredentials(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"GODEBUG", "http2debug=1", "GODEBUG has http2debug"},
		{"GODEBUG", "http2debug=2", "GODEBUG has http2debug"},
		{"GODEBUG", "netdns=go,http2debug=2,gctrace=1", "GODEBUG has http2debug"},
		{"GODEBUG", "http2debug=0,netdns=go", ""},
		{"GRPC_BINARY_LOG_FILTER", "*", "GRPC_BINARY_LOG_FILTER writes"},
		{"RUST_LOG", "debug", ""}, // overridden: see bitwarden.TestNothingIsPrintedAndNoProxyIsUsed
		{"SSLKEYLOGFILE", "/tmp/keys", ""},
	} {
		for _, command := range []string{"serve", "check"} {
			getenv := func(name string) string { return map[string]string{c.name: c.value}[name] }
			want := c.want
			if want == "" {
				want = "reported" // the configuration does not exist
			}
			err := run(t.Context(), []string{command, "-c", filepath.Join(t.TempDir(), "none.yaml")}, getenv, &strings.Builder{}, &strings.Builder{})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s with %s=%s: %v, want %q", command, c.name, c.value, err, want)
			}
		}
	}
}
