package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// others tells how much of the machine those took who have nothing to do with
// the bench: what they take is missing to every subject, and makes its own work
// slower, by caches.
type others struct {
	begun time.Time
	busy  time.Duration // everybody's
	ours  time.Duration
}

// watch begins to look at the machine. ours are the processes of the bench
// besides this one.
func watch(ours ...*process) (o others, err error) {
	o.begun = time.Now()
	if o.busy, err = busy(); err != nil {
		return o, err
	}
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		return o, err
	}
	o.ours = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	for _, p := range ours {
		if p == nil {
			continue
		}
		u, err := p.usage()
		if err != nil {
			return o, err
		}
		o.ours += u.cpu
	}
	return o, nil
}

// share is what part of all cores others had since watch.
func (o others) share(ours ...*process) (float64, error) {
	now, err := watch(ours...)
	if err != nil {
		return 0, err
	}
	theirs := (now.busy - o.busy) - (now.ours - o.ours)
	return max(0, theirs.Seconds()/now.begun.Sub(o.begun).Seconds()/float64(runtime.NumCPU())), nil
}

// busy is how long cores have not been idle, all together; see proc(5).
func busy() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	words := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal …
	if len(words) < 9 {
		return 0, errors.New("/proc/stat is not as expected")
	}
	var sum int64
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseInt(words[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * (time.Second / 100), nil
}

// calm waits until others took no more than a share of the machine for two
// seconds.
func calm(ctx context.Context, limit float64, ours ...*process) error {
	for {
		before, err := watch(ours...)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(2 * time.Second):
		}
		if share, err := before.share(ours...); err != nil || share <= limit {
			return err
		}
	}
}
