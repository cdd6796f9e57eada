package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// concealProcess makes the process one that is not dumped and that no other of
// its own user can look into: no core is written, not even by a handler that
// core_pattern names and that no limit stops, and /proc/PID/mem, environ and the
// like are root's (prctl(2), PR_SET_DUMPABLE; proc(5)).
func concealProcess() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("the system does not keep this process from being dumped (PR_SET_DUMPABLE): %w", err)
	}
	// For what the above already does. A sandbox may forbid it, and then has
	// a limit of its own.
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	return nil
}
