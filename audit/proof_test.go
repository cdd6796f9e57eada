package audit_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/vaultspan/vaultspan/audit"
)

// N12: the tree is RFC 6962's over the exact lines, so that anybody's software
// proves inclusion and consistency against our checkpoints. Here, that of
// golang.org/x/mod/sumdb/tlog, which built none of it.
func TestStandardProofsHoldAgainstOurCheckpoints(t *testing.T) {
	b := newBench(t)
	l := b.open()
	for n := range 250 {
		b.intent(l, n)
		l.Outcome(outcome(n))
		l.Refusal(audit.Event{Code: "denied", Client: fmt.Sprint(n)})
		if n%25 == 0 {
			b.close(l)
			l = b.open()
		}
	}
	b.close(l)
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = stored[x]
		}
		return out, nil
	})
	var lines [][]byte
	for _, name := range b.segments() {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			hashes, err := tlog.StoredHashes(int64(len(lines)), bytes.TrimSuffix(line, []byte("\n")), reader)
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, hashes...)
			lines = append(lines, bytes.TrimSuffix(line, []byte("\n")))
		}
	}
	verifier, err := note.NewVerifier(b.public)
	if err != nil {
		t.Fatal(err)
	}
	type signed struct {
		size int64
		root tlog.Hash
	}
	var heads []signed
	for _, text := range b.published() {
		n, err := note.Open([]byte(text), note.VerifierList(verifier))
		if err != nil {
			t.Fatal(err)
		}
		var h signed
		var origin, root string
		if _, err := fmt.Sscanf(n.Text, "%s\n%d\n%s\n", &origin, &h.size, &root); err != nil || origin != "gw.test/audit" {
			t.Fatal(n.Text, err)
		}
		if h.root, err = tlog.ParseHash(root); err != nil {
			t.Fatal(err)
		}
		heads = append(heads, h)
	}
	if len(lines) < 700 || len(heads) < 10 {
		t.Fatalf("%d lines, %d checkpoints", len(lines), len(heads))
	}
	for i, h := range heads {
		for range 50 {
			n := rand.Int64N(h.size)
			proof, err := tlog.ProveRecord(h.size, n, reader)
			if err != nil {
				t.Fatal(err)
			}
			leaf := tlog.RecordHash(lines[n])
			if err := tlog.CheckRecord(proof, h.size, h.root, n, leaf); err != nil {
				t.Fatalf("record %d in %d: %v", n, h.size, err)
			}
			if tlog.CheckRecord(proof, h.size, h.root, n, tlog.RecordHash(lines[(n+1)%int64(len(lines))])) == nil {
				t.Fatalf("another record passes for %d in %d", n, h.size)
			}
		}
		for _, older := range heads[:i] {
			proof, err := tlog.ProveTree(h.size, older.size, reader)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckTree(proof, h.size, h.root, older.size, older.root); err != nil {
				t.Fatalf("%d in %d: %v", older.size, h.size, err)
			}
			if tlog.CheckTree(proof, h.size, h.root, older.size, h.root) == nil && older.size != h.size {
				t.Fatalf("another root passes for %d in %d", older.size, h.size)
			}
		}
	}
}

// A file of checkpoints may hold others' signatures, blank lines, and no newline
// at its end; it may not hold a note we did not sign.
func TestCheckpointsKeptElsewhereAreReadStrictly(t *testing.T) {
	b, _ := written(t)
	notes := b.published()
	skey, _, err := note.GenerateKey(constant{}, "witness.test")
	if err != nil {
		t.Fatal(err)
	}
	witness, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(b.public)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open([]byte(notes[0]), note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	cosigned, err := note.Sign(n, witness)
	if err != nil {
		t.Fatal(err)
	}
	good := "\n" + string(cosigned) + notes[1] + "\n\n\n" + strings.TrimSuffix(notes[2], "\n")
	if _, err := b.verify(good); err != nil {
		t.Errorf("good notes: %v", err)
	}
	for name, bad := range map[string]string{
		"empty":      "\n\n",
		"prose":      "hello\n",
		"unsigned":   n.Text,
		"edited":     strings.Replace(notes[0], "\n1\n", "\n2\n", 1),
		"other name": strings.ReplaceAll(notes[0], "gw.test", "gw.evil"),
		"one bad":    notes[1] + "\nx\n\n— y z\n",
	} {
		if bad == notes[0] {
			t.Fatal("not edited: ", bad)
		}
		if _, err := b.verify(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

type constant struct{}

func (constant) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 7
	}
	return len(b), nil
}
