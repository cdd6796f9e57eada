package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// describe says in two lines what a run was made on. dir is where audit logs
// will be.
func describe(dir string) (string, error) {
	syncs, err := syncRate(dir)
	if err != nil {
		return "", err
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", err
	}
	busy, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, %d cores; Linux %s; %s\n%.0f serial fsyncs a second; load average %s before the run",
		model(), runtime.NumCPU(), strings.TrimSpace(string(kernel)), runtime.Version(),
		syncs, strings.Fields(string(busy))[0]), nil
}

// model is what the processor calls itself.
func model() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, " \t:\n")
		}
	}
	return runtime.GOARCH
}

// syncRate is how often a second a record can be appended and made durable by
// itself.
func syncRate(dir string) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	record := make([]byte, 500)
	begun, n := time.Now(), 0
	for ; time.Since(begun) < time.Second; n++ {
		if _, err := f.Write(record); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}
