// Package vaultspan_test guards the repository itself: who may import whom,
// how long a file may be, and that what the documents quote is true.
package vaultspan_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/vaultspan/vaultspan/"

// mayImport lists, for each package, which of ours it may import. What is not
// listed is forbidden: siblings never import each other, and no package below
// cmd knows config.
var mayImport = map[string][]string{
	"telemetry/attr":  {},
	"telemetry":       {"telemetry/attr"},
	"authn":           {"telemetry/attr"},
	"authn/assertion": {},
	"authn/devidp":    {},
	"authn/session":   {"authn", "telemetry/attr"},
	"policy":          {"telemetry/attr"},
	"vault":           {"telemetry/attr"},
	"vault/bitwarden": {"vault", "telemetry/attr"},
	"vault/bwemu":     {},
	"audit":           {"telemetry/attr"},
	"proxy":           {"authn", "authn/assertion", "policy", "vault", "audit", "telemetry/attr"},
	"config":          {"authn", "authn/assertion", "authn/session", "policy", "vault", "audit", "telemetry", "proxy"},
	"cmd/vaultspan": {
		"config", "proxy", "authn", "authn/assertion", "authn/devidp", "authn/session", "policy", "vault", "vault/bitwarden", "vault/bwemu", "audit", "telemetry", "telemetry/attr",
	},
}

// onlyImporters names the packages that alone may import a module, and why.
var onlyImporters = map[string][]string{
	"github.com/bitwarden/sdk-go":         {"vault/bitwarden"}, // cgo, a licence of its own, and calls that can kill the process
	"github.com/aws/aws-sdk-go-v2":        {"vault"},
	"github.com/open-policy-agent/opa":    {"policy"},
	"github.com/zitadel/oidc":             {"authn/devidp"},
	"github.com/coreos/go-oidc":           {"authn", "examples/assertion"},
	"github.com/spf13/cobra":              {"cmd/vaultspan"},
	"go.yaml.in/yaml":                     {"config", "vault"},                // vault: the block that operators write into a secret's note
	"golang.org/x/oauth2":                 {"authn", "authn/devidp", "vault"}, // vault: it exchanges secrets
	"golang.org/x/mod/sumdb":              {"audit"},
	"go.opentelemetry.io/otel/exporters":  {"telemetry"},
	"go.opentelemetry.io/otel/sdk":        {"telemetry", "cmd/vaultspan"},
	"github.com/prometheus/client_golang": {"telemetry"},
	"github.com/go-jose/go-jose":          {"authn", "authn/assertion", "authn/devidp"},
	"github.com/mattn/go-sqlite3":         {"authn/session"},
	"github.com/redis/go-redis":           {"authn/session"},
}

// longFiles names the hand-written files over 400 lines, each with its reason.
var longFiles = map[string]string{}

type listed struct {
	ImportPath string
	Doc        string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages: is this the repository?", len(all))
	}
	return all
}

func TestRepoLayers(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if name+"/" == module {
			continue
		}
		allowed, known := mayImport[name]
		if !known && !strings.HasPrefix(name, "examples/") {
			t.Errorf("package %s is not in the layout: add it to mayImport with an ADR, or put the code in a package that is", name)
		}
		for _, imported := range p.Imports {
			if ours, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s: the layout does not let it", name, ours)
			}
			for owned, by := range onlyImporters {
				if strings.HasPrefix(imported, owned) && !slices.Contains(by, name) {
					t.Errorf("%s imports %s: only %v may", name, imported, by)
				}
			}
		}
	}
}

func TestRepoPackagesAreDocumented(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && p.ImportPath+"/" != module {
			t.Errorf("%s has no package comment: say what it trusts and what it refuses", p.ImportPath)
		}
	}
}

func TestRepoHasNoReplace(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mod), "replace") {
		t.Error("go.mod has a replace directive: go install of the module would ignore it")
	}
}

func TestRepoFilesAreShort(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		seen++
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		lines := 0
		for s := bufio.NewScanner(f); s.Scan(); {
			lines++
		}
		if lines > 400 && longFiles[path] == "" {
			t.Errorf("%s has %d lines: split it by responsibility, or name it in longFiles with a reason", path, lines)
		}
		return nil
	})
	if err != nil || seen == 0 {
		t.Fatalf("walked %d files: %v", seen, err)
	}
}

// TestRepoLifeOfARequest: the table that tells auditors in which order a request is
// judged has the steps of the one function that does it, in its order.
func TestRepoLifeOfARequest(t *testing.T) {
	steps := func(file, pattern string) []string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, found := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			names = append(names, string(found[1]))
		}
		return names
	}
	done := append(steps("proxy/proxy.go", `(?m)^\t\tx\.(\w+),$`), "forward")
	told := steps("docs/architecture.md", "(?m)^\\| \\w+ \\| `exchange\\.(\\w+)`")
	if len(done) < 2 || !slices.Equal(done, told) {
		t.Errorf("proxy/proxy.go does %v, docs/architecture.md tells %v", done, told)
	}
}
