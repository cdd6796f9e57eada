package bitwarden

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vaultspan/vaultspan/vault"
)

// A bridge is the server that one SDK client believes to be Bitwarden. It
// listens on loopback, and answers only under a random key in the path, which
// stands in the client's base URL and nowhere else, so that no other process of
// the machine can use the machine account through it.
//
// Between calls it refuses everything. During a call it forwards under the
// call's context: when the call's deadline passes, the hop is aborted, the SDK
// gets an answer, and the thread it holds comes free.
//
// The SDK hears of a failure only that there was one (status 502, no body): it
// would put a body into its error, and acts on none of the statuses.
type bridge struct {
	plan
	address string
	key     string
	server  *http.Server
	current atomic.Pointer[call]
}

// A route is a request that the SDK makes on behalf of a reader. There is no
// route for anything else: a write cannot get through.
type route struct {
	method   string
	template string // the path below the base, for mux and span
	spending spending
	limit    int64 // of the answer, in bytes

	// accept checks an answer, writes it again for the SDK, and may note what
	// the SDK does not tell.
	accept func(b *bridge, c *call, body []byte) ([]byte, error)
}

// Caps of answers. A secret's value is at most 64 KiB; its ciphertext is in
// base64, and a note comes with it.
const (
	maxReply  = 1 << 20
	maxList   = 16 << 20
	maxSecret = 512 << 10
)

func routes() []*route {
	const of = "/api/organizations/{organization}"
	return []*route{
		{http.MethodPost, "/identity/connect/token", login, maxReply, func(b *bridge, _ *call, body []byte) ([]byte, error) {
			return rewrite(body, func(t tokenReply) error { return t.check(b.organization) })
		}},
		{http.MethodGet, of + "/projects", get, maxReply, func(_ *bridge, _ *call, body []byte) ([]byte, error) {
			return rewrite(body, projectList.check)
		}},
		{http.MethodGet, of + "/secrets", get, maxList, func(_ *bridge, c *call, body []byte) ([]byte, error) {
			return rewrite(body, func(l secretList) error { c.list(l.Secrets); return checkRows(l.Secrets) })
		}},
		{http.MethodGet, of + "/secrets/sync", get, maxList, func(_ *bridge, _ *call, body []byte) ([]byte, error) {
			return rewrite(body, syncReply.check)
		}},
		{http.MethodGet, "/api/secrets/{id}", get, maxSecret, func(_ *bridge, _ *call, body []byte) ([]byte, error) {
			return rewrite(body, func(s secretRow) error { return checkRows([]secretRow{s}) })
		}},
		{http.MethodPost, "/api/secrets/get-by-ids", post, maxList, func(_ *bridge, _ *call, body []byte) ([]byte, error) {
			return rewrite(body, func(d secretData) error { return checkRows(d.Data) })
		}},
	}
}

// listen starts a bridge.
func listen(p plan) (*bridge, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &bridge{plan: p, address: "http://" + listener.Addr().String(), key: rand.Text() + rand.Text()}
	mux := http.NewServeMux()
	for _, route := range routes() {
		mux.HandleFunc(route.method+" /{key}"+route.template, func(w http.ResponseWriter, r *http.Request) { b.serve(route, w, r) })
	}
	b.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // it would print what it could not parse
	}
	go b.server.Serve(listener)
	return b, nil
}

// base returns the base URL for the SDK.
func (b *bridge) base(service string) string { return b.address + "/" + b.key + "/" + service }

// close refuses everything from now on. The SDK client stays, and fails to
// connect.
func (b *bridge) close() {
	b.server.Close()
	b.transport.CloseIdleConnections()
}

// serve answers one request of the SDK.
func (b *bridge) serve(route *route, w http.ResponseWriter, r *http.Request) {
	c := b.current.Load()
	known := subtle.ConstantTimeCompare([]byte(r.PathValue("key")), []byte(b.key)) == 1
	target, ok := b.target(route, r)
	if c == nil || !known || !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body, failure := b.forward(c, route, target, r)
	if failure != nil {
		c.fail(failure, route.spending == login)
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// forward makes the hop for a request of the SDK and returns the answer as the
// SDK may see it.
func (b *bridge) forward(c *call, route *route, target *url.URL, r *http.Request) ([]byte, *vault.SourceError) {
	h := hop{route: route, target: target, header: make(http.Header)}
	// What the SDK says of itself stays here, and so does anything that an SDK
	// of another version might add.
	for _, name := range []string{"Authorization", "Accept", "Content-Type", "Device-Type"} {
		if value := r.Header.Get(name); value != "" {
			h.header.Set(name, value)
		}
	}
	h.header.Set("User-Agent", "vaultspan")
	if route.method == http.MethodPost {
		h.body = http.MaxBytesReader(nil, r.Body, maxReply)
	}
	answer, failure := b.make(c.ctx, h)
	if failure != nil {
		return nil, failure
	}
	c.saw(answer.asOf)
	body, err := route.accept(b, c, answer.body)
	switch {
	case errors.Is(err, errOtherOrg):
		return nil, &vault.SourceError{Reason: vault.Forbidden, Status: http.StatusOK, Err: err}
	case err != nil:
		return nil, unusable(err)
	}
	return body, nil
}

// target is where a request goes: the configured base and the route's path. Of
// what the SDK wrote, only a secret's id and the date of a sync are used.
func (b *bridge) target(route *route, r *http.Request) (*url.URL, bool) {
	organization, id := cmp.Or(r.PathValue("organization"), b.organization), r.PathValue("id")
	if organization != b.organization || id != "" && !isUUID(id) {
		return nil, false
	}
	service, path, _ := strings.Cut(route.template[1:], "/")
	base := map[string]*url.URL{"identity": b.identity, "api": b.api}[service]
	target := base.JoinPath(strings.NewReplacer("{organization}", organization, "{id}", id).Replace(path))
	if since := r.URL.Query().Get("lastSyncedDate"); since != "" {
		target.RawQuery = url.Values{"lastSyncedDate": {since}}.Encode()
	}
	return target, true
}

// A call is one call into the SDK: what the bridge needs for it, and what the
// bridge saw of it. An SDK call can be several hops, since the SDK renews its
// session by itself.
type call struct {
	ctx context.Context

	mu      sync.Mutex
	failure *vault.SourceError // of the first hop that failed
	atLogin bool               // that hop was a login
	rows    []secretRow        // of a list: the SDK leaves out projects and dates
	asOf    time.Time          // of the last hop
}

func (c *call) fail(failure *vault.SourceError, atLogin bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		c.failure, c.atLogin = failure, atLogin
	}
}

func (c *call) list(rows []secretRow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows = rows
}

func (c *call) saw(asOf time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asOf = asOf
}
