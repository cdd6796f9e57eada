//go:build !linux

package examples

import "os/exec"

// Apart says that this machine cannot give a command a loopback of its own.
func Apart(*exec.Cmd) bool { return false }

// Loopback has nothing to do.
func Loopback() error { return nil }
