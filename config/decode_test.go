package config_test

import (
	"encoding"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/config"
)

// Every field of the configuration, in whatever package, is of a kind that the
// decoder knows: one that it does not would be a key that cannot be set.
func TestEveryFieldCanBeSet(t *testing.T) {
	text := reflect.TypeFor[encoding.TextUnmarshaler]()
	n := 0
	var walk func(reflect.Type, string)
	walk = func(typ reflect.Type, path string) {
		n++
		if typ == reflect.TypeFor[func() string]() || typ == reflect.TypeFor[time.Duration]() {
			return
		}
		switch typ.Kind() {
		case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
		case reflect.Pointer, reflect.Slice:
			walk(typ.Elem(), path)
		case reflect.Map:
			if typ.Key().Kind() != reflect.String {
				t.Errorf("%s: a map by %v", path, typ.Key())
			}
			walk(typ.Elem(), path)
		case reflect.Struct:
			fields := 0
			for field := range typ.Fields() {
				if key := field.Tag.Get("yaml"); key != "" && key != "-" {
					fields++
					walk(field.Type, path+"."+key)
				}
			}
			if fields == 0 && !reflect.PointerTo(typ).Implements(text) {
				t.Errorf("%s: %v has no keys", path, typ)
			}
		default:
			t.Errorf("%s: %v cannot be decoded", path, typ)
		}
	}
	walk(reflect.TypeFor[config.Config](), "")
	if n < 50 {
		t.Errorf("only %d fields found", n)
	}
}

func load(t testing.TB, text string) (*config.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vaultspan.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(path, func(string) string { return "" })
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "90d": 90 * 24 * time.Hour, "1d12h": 36 * time.Hour, "1h30m": 90 * time.Minute, "0s": 0,
	} {
		c, _ := load(t, "shutdown_grace: "+text)
		if c.ShutdownGrace != want {
			t.Errorf("%s: %v", text, c.ShutdownGrace)
		}
	}
	for _, text := range []string{"-1s", "+1s", "1", "1d-1h", "d", "99999999d", "1w", "1.5d", "99999d99999999h", "''", "0", "-0s"} {
		if _, err := load(t, "shutdown_grace: "+text); err == nil || !strings.Contains(err.Error(), ":1:17: shutdown_grace: is not a duration") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAPipeIsNotWaitedFor(t *testing.T) {
	c, err := config.Load(os.DevNull, nil)
	if c != nil || err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Error(c, err)
	}
	if _, err := config.Load(filepath.Join(t.TempDir(), "absent.yaml"), nil); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Error(err)
	}
}

func TestASecretThatEveryoneMayReadIsAWarning(t *testing.T) { // P15
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "key"), []byte("0123456789abcdef"), 0o600)
	if err := os.Chmod(filepath.Join(dir, "key"), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "vaultspan.yaml")
	os.WriteFile(path, []byte(`fingerprint_key: "${file:key}"`), 0o600)
	c, _ := config.Load(path, nil)
	if w := c.Warnings(); len(w) != 1 || w[0].Path != "fingerprint_key" || w[0].Line != 1 {
		t.Errorf("warnings %v", w)
	}
	if got := c.Files(); len(got) != 2 || got[0] != filepath.Join(dir, "key") || got[1] != path {
		t.Errorf("watched %q", got)
	}
}

func TestASecretIsItsFileLessOneNewline(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "vaultspan.yaml")
	os.WriteFile(path, []byte(`fingerprint_key: "${file:key}"`), 0o600)
	for text, want := range map[string]string{"a": "a", "a\n": "a", "a\r\n": "a", "a\n\n": "a\n", " a ": " a "} {
		os.WriteFile(filepath.Join(dir, "key"), []byte(text), 0o600)
		c, _ := config.Load(path, nil)
		if c.FingerprintKey == nil || c.FingerprintKey() != want {
			t.Errorf("%q is not read as %q", text, want)
		}
	}
}

func TestALaterProblemHasItsPlace(t *testing.T) {
	c, _ := load(t, "issuers:\n  - name: corp\n    url: https://login.example.com\n")
	p := c.Problem("issuers[0].url", "does not answer")
	if len(p) != 1 || p[0].Line != 3 || p[0].Column != 10 || !strings.Contains(p[0].Source, "url: https://login.example.com") {
		t.Errorf("%+v", p)
	}
}

func FuzzLoad(f *testing.F) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		f.Fatal("no test files", err)
	}
	for _, file := range cases {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		_, files := sections(string(text))
		for _, s := range files {
			if s.name == "vaultspan.yaml" {
				f.Add(s.text)
			}
		}
	}
	f.Add("\uFEFFlisten: a\r\rurl: b\u2028admin: c")
	f.Add("a: &a [*a]")
	f.Add("issuers: [[[[[[[[{}]]]]]]]]")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := load(t, text)
		problems, ok := errors.AsType[config.Problems](err)
		if (err != nil) != ok || c == nil && len(problems) == 0 {
			t.Fatalf("%v, %v", c, err)
		}
		for _, p := range problems {
			if p.Text == "" || p.Line < 0 || p.Line > len(text)+1 || strings.ContainsAny(p.Source, "\x1b\r\n") {
				t.Errorf("a problem without words or place: %+v", p)
			}
		}
	})
}

// A line that ends otherwise must not shift the lines below it, where a secret
// may be.
func TestEveryLineEndIsCounted(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r", "\u0085", "\u2028", "\u2029"} {
		_, err := load(t, "# one"+end+"fingerprint_key: "+canary+end+"typo: x"+end)
		if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "vaultspan.yaml:3:1: typo") {
			t.Errorf("%q: %v", end, err)
		}
	}
	if _, err := load(t, "\xff\xfea\x00:\x00"); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Error(err)
	}
}
