package session_test

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"runtime"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/session"
)

// crowd is how many live sessions there are in a benchmark.
const crowd = 10_000

// BenchmarkSessions measures, among 10,000 live sessions in a store: what a
// request adds when its session was read within two seconds (hot) and when it was
// not (read), and what it takes to list all and to revoke those of one person.
func BenchmarkSessions(b *testing.B) {
	for name, open := range map[string]func(b *testing.B) session.Store{
		"sqlite": func(b *testing.B) session.Store { return openStore(b) },
		"redis":  func(b *testing.B) session.Store { return newRedisServer(b).open() },
	} {
		b.Run(name, func(b *testing.B) { benchSessions(b, open(b)) })
	}
}

func benchSessions(b *testing.B, store session.Store) {
	nobody, err := authn.New(b.Context(), authn.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nobody.Close)
	c := &clock{}
	setup := session.Setup{
		Config: session.Config{Key: secret(testKey), Idle: 24 * time.Hour}, URL: &url.URL{Scheme: "https", Host: "gw.test"}, Issuers: nobody, Store: store, Now: c.now,
	}
	m, err := session.New(setup)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	ids := make([]string, crowd)
	for i := range ids {
		r := record("corp", fmt.Sprintf("person-%d", i/10), "")
		r.Created, r.Used, r.Ends, r.Refresh = now, now.Add(time.Hour), now.Add(24*time.Hour), time.Time{}
		if r, err = session.SealForTest(m, r); err != nil {
			b.Fatal(err)
		}
		if err := store.Add(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		ids[i] = hex.EncodeToString(r.Key[:])
	}
	identify := func(b *testing.B, i int) {
		if _, err := m.Recheck(b.Context(), ids[i%crowd]); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("hot", func(b *testing.B) {
		for b.Loop() {
			identify(b, 0)
		}
	})
	b.Run("read", func(b *testing.B) {
		i := 0
		for b.Loop() {
			if i++; i%crowd == 0 {
				c.advance(2 * time.Second)
			}
			identify(b, i)
		}
	})
	b.Run("memory", func(b *testing.B) {
		var before, after runtime.MemStats
		if m, err = session.New(setup); err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range crowd {
			identify(b, i)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		for b.Loop() {
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/crowd, "B/session")
	})
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			if listed, err := m.List(b.Context(), session.Filter{}); err != nil || len(listed) != crowd {
				b.Fatal(len(listed), err)
			}
		}
	})
	// A session is revoked once, so these are measured once.
	revoke := func(b *testing.B, people int, filter func(i int) session.Filter) {
		began := time.Now()
		for i := range people {
			if n, err := m.Revoke(b.Context(), filter(i)); err != nil || n == 0 {
				b.Fatal(n, err)
			}
		}
		took := time.Since(began)
		for b.Loop() {
		}
		b.ReportMetric(float64(took.Microseconds())/float64(people), "µs/revocation")
	}
	b.Run("revoke-one-person", func(b *testing.B) {
		revoke(b, 100, func(i int) session.Filter {
			return session.Filter{Issuer: "corp", Subject: fmt.Sprintf("person-%d", i)}
		})
	})
	b.Run("revoke-all", func(b *testing.B) {
		revoke(b, 1, func(int) session.Filter { return session.Filter{Issuer: "corp"} })
	})
}
