package config_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/config"
	"github.com/vaultspan/vaultspan/policy"
)

var update = flag.Bool("update", false, "write what is found into the test files")

// canary stands wherever a case has a secret, in the right place or the wrong.
const canary = "CANARY-0f1e2d3c4b5a"

// section is one file of a txtar archive.
type section struct{ name, text string }

// sections reads a txtar archive: a comment, then files between -- name -- lines.
func sections(text string) (comment string, files []section) {
	for line := range strings.Lines(text) {
		name, marker := strings.CutPrefix(strings.TrimSpace(line), "-- ")
		if name, ok := strings.CutSuffix(name, " --"); marker && ok {
			files = append(files, section{name: name})
		} else if len(files) == 0 {
			comment += line
		} else {
			files[len(files)-1].text += line
		}
	}
	return comment, files
}

// secrets are the files that a good configuration refers to.
func secrets(t *testing.T) []section {
	t.Helper()
	key, _, err := audit.Keygen("test")
	if err != nil {
		t.Fatal(err)
	}
	token := func(n int) string {
		return fmt.Sprintf("0.5f1d7a84-0000-4000-8000-%012d.%s:AAAAAAAAAAAAAAAAAAAAAA==\n", n, canary)
	}
	return []section{
		{"audit.key", key}, {"fingerprint.key", "0123456789abcdef" + canary},
		{"bws-prod", token(1)}, {"bws-test", token(2)}, {"long", strings.Repeat("a", 64<<10+1)}, {"empty", "\n"},
	}
}

// Each file of testdata is a configuration and all the problems it has. Its
// comment names the attack cases it covers.
func TestEveryProblemIsFoundAndPlaced(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal("no test files", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			comment, files := sections(string(text))
			dir, want, env := t.TempDir(), "", map[string]string{}
			for _, s := range append(secrets(t), files...) {
				switch s.name {
				case "want":
					want = s.text
					continue
				case "env":
					for line := range strings.Lines(s.text) {
						name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
						env[name] = value
					}
					continue
				}
				path := filepath.Join(dir, s.name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(s.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			absolute, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(dir)

			c, err := config.Load("vaultspan.yaml", func(name string) string { return env[name] })
			var policyErr error
			if c != nil && strings.Contains(comment, "with policy") {
				_, policyErr = policy.New(t.Context(), policy.Rules{Config: c.Policy})
			}
			got := config.AllProblems("vaultspan.yaml", err, policyErr).Error()
			if c != nil && len(c.Warnings()) > 0 {
				got += "warnings:\n" + c.Warnings().Error()
			}
			got = strings.ReplaceAll(got, dir, "DIR")
			if got != "" {
				got += "\n"
			}
			if *update {
				var updated strings.Builder
				updated.WriteString(comment)
				for _, s := range append(slices.DeleteFunc(files, func(s section) bool { return s.name == "want" }), section{"want", got}) {
					updated.WriteString("-- " + s.name + " --\n" + s.text)
				}
				if err := os.WriteFile(absolute, []byte(updated.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if strings.Contains(got, canary) {
				t.Error("a problem shows a secret")
			}
			printsNothing(t, c)
		})
	}
}

// printsNothing prints a configuration in every way and looks for a secret.
func printsNothing(t *testing.T, c *config.Config) {
	t.Helper()
	if c == nil {
		return
	}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("loaded", "config", c)
	texts := []string{logged.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		texts = append(texts, fmt.Sprintf(verb, c), fmt.Sprintf(verb, *c))
	}
	for _, text := range texts {
		if strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) {
			t.Errorf("printing shows a secret: %.200s", text)
		}
	}
}
