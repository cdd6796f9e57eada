package main

import (
	"errors"
	"strings"
)

// conceal keeps what this process will know out of what others can read: core
// dumps, /proc, and the debugging aids of the libraries it is made of. A command
// that reads secrets calls it before the first.
//
// What it cannot do is take back what the process was started with. A value given
// as ${env:NAME} stands in /proc/PID/environ until the end, whatever os.Unsetenv
// says, and a reload reads it again; that file is root's from now on, but between
// the start of the process and here it is not. ${file:…} has no such moment.
func (p *program) conceal() error {
	if err := refuseLoud(p.getenv); err != nil {
		return err
	}
	return concealProcess()
}

// refuseLoud refuses variables that would have a library print or keep what
// travels. RUST_LOG, which would have the Bitwarden SDK do so, is overridden
// instead: package bitwarden does it in whatever process it runs in.
func refuseLoud(getenv func(string) string) error {
	// As net/http itself looks for it.
	if debug := getenv("GODEBUG"); strings.Contains(debug, "http2debug=1") || strings.Contains(debug, "http2debug=2") {
		return errors.New("GODEBUG has http2debug, which prints every header that travels, credentials too: take it out of the environment")
	}
	if getenv("GRPC_BINARY_LOG_FILTER") != "" {
		return errors.New("GRPC_BINARY_LOG_FILTER writes the headers of every export to a file, the collector's credentials too: take it out of the environment")
	}
	return nil
}
