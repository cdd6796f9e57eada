package canary_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/e2e/canary"
)

// The secret needs escaping everywhere it goes.
const secret = "CANARY-\"é+/<U1>&=\\"

func scanner(t *testing.T, secrets ...string) *canary.Scanner {
	t.Helper()
	s := new(canary.Scanner)
	if err := s.Add(secrets...); err != nil {
		t.Fatal(err)
	}
	return s
}

func percent(text, format string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

func zip(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEveryEncodingIsFound(t *testing.T) {
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := json.Marshal(string(quoted))
	if err != nil {
		t.Fatal(err)
	}
	var unicode strings.Builder
	for _, r := range secret {
		fmt.Fprintf(&unicode, `\u%04X`, r)
	}
	zipped := zip(t, secret)
	cases := map[string]string{
		"raw":                    secret,
		"hex":                    hex.EncodeToString([]byte(secret)),
		"upper hex":              strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"percent, every byte":    percent(secret, "%%%02x"),
		"percent, upper":         percent(secret, "%%%02X"),
		"query escape":           url.QueryEscape(secret),
		"path escape":            url.PathEscape(secret),
		"JSON":                   string(quoted),
		"JSON, every rune":       unicode.String(),
		"JSON in JSON":           string(twice),
		"Go string":              fmt.Sprintf("%+q", secret),
		"query in JSON":          strings.ReplaceAll(url.QueryEscape(secret), "%", `\u0025`),
		"JSON in a query":        url.QueryEscape(string(quoted)),
		"base64 in a query":      url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("x" + secret))),
		"gzip":                   zip(t, secret),
		"gzip of base64":         zip(t, base64.StdEncoding.EncodeToString([]byte(secret))),
		"gzip in gzip":           zip(t, "before"+zip(t, secret)),
		"gzip cut short":         zipped[:len(zipped)-8],
		"basic credentials":      base64.StdEncoding.EncodeToString([]byte("svc:" + secret)),
		"second gzip of several": zip(t, "nothing") + "between" + zip(t, secret),
	}
	for _, enc := range []struct {
		name string
		enc  *base64.Encoding
	}{
		{"std", base64.StdEncoding}, {"raw std", base64.RawStdEncoding},
		{"url", base64.URLEncoding}, {"raw url", base64.RawURLEncoding},
	} {
		for before := range 4 {
			for after := range 4 {
				text := strings.Repeat("\xff", before) + secret + strings.Repeat("\xff", after)
				cases[fmt.Sprintf("base64 %s, %d before, %d after", enc.name, before, after)] = enc.enc.EncodeToString([]byte(text))
			}
		}
	}
	s := scanner(t, secret)
	for name, text := range cases {
		found := s.Bytes("buffer", []byte("some text "+text+" more text"))
		if len(found) == 0 {
			t.Errorf("%s: not found in %q", name, text)
		}
		for _, f := range found {
			if f.Secret != secret || !strings.HasPrefix(f.Where, "buffer") {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
}

func TestNothingIsFoundWhereNothingIs(t *testing.T) {
	s := scanner(t, secret, "CANARY-U2-0123456789")
	for _, text := range []string{"", "CANARY-", "%", `\`, `\u00`, `\x4`, "%4", "\x1f\x8b\x08", zip(t, "clean"), strings.Repeat("CANARY-U2-", 50)} {
		if found := s.Bytes("buffer", []byte(text)); len(found) > 0 {
			t.Errorf("%q: %v", text, found)
		}
	}
}

func TestFindingsSayWhere(t *testing.T) {
	s := scanner(t, "CANARY-U2-0123456789")
	found := s.Bytes("gateway.log", []byte("key=CANARY-U2-0123456789"))
	if len(found) != 1 || found[0].String() != `gateway.log: "CANARY-U2-0123456789" as raw at byte 4` {
		t.Errorf("%v", found)
	}
	found = s.Bytes("audit", []byte("x"+zip(t, url.QueryEscape("a=CANARY-U2-0123456789"))))
	if len(found) != 1 || found[0].Where != "audit (gzip at 1)" {
		t.Errorf("%v", found)
	}
}

func TestFilesAndTheirNames(t *testing.T) {
	s := scanner(t, "CANARY-U2-0123456789")
	dir := t.TempDir()
	if _, err := s.Path(dir); err == nil {
		t.Error("an empty directory was scanned without complaint")
	}
	if _, err := s.Path(filepath.Join(dir, "absent")); err == nil {
		t.Error("an absent file was scanned without complaint")
	}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("clean", "nothing")
	if found, err := s.Path(dir); err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
	write("deep/er/leak", "CANARY-U2-0123456789")
	write("deep/CANARY-U2-0123456789.tmp", "")
	found, err := s.Path(dir)
	if err != nil || len(found) != 2 {
		t.Errorf("%v, %v", found, err)
	}
}

func TestShortCanariesAreRefused(t *testing.T) {
	if err := new(canary.Scanner).Add("1234567"); err == nil {
		t.Error("accepted")
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte(`\u00`))
	f.Add([]byte("%%%4"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	s := new(canary.Scanner)
	if err := s.Add(secret); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, noise []byte) {
		// A secret beside any noise is found, raw and in base64.
		if len(s.Bytes("raw", append(append([]byte{}, noise...), secret...))) == 0 {
			t.Errorf("raw after %q", noise)
		}
		text := base64.URLEncoding.EncodeToString(append(append([]byte{}, noise...), secret...))
		if len(s.Bytes("base64", []byte(text))) == 0 {
			t.Errorf("base64 after %q", noise)
		}
	})
}
