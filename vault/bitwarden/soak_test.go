//go:build cgo

package bitwarden_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/vault/bitwarden"
)

// refreshes is how many refreshes the soak makes: a day of one every 30 s is
// 2,880 of them.
var refreshes = flag.Int("refreshes", 120, "how many refreshes TestADayOfRefreshesLeavesNothingBehind makes")

// footprint is what this process takes of the machine.
type footprint struct {
	heap, resident      int64 // bytes
	goroutines, threads int
}

func (f footprint) String() string {
	return fmt.Sprintf("%d KiB of heap, %d KiB resident, %d goroutines, %d threads", f.heap>>10, f.resident>>10, f.goroutines, f.threads)
}

func footprintOf(t *testing.T) footprint {
	t.Helper()
	runtime.GC()
	runtime.GC() // what the first found has been swept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f := footprint{heap: int64(m.HeapAlloc), goroutines: runtime.NumGoroutine(), threads: threadsOf(t)}
	status, err := os.ReadFile("/proc/self/status")
	if rss := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status); err == nil && rss != nil {
		kib, _ := strconv.ParseInt(string(rss[1]), 10, 64)
		f.resident = kib << 10
	}
	return f
}

// FB03, FB16: a day of refreshes, with a rotation in each tenth and a new session
// in each hundredth, leaves memory, goroutines and threads as they were; and one
// login a session is all it takes. What grows is what the SDK's binding does not
// free, some hundred bytes a call.
func TestADayOfRefreshesLeavesNothingBehind(t *testing.T) {
	w := newWorld(t, func(w *world) { w.setup.Budgets = &bitwarden.Budgets{Times: 1_000_000} })
	since := time.Time{}
	refresh := func(i int) {
		if i%10 == 9 {
			w.stripe.Rotate(fmt.Sprintf("sk_test_canary_%d", i))
		}
		if i%100 == 99 {
			w.account.EndSessions()
		}
		since = w.fetch(since).Synced
	}
	for i := range 100 { // pools fill, threads start
		refresh(i)
	}
	before := footprintOf(t)
	for i := range *refreshes {
		refresh(i)
	}
	after := footprintOf(t)
	t.Logf("before: %s\nafter %d refreshes: %s", before, *refreshes, after)
	if after.goroutines > before.goroutines+5 || after.threads > before.threads+5 {
		t.Error("goroutines or threads have grown")
	}
	if after.heap > before.heap+1<<20 {
		t.Error("the heap has grown by more than 1 MiB")
	}
	if grown, most := after.resident-before.resident, int64(16<<20+*refreshes<<11); grown > most {
		t.Errorf("%d KiB more are resident, want at most %d", grown>>10, most>>10)
	}
	if logins, most := w.emulator.Count("token"), 2+(*refreshes+100)/100; logins > most {
		t.Errorf("%d logins, want at most %d", logins, most)
	}
}
