package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve answers requests until the test ends, and returns its address.
func serve(t *testing.T, handler http.HandlerFunc) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestClosedLoopSendsEachRequestOnce(t *testing.T) {
	const most = 500
	var seen [most]atomic.Int64
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscanf(r.Header.Get("Authorization"), "Bearer %d", &n)
		seen[n].Add(1)
	})
	l := load{address, func(n int) []byte { return asking(fmt.Sprint(n)) }}
	answered, _, err := l.closed(t.Context(), time.Hour, most)
	if err != nil || answered != most {
		t.Fatalf("%d answers, %v", answered, err)
	}
	for n := range seen {
		if got := seen[n].Load(); got != 1 {
			t.Errorf("request %d was sent %d times", n, got)
		}
	}
}

// A server that stalls once is late for every request that was due meanwhile,
// also for those that could not even be sent.
func TestOpenLoopCountsFromWhenARequestWasDue(t *testing.T) {
	const rate, count, stall = 1000, 400, 300 * time.Millisecond
	var begun atomic.Pointer[time.Time]
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		begun.CompareAndSwap(nil, &now)
		time.Sleep(stall - time.Since(*begun.Load())) // what is due in the stall is answered after it
	})
	latencies, err := load{address, func(int) []byte { return asking("") }}.open(t.Context(), rate, count)
	if err != nil {
		t.Fatal(err)
	}
	// Request n is due n ms after the first, whose answer takes the stall or more.
	for n := range int(stall / time.Millisecond) {
		if least := stall - time.Duration(n+1)*time.Millisecond; latencies[n] < least {
			t.Fatalf("request %d, due %d ms into the stall, is said to have taken %s: want %s or more", n, n, latencies[n], least)
		}
	}
}

func TestAnAnswerThatIsNotGoodStopsTheLoop(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no such token", http.StatusUnauthorized) })
	l := load{address, func(int) []byte { return asking("") }}
	_, _, err := l.closed(t.Context(), time.Hour, 1<<30)
	if err == nil || !strings.Contains(err.Error(), "401: no such token") {
		t.Errorf("closed: %v", err)
	}
	if _, err = l.open(t.Context(), 1000, 1<<20); err == nil || !strings.Contains(err.Error(), "401: no such token") {
		t.Errorf("open: %v", err)
	}
}

func TestNoLoadLeavesTheMachine(t *testing.T) {
	_, _, err := load{address: "192.0.2.1:80"}.closed(t.Context(), time.Second, 1)
	if err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("got %v", err)
	}
}

func TestReceiveReadsAnswersThatAreWhole(t *testing.T) {
	const good = "HTTP/1.1 200 OK\r\nX-Other: 1\r\ncontent-length: 5\r\n\r\nhello"
	for answer, ok := range map[string]bool{
		good:                           true,
		good + good:                    true,
		"HTTP/1.1 200 OK\r\n\r\nhello": false, // until it ends
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":                       false,
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n":                    false,
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n\r": false,
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello":                                    false,
		"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n":                                         false,
		"SSH-2.0\r\n": false,
		"":            false,
	} {
		w := wire{in: bufio.NewReader(strings.NewReader(answer))}
		err := w.receive()
		for err == nil && w.in.Buffered() > 0 {
			err = w.receive()
		}
		if (err == nil) != ok {
			t.Errorf("%q: %v", answer, err)
		}
	}
}

// The upstream is what makes every number one of a request that was authorized.
func TestUpstreamWantsTheCredential(t *testing.T) {
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- serveUpstream(ctx, address, "the-key") }()
	for listening(address)(ctx) != nil {
		time.Sleep(time.Millisecond)
	}
	for bearer, want := range map[string]string{"the-key": "200 OK", "the-key2": "401 Unauthorized", "": "401 Unauthorized"} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write(asking(bearer))
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.Status != want {
			t.Errorf("with %q: %v, %v", bearer, res, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// HAProxy ends by the signal, others by themselves.
func TestStopTellsAGoodEndFromABadOne(t *testing.T) {
	for script, good := range map[string]bool{
		"echo up; exec sleep 60":                           true,
		"trap 'exit 0' TERM; echo up; sleep 60 & wait":     true,
		"trap 'exit 3' TERM; echo up; sleep 60 & wait":     false,
		"trap 'kill -9 $$' TERM; echo up; sleep 60 & wait": false,
	} {
		log := t.TempDir() + "/log"
		child, err := start(t.Context(), log, "/bin/sh", nil, "-c", script)
		if err != nil {
			t.Fatal(err)
		}
		up := func(context.Context) error {
			said, err := os.ReadFile(log)
			if err == nil && len(said) == 0 {
				err = errors.New("it has said nothing yet")
			}
			return err
		}
		if err := child.ready(t.Context(), up); err != nil {
			t.Fatal(err)
		}
		if err := child.stop(0); (err == nil) != good {
			t.Errorf("%q: %v", script, err)
		}
	}
}

func TestUsageIsOfTheWholeGroup(t *testing.T) {
	// a shell and its child, which both compute
	child, err := start(t.Context(), t.TempDir()+"/log", "/bin/sh", nil, "-c",
		"i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; (i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 60); true")
	if err != nil {
		t.Fatal(err)
	}
	before := usage{}
	for deadline := time.Now().Add(time.Minute); before.cpu < 50*time.Millisecond; {
		if before, err = child.usage(); err != nil || time.Now().After(deadline) {
			t.Fatal(before, err)
		}
	}
	if before.resident < 1<<10 || before.top < before.resident {
		t.Errorf("%+v", before)
	}
	child.cmd.Cancel()
	<-child.exited
}

func TestPercentileAndMedian(t *testing.T) {
	var latencies []time.Duration
	for n := range 1000 {
		latencies = append(latencies, time.Duration(1000-n))
	}
	if got := percentile(slices.Clone(latencies), 50); got != 501 {
		t.Errorf("p50 is %d", got)
	}
	if got := percentile(latencies, 99); got != 991 {
		t.Errorf("p99 is %d", got)
	}
	if got := percentile(latencies[:1], 99); got != 1 {
		t.Errorf("p99 of one is %d", got)
	}
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("the median is %g", got)
	}
}
