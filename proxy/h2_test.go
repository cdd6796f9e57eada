package proxy_test

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/vault"
)

// certificate is one for loopback and example.com, and the file of its authority.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s.TLS.Certificates[0], ca
}

// frames is an upstream that speaks HTTP/2 frame by frame.
type frames struct {
	net.Listener
	answer func(*frameConn, *http2.MetaHeadersFrame)

	mu   sync.Mutex
	seen []*http2.MetaHeadersFrame
}

// frameConn is a connection to frames, or of a raw client to the gateway.
type frameConn struct {
	net.Conn
	*http2.Framer
	encoded bytes.Buffer
	hpack   *hpack.Encoder
}

func newFrameConn(conn net.Conn) *frameConn {
	c := &frameConn{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.AllowIllegalWrites = true
	c.hpack = hpack.NewEncoder(&c.encoded)
	return c
}

// headers writes a header block; names and values alternate.
func (c *frameConn) headers(stream uint32, end bool, fields ...string) error {
	c.encoded.Reset()
	for i := 0; i < len(fields); i += 2 {
		c.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.encoded.Bytes(), EndHeaders: true, EndStream: end})
}

// newFrames starts an upstream that calls answer with each request's header.
func newFrames(t *testing.T, answer func(*frameConn, *http2.MetaHeadersFrame)) (*frames, string) {
	t.Helper()
	cert, ca := certificate(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	u := &frames{Listener: listener, answer: answer}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			serving.Go(func() {
				defer conn.Close()
				u.serve(conn)
			})
		}
	})
	t.Cleanup(func() { listener.Close() })
	return u, ca
}

func (u *frames) serve(conn net.Conn) {
	if _, err := io.CopyN(io.Discard, conn, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	c := newFrameConn(conn)
	c.WriteSettings()
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				c.WritePing(true, f.Data)
			}
		case *http2.MetaHeadersFrame:
			u.mu.Lock()
			u.seen = append(u.seen, f)
			u.mu.Unlock()
			u.answer(c, f)
		}
	}
}

func (u *frames) requests() []*http2.MetaHeadersFrame {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]*http2.MetaHeadersFrame(nil), u.seen...)
}

// newFramesBench is a bench with a route raw.gw.test to an HTTP/2 upstream.
func newFramesBench(t *testing.T, answer func(*frameConn, *http2.MetaHeadersFrame)) (*bench, *frames) {
	t.Helper()
	u, ca := newFrames(t, answer)
	b := newBench(t, func(_ *bench, routes []proxy.Route) []proxy.Route {
		return append(routes, proxy.Route{
			Name: "RAW", Match: []string{"raw.gw.test/"}, Upstream: "https://" + u.Addr().String(),
			Secret: "prod/team-dev/U1_KEY", Inject: vault.Bearer(), UpstreamTLS: proxy.UpstreamTLS{CA: ca},
		})
	})
	return b, u
}

// rawH2 is an HTTP/2 connection to the gateway that sends frames.
type rawH2 struct {
	*frameConn
	t      *testing.T
	stream uint32
	server map[http2.SettingID]uint32 // what the gateway announced
}

func (b *bench) rawH2(t *testing.T) *rawH2 {
	t.Helper()
	conn, err := tls.Dial("tcp", b.tls.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, http2.ClientPreface)
	c := &rawH2{frameConn: newFrameConn(conn), t: t, stream: 1, server: map[http2.SettingID]uint32{}}
	c.WriteSettings()
	return c
}

// end is how a stream ended: a response, a reset, or the connection's end.
type end struct {
	status string
	body   string
	reset  http2.ErrCode
	gone   bool // the connection
}

// request writes a header block on a new stream.
func (c *rawH2) request(last bool, fields ...string) uint32 {
	id := c.stream
	c.stream += 2
	if err := c.headers(id, last, fields...); err != nil {
		c.t.Fatal(err)
	}
	return id
}

// wait reads frames until the stream ends.
func (c *rawH2) wait(id uint32) (e end) {
	for {
		frame, err := c.ReadFrame()
		if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
			c.t.Fatalf("stream %d did not end", id)
		}
		if err != nil {
			e.gone = true
			return e
		}
		if s, ok := frame.(*http2.SettingsFrame); ok && !s.IsAck() {
			s.ForeachSetting(func(s http2.Setting) error { c.server[s.ID] = s.Val; return nil })
			c.WriteSettingsAck()
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok && g.ErrCode != http2.ErrCodeNo {
			e.reset, e.gone = g.ErrCode, true
			return e
		}
		if frame.Header().StreamID != id {
			continue
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			if status := f.PseudoValue("status"); status != "" {
				e.status = status
			}
		case *http2.DataFrame:
			e.body += string(f.Data())
		case *http2.RSTStreamFrame:
			if e.status == "" || f.ErrCode != http2.ErrCodeNo {
				e.reset = f.ErrCode
			}
			return e
		}
		if frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return e
		}
	}
}

// get is the header block of a GET, with fields after it.
func get(host, path, token string, fields ...string) []string {
	return append([]string{":method", "GET", ":scheme", "https", ":authority", host, ":path", path, "authorization", "Bearer " + token}, fields...)
}
