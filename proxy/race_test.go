//go:build race

package proxy_test

// racing: the race detector makes sync.Pool forget what it is given.
const racing = true
