package vault_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/vaultspan/vaultspan/vault"
)

func BenchmarkGuard(b *testing.B) {
	const value = "sk_live_51H8xYzLkjdF93hfKJSDhf8w7ehfksjdf"
	g := guardOf(b, value, vault.Bearer())
	short := guardOf(b, "0123456789ab", vault.Bearer())
	kilobyte := []byte(`{"object":"charge","data":[` + strings.Repeat(`{"id":"ch_3MmlLrLkdIwHu7ix0snN0B15","amount":1099,"paid":true,"note":"a \"b\""},`, 12) + `{}]}`)
	plain := bytes.ReplaceAll(kilobyte, []byte(`\`), []byte(`/`))
	binary := make([]byte, 32<<10)
	rand.NewChaCha8([32]byte{}).Read(binary)
	for _, bench := range []struct {
		name string
		g    *vault.Guard
		text []byte
	}{
		{"1KB of JSON", g, plain}, {"1KB of JSON with escapes", g, kilobyte}, {"1KB, a key of 12 bytes", short, plain},
		{"32KB of JSON", g, bytes.Repeat(plain, 40)[:32<<10]}, {"32KB of JSON with escapes", g, bytes.Repeat(kilobyte, 40)[:32<<10]},
		{"32KB binary", g, binary}, {"32KB binary, a key of 12 bytes", short, binary},
		{"a header", g, []byte("no-cache, no-store, must-revalidate, max-age=0")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(bench.text)))
			b.ReportAllocs()
			s := bench.g.Stream()
			for b.Loop() {
				s.Scan(bench.text, vault.Pause)
			}
		})
	}
	b.Run("a header's value", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			g.Text("no-cache, no-store, must-revalidate, max-age=0")
		}
	})
	b.Run("making it", func(b *testing.B) {
		for b.Loop() {
			g, err := vault.NewGuard(value)
			if err != nil {
				b.Fatal(err)
			}
			g.Stream()
		}
	})
}
