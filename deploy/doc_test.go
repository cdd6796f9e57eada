// Package deploy_test proves that what this directory gives operators fits the
// gateway: every expression of the alerts and of the dashboard is parsed by
// Prometheus's own parser, and each metric, label and value in it is one that
// the built binary exports, under traffic, reloads and a disk that fails.
//
// It is a module of its own, so that Prometheus is not a dependency of the
// gateway. A tool that is missing (promtool, systemd-analyze) skips a test, and
// with CI=true fails it.
package deploy_test

import (
	"os"
	"os/exec"
	"testing"
)

// tool finds a program that a test cannot do without.
func tool(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: apt-get install %s", name, debian)
	}
	t.Skipf("%s is missing: apt-get install %s", name, debian)
	return ""
}
