package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// keepIdle is how long a connection is kept for the next request, and keepMost
// how many of one route.
const (
	keepIdle = 60 * time.Second
	keepMost = 256
)

// pool holds the connections to one route's upstream. It sends a request once,
// whatever happens to it: http.Transport by itself repeats some on another
// connection when a kept one turns out to be dead (a GET; a POST too, when the
// caller adds an Idempotency-Key), and an attempt that nobody recorded would
// reach the upstream. An http.ClientConn repeats nothing.
//
// An HTTP/1 connection is kept only when its reader has taken all there was and
// waits for more, so an upstream that sends more than it was asked for loses
// its connection before the surplus can pass for somebody else's response
// (response queue poisoning).
type pool struct {
	upstream *url.URL
	dialer   *boundDialer
	tls      *tls.Config
	timeouts Timeouts

	multiplexed atomic.Bool   // the upstream is not known to speak HTTP/1 only
	first       chan struct{} // held by the one dial at a time while multiplexed

	shared atomic.Pointer[[]*conn] // HTTP/2: any number of requests on each

	mu     sync.Mutex
	idle   []*conn // HTTP/1: without a request, the newest last
	closed bool
}

func newPool(upstream *url.URL, dialer *boundDialer, config *tls.Config, timeouts Timeouts) *pool {
	p := &pool{upstream: upstream, dialer: dialer, tls: config, timeouts: timeouts, first: make(chan struct{}, 1)}
	p.multiplexed.Store(upstream.Scheme == "https")
	p.shared.Store(new([]*conn))
	return p
}

// RoundTrip implements http.RoundTripper.
func (p *pool) RoundTrip(r *http.Request) (*http.Response, error) {
	c := p.kept()
	if c == nil {
		var err error
		if c, err = p.dial(r.Context()); err != nil {
			if r.Body != nil {
				r.Body.Close()
			}
			return nil, err
		}
	}
	return c.RoundTrip(r)
}

// kept reserves room for a request on a connection that is there, or returns
// nil. Reserve is the judge of whether there is room.
func (p *pool) kept() *http.ClientConn {
	for _, c := range *p.shared.Load() {
		if c.client.Reserve() == nil {
			return c.client
		}
	}
	for c := p.take(); c != nil; c = p.take() {
		if c.client.Reserve() == nil {
			return c.client
		}
	}
	return nil
}

// dial reserves room on a new connection. While the upstream may speak HTTP/2
// one connection is dialed at a time, so that those who wait share it.
func (p *pool) dial(ctx context.Context) (*http.ClientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeouts.Connect)
	defer cancel()
	if p.multiplexed.Load() {
		select {
		case p.first <- struct{}{}:
			defer func() { <-p.first }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if c := p.kept(); c != nil {
			return c, nil
		}
	}
	c := &conn{pool: p}
	client, err := p.transport(c).NewClientConn(ctx, p.upstream.Scheme, p.upstream.Host)
	if err != nil {
		return nil, err
	}
	if err := client.Reserve(); err != nil {
		client.Close()
		return nil, err
	}
	c.client = client
	c.shared = client.Available() > 0 // one more request fits
	p.multiplexed.Store(c.shared)
	if c.shared {
		p.share(func(all []*conn) []*conn { return append(all, c) })
	}
	client.SetStateHook(c.changed)
	return client, nil
}

// transport makes the one connection c. It pools nothing.
func (p *pool) transport(c *conn) *http.Transport {
	return &http.Transport{
		Proxy: nil, // an environment variable must not choose where a credential goes
		DialContext: func(ctx context.Context, network, address string) (_ net.Conn, err error) {
			c.Conn, err = p.dialer.dial(ctx, network, address)
			return c, err
		},
		TLSClientConfig:        p.tls.Clone(), // net/http edits it
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // bytes pass as they are
		IdleConnTimeout:        keepIdle,
		ResponseHeaderTimeout:  p.timeouts.Response,
		MaxResponseHeaderBytes: 1 << 20,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: 1 << 20,          // what a caller that does not read can make us hold
			SendPingTimeout:           30 * time.Second, // a connection that is gone without a word is found out
			PingTimeout:               15 * time.Second,
		},
	}
}

// take removes the newest idle connection from the pool.
func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	c := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return c
}

// put keeps an idle connection for the next request.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < keepMost
	if keep {
		p.idle = append(p.idle, c)
		if c.expire == nil {
			c.expire = time.AfterFunc(keepIdle, c.expired)
		} else {
			c.expire.Reset(keepIdle)
		}
	}
	p.mu.Unlock()
	if !keep {
		c.client.Close()
	}
}

// remove says whether it found c among the idle connections.
func (p *pool) remove(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.idle)
	p.idle = slices.DeleteFunc(p.idle, func(other *conn) bool { return other == c })
	return len(p.idle) < before
}

// share changes the list of HTTP/2 connections, which readers see whole.
func (p *pool) share(change func([]*conn) []*conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := change(slices.Clone(*p.shared.Load()))
	p.shared.Store(&next)
}

// close closes what is idle now, and the rest when its requests have ended.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := append(p.idle, *p.shared.Load()...)
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		if c.client.InFlight() == 0 {
			c.client.Close()
		}
	}
}

func (p *pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// conn is one connection of a pool: the bytes below TLS, and the HTTP above.
type conn struct {
	net.Conn
	pool   *pool
	client *http.ClientConn
	shared bool
	expire *time.Timer // guarded by pool.mu

	free    atomic.Bool // no request is on it, and it is not in the pool yet
	waiting atomic.Bool // its reader has taken all there was
}

// Read notes that everything received so far was taken: TLS and HTTP read only
// when they have nothing left.
func (c *conn) Read(p []byte) (int, error) {
	c.waiting.Store(true)
	c.park()
	n, err := c.Conn.Read(p)
	c.waiting.Store(false)
	return n, err
}

// park puts a connection into the pool once it is both free and waiting.
func (c *conn) park() {
	if c.waiting.Load() && c.free.CompareAndSwap(true, false) {
		c.pool.put(c)
	}
}

// changed is told when a request on the connection has ended, or it itself.
func (c *conn) changed(client *http.ClientConn) {
	switch {
	case client.Err() != nil && c.shared:
		c.pool.share(func(all []*conn) []*conn {
			return slices.DeleteFunc(all, func(other *conn) bool { return other == c })
		})
	case client.Err() != nil:
		c.pool.remove(c)
	case c.shared:
		if client.InFlight() == 0 && c.pool.isClosed() {
			client.Close()
		}
	case client.Available() > 0:
		c.free.Store(true)
		c.park()
	}
}

// expired closes a connection that nobody used for too long.
func (c *conn) expired() {
	if c.pool.remove(c) {
		c.client.Close()
	}
}
