package vaultspan_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/proxy"
)

// entries are the sections of docs/runbook.md by heading, each with its text in
// one line.
func entries(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for i, part := range strings.Split(string(text), "\n### ") {
		heading, body, _ := strings.Cut(part, "\n")
		if i == 0 {
			continue
		}
		body, _, _ = strings.Cut(body, "\n## ")
		if _, twice := all[heading]; twice {
			t.Errorf("the runbook has %s twice", heading)
		}
		all[heading] = strings.Join(strings.Fields(body), " ")
	}
	return all
}

// Whoever is told a code, or woken by an alert, finds it in the runbook; and the
// runbook speaks of nothing that is no more.
func TestRepoRunbookHasEveryRefusalAndAlert(t *testing.T) {
	have := entries(t)
	want := map[string][]string{} // heading → what the entry says
	for _, r := range proxy.Refusals() {
		want[fmt.Sprintf("`%s` (%d)", r.Code, r.Status)] = []string{`**The caller sees** "` + r.Title + `"`, "**Causes**", "**Look at**", "**Do**"}
	}
	rules, err := os.ReadFile("deploy/prometheus/vaultspan.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	alerts := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(string(rules), -1)
	if len(alerts) == 0 {
		t.Fatal("the rules have no alert")
	}
	for _, alert := range alerts {
		want[alert[1]] = []string{"**Means**", "**Causes**", "**Look at**", "**Do**"}
	}
	for heading, parts := range want {
		body, ok := have[heading]
		if !ok {
			t.Errorf("the runbook has no entry %q", heading)
		}
		for _, part := range parts {
			if ok && !strings.Contains(body, part) {
				t.Errorf("the entry %q does not say %s", heading, part)
			}
		}
	}
	for heading := range have {
		if want[heading] == nil {
			t.Errorf("the runbook has an entry %q, and there is no such refusal or alert", heading)
		}
	}
}

// What the runbook tells people to look for exists: log lines in the source,
// attributes in their list, metrics on the dashboard or in an alert, links in
// the document.
func TestRepoRunbookNamesWhatThereIs(t *testing.T) {
	source := read(t, ".", ".go")
	attributes, err := os.ReadFile("telemetry/attr/attr.go")
	if err != nil {
		t.Fatal(err)
	}
	metrics := read(t, "deploy/grafana", ".json") + read(t, "deploy/prometheus", ".yml")
	have := entries(t)
	quoted, lines := regexp.MustCompile("`([^`]+)`"), regexp.MustCompile("log lines? (`[^`]+`(, | and )?)+")
	n := 0
	for heading, body := range have {
		for _, clause := range lines.FindAllString(body, -1) {
			for _, m := range quoted.FindAllStringSubmatch(clause, -1) {
				if n++; !strings.Contains(source, `"`+m[1]+`"`) {
					t.Errorf("%s: nothing logs %q", heading, m[1])
				}
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(body, -1) {
			name := regexp.MustCompile(`^\w+(\.\w+)*`).FindString(m[1])
			switch {
			case strings.HasPrefix(name, "vaultspan."):
				if n++; name != "vaultspan.yaml" && !strings.Contains(string(attributes), `"`+name+`"`) {
					t.Errorf("%s: no span has the attribute %s", heading, name)
				}
			case strings.HasPrefix(name, "vaultspan_"), strings.HasPrefix(name, "http_"):
				if n++; !strings.Contains(metrics, name) {
					t.Errorf("%s: neither the dashboard nor an alert knows %s", heading, name)
				}
			}
		}
		for _, m := range regexp.MustCompile(`\]\(#(\w+)\)`).FindAllStringSubmatch(body, -1) {
			found := false
			for other := range have {
				found = found || strings.ToLower(other) == m[1]
			}
			if n++; !found {
				t.Errorf("%s: the link #%s leads nowhere", heading, m[1])
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d names found", n)
	}
}

// read is the text of all files below a directory with a suffix, tests and other
// modules left out.
func read(t *testing.T, dir, suffix string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, suffix) || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "e2e/") {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil || all.Len() == 0 {
		t.Fatalf("%s holds no %s: %v", dir, suffix, err)
	}
	return all.String()
}
