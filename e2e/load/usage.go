package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is what a process and its workers took so far, by the accounting of the
// operating system.
type usage struct {
	cpu           time.Duration // user and system
	switches      int64         // voluntary: how often a thread went to sleep
	resident, top int64         // bytes now, and at most
}

func (u usage) since(before usage) usage {
	u.cpu -= before.cpu
	u.switches -= before.switches
	return u
}

// usage adds up the group's processes; see proc(5).
func (p *process) usage() (sum usage, err error) {
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return usage{}, err
	}
	found := false
	for _, name := range all {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it ended
		}
		// The name, in parentheses, may hold anything; from the state on there are
		// words: state ppid pgrp …, utime and stime are the 12th and 13th.
		words := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(words) < 13 || words[2] != strconv.Itoa(p.cmd.Process.Pid) {
			continue
		}
		found = true
		for _, ticks := range words[11:13] {
			n, err := strconv.ParseInt(ticks, 10, 64)
			if err != nil {
				return usage{}, fmt.Errorf("%s: %w", name, err)
			}
			sum.cpu += time.Duration(n) * (time.Second / 100) // USER_HZ is 100 wherever Go runs
		}
		dir := filepath.Dir(name)
		sum.resident += field(filepath.Join(dir, "status"), "VmRSS") << 10
		sum.top += field(filepath.Join(dir, "status"), "VmHWM") << 10
		threads, _ := filepath.Glob(filepath.Join(dir, "task/*/status"))
		for _, thread := range threads {
			sum.switches += field(thread, "voluntary_ctxt_switches")
		}
	}
	if !found {
		return usage{}, p.because(errors.New("it has ended"))
	}
	return sum, nil
}

// field is a number of a status file of /proc, or 0.
func field(file, name string) int64 {
	data, _ := os.ReadFile(file)
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}
