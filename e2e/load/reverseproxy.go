package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// serveReverseProxy is what the gateway is compared with: the proxy of the
// standard library, tuned, putting the credential on every request and asking
// nothing.
func serveReverseProxy(ctx context.Context, address, upstream, credential string) error {
	target := &url.URL{Scheme: "http", Host: upstream}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Authorization", "Bearer "+credential)
		},
		Transport: &http.Transport{
			DisableCompression:  true,
			MaxIdleConns:        512, // the default transport keeps two of each host: more than twice the CPU
			MaxIdleConnsPerHost: 512,
			IdleConnTimeout:     time.Minute,
		},
		BufferPool: buffers{},
		ErrorLog:   log.New(io.Discard, "", 0),
	}
	server := &http.Server{Addr: address, Handler: proxy, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type buffers struct{}

var pool = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func (buffers) Get() []byte  { return pool.Get().(*[32 << 10]byte)[:] }
func (buffers) Put(b []byte) { pool.Put((*[32 << 10]byte)(b)) }
