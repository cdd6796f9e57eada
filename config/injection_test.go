package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v3"

	"github.com/vaultspan/vaultspan/config"
)

// The examples of docs/injection.md are whole, and good.
func TestExamplesOfInjectionLoad(t *testing.T) {
	text, err := os.ReadFile("../docs/injection.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, s := range secrets(t) {
		if err := os.WriteFile(filepath.Join(dir, s.name), []byte(s.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	schema, n := compiled(t), 0
	for _, block := range strings.Split(string(text), "\n```yaml\n")[1:] {
		example, _, _ := strings.Cut(block, "\n```")
		if !strings.HasPrefix(example, "listen:") {
			continue
		}
		n++
		name := filepath.Join(dir, "vaultspan.yaml")
		if err := os.WriteFile(name, []byte(example), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(name, nil); err != nil {
			t.Errorf("example %d: %v", n, err)
		}
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(example), &doc); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(instance(&doc)); err != nil {
			t.Errorf("example %d: %v", n, err)
		}
	}
	if n < 2 {
		t.Errorf("docs/injection.md has %d examples", n)
	}
}
