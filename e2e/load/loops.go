package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// connections is how many the load uses.
const connections = 64

// grace is how long the last answers may take once a loop should be over.
const grace = 20 * time.Second

// load is requests for one address.
type load struct {
	address string
	request func(n int) []byte // the n-th; every n is asked for once
}

// closed sends on each connection as soon as it was answered, for so long or so
// many requests, whichever is first.
func (l load) closed(ctx context.Context, length time.Duration, most int) (sent int, took time.Duration, err error) {
	begun := time.Now()
	end := begun.Add(length)
	wires, hang, err := dial(ctx, l.address, connections, end.Add(grace))
	if err != nil {
		return 0, 0, err
	}
	defer hang()
	var (
		under    sync.WaitGroup
		next     atomic.Int64
		answered atomic.Int64
		failures = make(chan error, connections)
	)
	for _, w := range wires {
		under.Go(func() {
			for time.Now().Before(end) {
				n := int(next.Add(1)) - 1
				if n >= most {
					return
				}
				if _, err := w.Write(l.request(n)); err != nil {
					failures <- err
					return
				}
				if err := w.receive(); err != nil {
					failures <- err
					return
				}
				answered.Add(1)
			}
		})
	}
	under.Wait()
	took = time.Since(begun)
	if err := l.failed(ctx, failures); err != nil {
		return 0, 0, err
	}
	return int(answered.Load()), took, nil
}

// open sends count requests at a constant rate, and returns by request how long
// after it was due its answer was there. When every connection is waiting a
// request is sent late, and its latency says so.
func (l load) open(ctx context.Context, rate, count int) ([]time.Duration, error) {
	every := time.Second / time.Duration(rate)
	wires, hang, err := dial(ctx, l.address, connections, time.Now().Add(time.Duration(count)*every+grace))
	if err != nil {
		return nil, err
	}
	var (
		under     sync.WaitGroup
		over      atomic.Bool
		latencies = make([]time.Duration, count)
		idle      = make(chan *wire, connections)
		failures  = make(chan error, connections+1)
	)
	for _, w := range wires {
		idle <- w
		under.Go(func() {
			for {
				if err := w.receive(); err != nil {
					if !over.Load() {
						failures <- err
					}
					return
				}
				latencies[w.index] = time.Since(w.due)
				idle <- w
			}
		})
	}
	if err := l.send(every, count, idle, failures); err != nil {
		failures <- err
	}
	for n := 0; n < connections && len(failures) == 0; n++ { // the last answers
		select {
		case <-idle:
		case err := <-failures:
			failures <- err
		}
	}
	over.Store(true)
	hang()
	under.Wait()
	return latencies, l.failed(ctx, failures)
}

// send is the clock of an open loop. It has a thread of its own, which the
// kernel wakes to the microsecond: the runtime's timers are a millisecond late
// when nothing else runs.
func (l load) send(every time.Duration, count int, idle <-chan *wire, failures chan error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const setTimerSlack = 29 // PR_SET_TIMERSLACK, in nanoseconds
	syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 1, 0)
	defer syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 0, 0) // the default again

	begun := time.Now()
	for n := range count {
		due := begun.Add(time.Duration(n) * every)
		for left := time.Until(due); left > 0; left = time.Until(due) {
			pause := syscall.NsecToTimespec(int64(left))
			syscall.Nanosleep(&pause, nil) // a signal may end it early
		}
		var w *wire
		select {
		case w = <-idle:
		case err := <-failures:
			return err
		}
		w.index, w.due = n, due // the answer that reads them comes after this request
		if _, err := w.Write(l.request(n)); err != nil {
			return err
		}
	}
	return nil
}

// failed is why a loop measured nothing, or nil.
func (l load) failed(ctx context.Context, failures <-chan error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	select {
	case err := <-failures:
		return fmt.Errorf("%s: a request was not served, so nothing is measured: %w", l.address, err)
	default:
		return nil
	}
}

// percentile is the latency that so many of a hundred are not above. It sorts
// its argument.
func percentile(latencies []time.Duration, p float64) time.Duration {
	slices.Sort(latencies)
	return latencies[min(len(latencies)-1, int(p/100*float64(len(latencies))))]
}
