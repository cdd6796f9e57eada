package audit_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/audit"
)

// BenchmarkIntent is one durable intent, and its outcome, of many callers.
func BenchmarkIntent(b *testing.B) {
	for _, writers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			k := newBench(b)
			l := k.open()
			b.SetParallelism(max(1, writers/2)) // of two cores
			var n atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := int(n.Add(1))
					if _, err := l.Intent(context.Background(), attempt(i)); err != nil {
						b.Error(err)
					}
					l.Outcome(outcome(i))
				}
			})
			b.StopTimer()
			k.close(l)
			b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkRefusal is a flood of one caller.
func BenchmarkRefusal(b *testing.B) {
	k := newBench(b)
	l := k.open()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Refusal(audit.Event{Code: "token-invalid", Status: 401, Client: "192.0.2.1"})
		}
	})
	b.StopTimer()
	k.close(l)
}

// large writes one segment of about size bytes and leaves it as a crash would,
// with some attempts open.
func large(b *testing.B, size int64) *bench {
	k := newBench(b)
	k.setup.Config.SegmentSize = audit.Bytes(2 * size)
	k.setup.Config.Mode = audit.ModeBuffered
	l := k.open()
	name := k.segments()[0]
	for n := 0; ; n++ {
		if _, err := l.Intent(context.Background(), attempt(n)); err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		if n%1000 != 0 {
			l.Outcome(outcome(n))
		}
		if info, err := os.Stat(name); n%1000 == 0 && (err != nil || info.Size() > size) {
			break
		}
	}
	k.close(l)
	return k
}

// BenchmarkOpen is the recovery of a last segment of 64 MiB.
func BenchmarkOpen(b *testing.B) {
	k := large(b, 64<<20)
	dir := k.setup.Config.Dir
	for b.Loop() {
		b.StopTimer()
		k.setup.Config.Dir = filepath.Join(b.TempDir(), "copy")
		if err := os.CopyFS(k.setup.Config.Dir, os.DirFS(dir)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		l := k.open()
		b.StopTimer()
		k.close(l)
		b.StartTimer()
	}
}

func BenchmarkVerify(b *testing.B) {
	k := large(b, 64<<20)
	r := k.whole()
	b.SetBytes(r.Bytes)
	for b.Loop() {
		k.whole()
	}
	b.ReportMetric(float64(r.Records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
