//go:build profiled

// This file is not the gateway's: the load generator lays it over cmd/vaultspan
// for a build of its own, which tells what it does with its time.
package main

import (
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
)

func init() {
	runtime.SetMutexProfileFraction(100)
	runtime.SetBlockProfileRate(100_000) // nanoseconds
	go http.ListenAndServe(os.Getenv("LOAD_PROFILES"), nil)
}
