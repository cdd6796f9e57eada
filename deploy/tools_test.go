package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// promtool knows the templates of annotations too, and runs the alerts against
// made-up series.
func TestPromtoolAcceptsTheRules(t *testing.T) {
	promtool := tool(t, "promtool", "prometheus")
	for _, args := range [][]string{{"check", "rules", "vaultspan.rules.yml"}, {"test", "rules", "vaultspan.rules.test.yml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = "prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// unit is a copy of the service that runs this test's binary: systemd checks
// that there is one.
func unit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("systemd/vaultspan.service")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const installed = "/usr/local/bin/vaultspan"
	if !strings.Contains(string(text), "ExecStart="+installed+" ") {
		t.Fatalf("the unit does not start %s", installed)
	}
	path := filepath.Join(t.TempDir(), "vaultspan.service")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), installed, program)), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSystemdAcceptsTheUnit(t *testing.T) {
	analyze := tool(t, "systemd-analyze", "systemd")
	out, err := exec.Command(analyze, "verify", "--man=no", unit(t)).CombinedOutput()
	if err != nil || strings.Contains(string(out), "vaultspan") { // it warns of what it does not know, and exits 0
		t.Errorf("%v\n%s", err, out)
	}
}

// systemd rates the exposure of a unit from 0 to 10; most services have 9.
func TestTheUnitExposesLittle(t *testing.T) {
	analyze := tool(t, "systemd-analyze", "systemd")
	out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold=15", unit(t)).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
