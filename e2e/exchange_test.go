package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// exchange is a request that a script has begun and not finished.
type exchange struct {
	cancel context.CancelFunc
	req    *http.Request
	moved  chan struct{} // closed at the next change
	mu     sync.Mutex
	resp   *http.Response
	body   []byte
	err    error // how it ended
	ended  bool
}

func begin(ts *testscript.TestScript, s *scenario, args []string) {
	var c call
	flags := c.flags("begin")
	ts.Check(flags.Parse(args))
	need(ts, flags.NArg() == 2 && s.exchanges[flags.Arg(0)] == nil, "begin "+callUsage+" NAME URL")
	ctx, cancel := context.WithCancel(s.ctx)
	x := &exchange{cancel: cancel, moved: make(chan struct{}), req: c.request(ctx, ts, flags.Arg(1))}
	s.exchanges[flags.Arg(0)] = x
	go x.run(s.client(ts, &c))
}

// run does the request and takes in the answer as it comes.
func (x *exchange) run(client *http.Client) {
	resp, err := client.Do(x.req)
	x.change(func() { x.resp, x.err, x.ended = resp, err, err != nil })
	if err != nil {
		return
	}
	buffer := make([]byte, 4<<10)
	for err == nil {
		var n int
		n, err = resp.Body.Read(buffer)
		x.change(func() {
			x.body = append(x.body, buffer[:n]...)
			if x.ended = err != nil; err != nil && err != io.EOF {
				x.err = err
			}
		})
	}
}

// change tells who waits.
func (x *exchange) change(how func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	how()
	close(x.moved)
	x.moved = make(chan struct{})
}

// wait returns once ok says so, with the lock held; or why that cannot be.
func (x *exchange) wait(ctx context.Context, ok func() bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for !ok() {
		if x.ended {
			return fmt.Errorf("it ended: %v, after %q", x.err, x.body)
		}
		moved := x.moved
		x.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
		x.mu.Lock()
		if ctx.Err() != nil {
			return fmt.Errorf("%w, after %q", context.Cause(ctx), x.body)
		}
	}
	return nil
}

// under finds an exchange by its name.
func (s *scenario) under(ts *testscript.TestScript, name string) *exchange {
	x := s.exchanges[name]
	need(ts, x != nil, "begin "+name+" URL, first")
	return x
}

func readUntil(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 2, "read NAME PATTERN")
	x, pattern := s.under(ts, args[0]), regexp.MustCompile(args[1])
	ctx, cancel := s.patient()
	defer cancel()
	if err := x.wait(ctx, func() bool { return pattern.Match(x.body) }); err != nil {
		ts.Fatalf("%s never said %q: %v", args[0], args[1], err)
	}
}

func send(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 2, "send NAME TEXT")
	x := s.under(ts, args[0])
	ctx, cancel := s.patient()
	defer cancel()
	ts.Check(x.wait(ctx, func() bool { return x.resp != nil }))
	w, ok := x.resp.Body.(io.Writer)
	if !ok {
		ts.Fatalf("%s was answered with %s: it takes nothing more", args[0], x.resp.Status)
	}
	_, err := io.WriteString(w, args[1])
	ts.Check(err)
}

// finish waits for the end of an exchange, which must be whole, or cut when the
// connection was dropped before it was.
func finish(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 3 && (args[2] == "whole" || args[2] == "cut"), "finish NAME STATUS whole|cut")
	status, err := strconv.Atoi(args[1])
	ts.Check(err)
	x := s.under(ts, args[0])
	defer x.cancel()
	ctx, cancel := s.patient()
	defer cancel()
	if err := x.wait(ctx, func() bool { return x.ended }); err != nil {
		ts.Fatalf("%s does not end: %v", args[0], err)
	}
	delete(s.exchanges, args[0])
	if x.resp == nil {
		ts.Fatalf("%s was not answered: %v", args[0], x.err)
	}
	s.note(x.req, answer{status: x.resp.StatusCode, header: x.resp.Header, body: x.body})
	ts.Setenv("TRACE", x.resp.Header.Get("X-Request-Id"))
	ts.Stdout().Write(x.body)
	x.resp.Header.Write(ts.Stderr())
	if x.resp.StatusCode != status || (x.err == nil) != (args[2] == "whole") {
		ts.Fatalf("%s: %s, ended with %v; want %s and %s", args[0], x.resp.Status, x.err, args[1], args[2])
	}
}

// dial connects to the gateway before there is a request: its connection is the
// only one that "-on NAME" uses.
func dial(ts *testscript.TestScript, s *scenario, args []string) {
	need(ts, len(args) == 1 && s.gateway != nil && s.connections[args[0]] == nil, "dial NAME, after serve")
	conn, err := new(net.Dialer).DialContext(s.ctx, "tcp", s.gateway.Listen)
	ts.Check(err)
	context.AfterFunc(s.ctx, func() { conn.Close() })
	one := make(chan net.Conn, 1)
	one <- conn
	s.connections[args[0]] = &http.Client{
		CheckRedirect: caller.CheckRedirect,
		Transport: &http.Transport{DisableCompression: true, MaxConnsPerHost: 1, DialContext: func(context.Context, string, string) (net.Conn, error) {
			select {
			case conn := <-one:
				return conn, nil
			default:
				return nil, fmt.Errorf("connection %s has ended", args[0])
			}
		}},
	}
}
