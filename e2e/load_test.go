package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// load is a stream of requests that goes on beside the script.
type load struct {
	stop context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	counts map[string]int // by status and code, or error
}

func startLoad(ts *testscript.TestScript, s *scenario, args []string) {
	var c call
	flags := c.flags("load")
	rate := flags.Int("rate", 200, "")
	ts.Check(flags.Parse(args))
	need(ts, flags.NArg() == 2 && s.loads[flags.Arg(0)] == nil && *rate > 0, "load [-rate N] "+callUsage+" NAME URL")
	ctx, stop := context.WithCancel(s.ctx)
	l := &load{stop: stop, done: make(chan struct{}), counts: map[string]int{}}
	s.loads[flags.Arg(0)] = l
	client := &http.Client{CheckRedirect: caller.CheckRedirect, Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}}
	template := c.request(s.ctx, ts, flags.Arg(1))
	body := c.data
	go func() {
		defer close(l.done)
		var under sync.WaitGroup
		ticker := time.NewTicker(time.Second / time.Duration(*rate))
		defer ticker.Stop()
		for ctx.Err() == nil {
			req := template.Clone(s.ctx)
			req.Body, _ = template.GetBody()
			req.ContentLength = int64(len(body))
			under.Go(func() { l.count(s.ask(client, req)) })
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
		under.Wait()
		client.CloseIdleConnections()
	}()
}

func (l *load) count(got answer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.counts[err.Error()]++
		return
	}
	l.counts[strings.TrimSpace(fmt.Sprint(got.status)+" "+got.code())]++
}

// sum is how many requests have ended.
func (l *load) sum() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, count := range l.counts {
		n += count
	}
	return n
}

// stopLoad ends a load once so many requests have been answered, and says how.
func stopLoad(ts *testscript.TestScript, s *scenario, args []string) {
	flags := flag.NewFlagSet("unload", flag.ContinueOnError)
	least := flags.Int("least", 1, "")
	ts.Check(flags.Parse(args))
	need(ts, flags.NArg() == 1 && s.loads[flags.Arg(0)] != nil, "unload [-least N] NAME, after load")
	l := s.loads[flags.Arg(0)]
	delete(s.loads, flags.Arg(0))
	if !s.poll(func() bool { return l.sum() >= *least }) {
		ts.Fatalf("%d requests were answered", l.sum())
	}
	l.stop()
	<-l.done
	ts.Logf("%d requests", l.sum())
	for _, status := range slices.Sorted(maps.Keys(l.counts)) {
		fmt.Fprintln(ts.Stdout(), status)
	}
}
