package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// patience bounds what a test waits for before it calls it lost. No test is
// faster or slower for it.
const patience = 20 * time.Second

// raw is a connection to the gateway that sends bytes, not requests.
type raw struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

// raw connects to one of the gateway's listeners, with HTTP/1.1 over TLS.
func (b *bench) raw(t *testing.T, secure bool) *raw {
	t.Helper()
	var conn net.Conn
	var err error
	if secure {
		conn, err = tls.Dial("tcp", b.tls.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	} else {
		conn, err = net.Dial("tcp", b.plain.Listener.Addr().String())
	}
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { conn.Close() })
	return &raw{Conn: conn, t: t, r: bufio.NewReader(conn)}
}

func (c *raw) send(bytes string) {
	c.t.Helper()
	if _, err := io.WriteString(c, bytes); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads the response to a request with method, body and all; an error
// means that the connection ended before.
func (c *raw) answer(method string) (*http.Response, string, error) {
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res, string(body), err
}

// ends reads to the end of the connection and returns what came.
func (c *raw) ends() string {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		c.t.Fatal("the gateway left the connection open")
	}
	return string(rest)
}

// script is an upstream on plain HTTP/1 that speaks bytes.
type script struct {
	net.Listener
	t     *testing.T
	serve func(*peer)

	mu    sync.Mutex
	peers []*peer
	heads []string
}

// peer is a connection to a script.
type peer struct {
	net.Conn
	script *script
	n      int // which connection it is, from 0
	r      *bufio.Reader
	bytes  *lockedBuffer // everything received
}

// newScript starts an upstream that calls serve with each connection.
func newScript(t *testing.T, serve func(*peer)) *script {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newScriptOn(t, listener, serve)
}

func newScriptOn(t *testing.T, listener net.Listener, serve func(*peer)) *script {
	s := &script{Listener: listener, t: t, serve: serve}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p := &peer{Conn: conn, script: s, bytes: &lockedBuffer{}}
			p.r = bufio.NewReader(io.TeeReader(conn, p.bytes))
			s.mu.Lock()
			p.n = len(s.peers)
			s.peers = append(s.peers, p)
			s.mu.Unlock()
			serving.Go(func() {
				defer conn.Close()
				serve(p)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		for _, p := range s.all() {
			p.Close()
		}
		serving.Wait()
	})
	return s
}

func (s *script) all() []*peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*peer(nil), s.peers...)
}

// requests returns the heads of the requests that arrived, in order.
func (s *script) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.heads...)
}

// request reads one request and its body; an error ends the connection.
func (p *peer) request() (head, body string, err error) {
	var raw bytes.Buffer
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		raw.WriteString(line)
		if line == "\r\n" {
			break
		}
	}
	p.script.mu.Lock()
	p.script.heads = append(p.script.heads, raw.String())
	p.script.mu.Unlock()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw.Bytes())))
	if err != nil {
		return raw.String(), "", err
	}
	if r.ContentLength == 0 {
		return raw.String(), "", nil
	}
	limited := io.Reader(io.LimitReader(p.r, r.ContentLength))
	if r.ContentLength < 0 {
		limited = &chunks{p.r}
	}
	content, err := io.ReadAll(limited)
	return raw.String(), string(content), err
}

// chunks reads a chunked body to its end and no further, without trailers.
type chunks struct{ r *bufio.Reader }

func (c *chunks) Read(p []byte) (int, error) {
	var size int
	if _, err := fmt.Fscanf(c.r, "%x\r\n", &size); err != nil {
		return 0, err
	}
	if size > len(p) {
		return 0, errors.New("chunk larger than the buffer")
	}
	n, err := io.ReadFull(c.r, p[:size])
	if err == nil {
		_, err = c.r.Discard(2)
	}
	if err == nil && size == 0 {
		err = io.EOF
	}
	return n, err
}

// reply sends bytes.
func (p *peer) reply(text string) { io.WriteString(p, text) }

// mirror answers every request with its target, for as long as there are any.
func mirror(p *peer) {
	for {
		head, body, err := p.request()
		if err != nil {
			return
		}
		text := target(head) + "|" + body
		if strings.HasPrefix(head, "HEAD ") {
			p.reply("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
			continue
		}
		p.reply(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text))
	}
}

// target is the second word of a request.
func target(head string) string { return strings.Fields(head)[1] }

// newScriptBench is a bench with a route raw.gw.test to a script.
func newScriptBench(t *testing.T, serve func(*peer), change ...func(*proxy.Route)) (*bench, *script) {
	t.Helper()
	s := newScript(t, serve)
	b := newBench(t, func(_ *bench, routes []proxy.Route) []proxy.Route {
		r := proxy.Route{
			Name: "RAW", Match: []string{"raw.gw.test/"}, Upstream: "http://" + s.Addr().String(),
			Secret: "prod/team-dev/U1_KEY", Inject: vault.Bearer(), Trace: "none", Forwarded: "none",
		}
		for _, f := range change {
			f(&r)
		}
		return append(routes, r)
	})
	return b, s
}
