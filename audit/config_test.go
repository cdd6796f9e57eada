package audit_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/audit"
)

func TestCheckReportsEveryProblemAndNeverTheKey(t *testing.T) {
	private, public, err := audit.Keygen("gw.test/audit")
	if err != nil {
		t.Fatal(err)
	}
	key := func(s string) func() string { return func() string { return s } }
	for _, c := range []struct {
		name   string
		config audit.Config
		want   string // the paths with problems
	}{
		{"zero", audit.Config{}, "dir key"},
		{"least", audit.Config{Dir: "/d", Key: key(private + "\n")}, ""},
		{"all", audit.Config{Dir: "/d", Key: key(private), Wait: time.Second, Mode: "buffered", SegmentSize: 1 << 20}, ""},
		{"bounds", audit.Config{Dir: "/d", Key: key(private), Wait: time.Minute, Mode: "lax", SegmentSize: 1}, "wait mode segment_size"},
		{"short wait", audit.Config{Dir: "/d", Key: key(private), Wait: time.Millisecond}, "wait"},
		{"empty key", audit.Config{Dir: "/d", Key: key("\n")}, "key"},
		{"public key", audit.Config{Dir: "/d", Key: key(public)}, "key"},
		{"broken key", audit.Config{Dir: "/d", Key: key(private[:len(private)-9] + "AAAAAAAAA")}, "key"},
	} {
		var paths []string
		c.config.Check(func(path, problem string) {
			paths = append(paths, path)
			if strings.Contains(problem, "KEY") || c.config.Key != nil && len(c.config.Key()) > 1 && strings.Contains(problem, c.config.Key()[:20]) {
				t.Errorf("%s: quotes the key: %s", c.name, problem)
			}
		})
		if got := strings.Join(paths, " "); got != c.want {
			t.Errorf("%s: problems with %q, want %q", c.name, got, c.want)
		}
		if c.want != "" {
			if l, err := audit.Open(audit.Setup{Config: c.config}); err == nil {
				t.Errorf("%s: opened %v", c.name, l)
			}
		}
	}
}

func TestKeysHaveNamesAndPublicHalves(t *testing.T) {
	var private, public string
	for range 100 { // about half of them have a + in their base64
		var err error
		if private, public, err = audit.Keygen("gw.test/audit"); err != nil || !strings.HasPrefix(public, "gw.test/audit+") {
			t.Fatal(public, err)
		}
		if got, err := audit.PublicKey(private); err != nil || got != public {
			t.Fatalf("PublicKey: %q %v", got, err)
		}
	}
	for _, name := range []string{"", "a b", "a+b"} {
		if _, _, err := audit.Keygen(name); err == nil {
			t.Errorf("%q names a key", name)
		}
	}
	if _, err := audit.PublicKey(public); err == nil || strings.Contains(err.Error(), public) {
		t.Errorf("PublicKey of a public key: %v", err)
	}
}

func TestBytesReadAndWriteTheirUnits(t *testing.T) {
	for text, want := range map[string]audit.Bytes{
		"0": 0, "512": 512, "512B": 512, "10KiB": 10 << 10, "64MiB": 64 << 20, "1GiB": 1 << 30,
	} {
		var b audit.Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%s: %d %v", text, b, err)
		}
		var again audit.Bytes
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Errorf("%s: as %s: %v", text, b, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "64MB", "64 MiB", "1TiB", "9223372036854775807KiB", "99999999999999999999", "+1", "0x10"} {
		var b audit.Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %d", text, b)
		}
	}
	if s := fmt.Sprint(audit.Bytes(64<<20), audit.Bytes(1500), audit.Bytes(0)); s != "64MiB 1500 0" {
		t.Error(s)
	}
}

// Nothing that holds the key prints it.
func TestTheKeyIsNeverPrinted(t *testing.T) {
	b := newBench(t)
	l := b.open()
	b.close(l)
	seed := strings.SplitN(b.setup.Config.Key(), "+", 5)[4]
	raw, err := base64.StdEncoding.DecodeString(seed)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{b.setup, b.setup.Config, l, &b.setup} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			out := fmt.Sprintf(verb, v)
			if strings.Contains(out, seed) || strings.Contains(out, fmt.Sprintf("%x", raw[1:])) || strings.Contains(out, fmt.Sprintf("%x", seed)) {
				t.Errorf("%s of %T prints the key", verb, v)
			}
		}
		if out, _ := json.Marshal(v); strings.Contains(string(out), seed) {
			t.Errorf("JSON of %T prints the key", v)
		}
		var out strings.Builder
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		if strings.Contains(out.String(), seed) {
			t.Errorf("slog of %T prints the key", v)
		}
	}
}
