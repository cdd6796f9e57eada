package audit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/vaultspan/vaultspan/audit"
)

// FuzzRecovery puts anything behind a log that crashed, or in its place: Open
// refuses it, or makes a log of it that verifies and keeps all that was signed.
func FuzzRecovery(f *testing.F) {
	b := newBench(f)
	l := b.open()
	b.intent(l, 1)
	b.close(l)
	whole, err := os.ReadFile(b.segments()[0])
	if err != nil {
		f.Fatal(err)
	}
	for _, tail := range []string{"", "\n", `{"seq":5`, "\x00\x00\n\x00", "{}\n", string(whole), string(whole[:200]) + "\n"} {
		f.Add([]byte(tail), true)
		f.Add([]byte(tail), false)
	}
	f.Add(whole[:len(whole)-1], false)
	f.Fuzz(func(t *testing.T, data []byte, tail bool) {
		b := &bench{t: t, setup: b.setup, public: b.public}
		b.setup.Config.Dir, b.setup.OnCheckpoint = filepath.Join(t.TempDir(), "audit"), nil
		if tail {
			data = append(bytes.Clone(whole), data...)
		}
		if err := os.Mkdir(b.setup.Config.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(b.setup.Config.Dir, "000000000001.jsonl"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		b.verify()
		l, err := audit.Open(b.setup)
		if err != nil {
			return
		}
		b.close(l)
		if r := b.whole0(); tail && r.Intents < 1 || len(r.Orphans) > 0 {
			t.Errorf("report: %+v", r)
		}
	})
}

// FuzzSince reads anything as checkpoints kept elsewhere.
func FuzzSince(f *testing.F) {
	b := newBench(f)
	b.close(b.open())
	f.Add(b.published()[0])
	f.Add("a\n1\n\n— a AAAA\n")
	f.Fuzz(func(t *testing.T, notes string) { b.verify(notes) })
}
