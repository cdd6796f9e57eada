package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// wire is one connection that speaks as much HTTP/1.1 as the load needs, and
// takes little of the two cores that a subject shares with it: a request is
// bytes made before, an answer must have a Content-Length.
type wire struct {
	net.Conn
	in *bufio.Reader

	index int       // of the request under way
	due   time.Time // when it was to be sent
}

// errBroken is an answer that a subject should not have given.
var errBroken = errors.New("not an answer of HTTP/1.1 with a length, on a connection that is kept")

// dial opens n connections to loopback, which all end with ctx, and at the
// deadline in any case. The function it returns closes them.
func dial(ctx context.Context, address string, n int, deadline time.Time) ([]*wire, func(), error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil || !net.ParseIP(host).IsLoopback() {
		return nil, nil, fmt.Errorf("%s is not on loopback: no load leaves this machine", address)
	}
	var wires []*wire
	hang := func() {
		for _, w := range wires {
			w.Close()
		}
	}
	for range n {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			hang()
			return nil, nil, err
		}
		conn.SetDeadline(deadline)
		wires = append(wires, &wire{Conn: conn, in: bufio.NewReader(conn)})
	}
	stop := context.AfterFunc(ctx, hang)
	return wires, func() { stop(); hang() }, nil
}

// receive reads one answer, which must be 200.
func (w *wire) receive() error {
	line, err := w.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	status, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !ok {
		return errBroken
	}
	good := bytes.HasPrefix(status, []byte("200"))
	said := string(bytes.TrimSpace(status[:min(3, len(status))])) // line is gone with the next read
	length := -1
	for {
		if line, err = w.in.ReadSlice('\n'); err != nil {
			return err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return errBroken
			}
		case bytes.EqualFold(name, []byte("Connection")) && good && bytes.Contains(value, []byte("close")):
			return errBroken
		}
	}
	if !good {
		body, _ := w.in.Peek(min(max(0, length), 400))
		return fmt.Errorf("answered %s: %s", said, body)
	}
	if length < 0 {
		return errBroken
	}
	_, err = w.in.Discard(length)
	return err
}
