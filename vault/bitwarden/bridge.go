package bitwarden

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
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
	key     func() string
	server  *http.Server
	current atomic.Pointer[call]
}

// A route is a request that the SDK makes on behalf of a reader. There is no
// route for anything else: a write cannot get through.
type route struct {
	service  string // identity or api
	method   string
	template string // the path below the service's base URL
	spending spending
	limit    int64 // of the answer, in bytes

	// accept checks an answer, writes it again for the SDK, and may note what
	// the SDK does not tell.
	accept func(b *bridge, c *call, body []byte) ([]byte, error)
	// held, if set, answers from rows that an earlier call has noted.
	held func(held map[string]secretRow, r *http.Request) (any, bool)
}

// Caps of answers. A secret's value is at most 64 KiB; its ciphertext is in
// base64, and a note comes with it.
const (
	maxReply  = 1 << 20
	maxList   = 16 << 20
	maxSecret = 512 << 10
)

func routes() []*route {
	const of = "/organizations/{organization}"
	return []*route{
		{service: "identity", method: http.MethodPost, template: "/connect/token", spending: login, limit: maxReply,
			accept: func(b *bridge, c *call, body []byte) ([]byte, error) {
				return rewrite(body, func(t tokenReply) error {
					claims, err := t.check(b.organization)
					c.loggedIn(claims.Subject)
					return err
				})
			}},
		{service: "api", method: http.MethodGet, template: of + "/projects", limit: maxList,
			accept: func(_ *bridge, c *call, body []byte) ([]byte, error) {
				return rewrite(body, func(l projectList) error { c.note(nil, l.Data); return l.check() })
			}},
		{service: "api", method: http.MethodGet, template: "/projects/{id}", limit: maxReply,
			accept: func(_ *bridge, _ *call, body []byte) ([]byte, error) {
				return rewrite(body, project.check)
			}},
		{service: "api", method: http.MethodGet, template: of + "/secrets", limit: maxList, held: heldAll,
			accept: func(_ *bridge, c *call, body []byte) ([]byte, error) {
				return rewrite(body, func(l secretList) error { c.note(l.Secrets, nil); return l.check() })
			}},
		{service: "api", method: http.MethodGet, template: of + "/secrets/sync", limit: maxList,
			accept: func(_ *bridge, c *call, body []byte) ([]byte, error) {
				return rewrite(body, func(s syncReply) error { c.note(s.rows(), nil); return s.check() })
			}},
		{service: "api", method: http.MethodGet, template: "/secrets/{id}", limit: maxSecret, held: heldOne,
			accept: func(_ *bridge, _ *call, body []byte) ([]byte, error) {
				return rewrite(body, secretRow.check)
			}},
		{service: "api", method: http.MethodPost, template: "/secrets/get-by-ids", spending: post, limit: maxList, held: heldMany,
			accept: func(_ *bridge, _ *call, body []byte) ([]byte, error) {
				return rewrite(body, secretData.check)
			}},
	}
}

// listen starts a bridge.
func listen(p plan) (*bridge, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	key := rand.Text() + rand.Text()
	b := &bridge{plan: p, address: "http://" + listener.Addr().String(), key: func() string { return key }}
	mux := http.NewServeMux()
	for _, route := range routes() {
		mux.HandleFunc(route.method+" /{key}/"+route.service+route.template, func(w http.ResponseWriter, r *http.Request) { b.serve(route, w, r) })
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
func (b *bridge) base(service string) string { return b.address + "/" + b.key() + "/" + service }

// close refuses everything from now on. The SDK client stays, and fails to
// connect.
func (b *bridge) close() {
	b.server.Close()
	b.transport.CloseIdleConnections()
}

// serve answers one request of the SDK.
func (b *bridge) serve(route *route, w http.ResponseWriter, r *http.Request) {
	c := b.current.Load()
	known := subtle.ConstantTimeCompare([]byte(r.PathValue("key")), []byte(b.key())) == 1
	target, ok := b.target(route, r)
	if c == nil || !known || !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if c.held != nil && route.held != nil {
		c.answer(route, w, r)
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
	clear(body) // of a login: the session's bearer token
}

// forward makes the hop for a request of the SDK and returns the answer as the
// SDK may see it.
func (b *bridge) forward(c *call, route *route, target *url.URL, r *http.Request) ([]byte, *vault.SourceError) {
	h := hop{route: route, target: target, header: make(http.Header)}
	for _, name := range []string{"Authorization", "Accept", "Content-Type", "Device-Type", "User-Agent"} {
		if value := r.Header.Get(name); value != "" {
			h.header.Set(name, value)
		}
	}
	var err error
	if h.body, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, maxReply)); err != nil {
		return nil, &vault.SourceError{Reason: vault.Unusable, Err: errors.New("the SDK's request broke off")}
	}
	answer, failure := b.make(c.ctx, h)
	if failure != nil {
		return nil, failure
	}
	c.saw(answer.asOf)
	body, err := route.accept(b, c, answer.body)
	clear(answer.body) // what was parsed of it is apart
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
	base := b.api
	if route.service == "identity" {
		base = b.identity
	}
	target := base.JoinPath(strings.NewReplacer("{organization}", organization, "{id}", id).Replace(route.template))
	if since := r.URL.Query().Get("lastSyncedDate"); since != "" {
		target.RawQuery = url.Values{"lastSyncedDate": {since}}.Encode()
	}
	return target, true
}
