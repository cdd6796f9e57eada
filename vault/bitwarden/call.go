package bitwarden

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/vaultspan/vaultspan/vault"
)

// A call is one call into the SDK: what the bridge needs for it, and what the
// bridge saw of it. An SDK call can be several hops, since the SDK renews its
// session by itself.
type call struct {
	ctx  context.Context
	held map[string]secretRow // by id, to answer from instead of asking the server

	mu       sync.Mutex
	failure  *vault.SourceError // of the first hop that failed
	atLogin  bool               // that hop was a login
	secrets  []secretRow        // of a list or sync: the SDK leaves out projects and dates
	projects []project          // of a list
	account  string             // of the last login: the machine account's id
	answered bool               // the SDK was given something
	asOf     time.Time          // of the last hop
}

func (c *call) fail(failure *vault.SourceError, atLogin bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		c.failure, c.atLogin = failure, atLogin
	}
}

func (c *call) note(secrets []secretRow, projects []project) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secrets, c.projects = secrets, projects
}

func (c *call) loggedIn(account string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.account = account
}

func (c *call) saw(asOf time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asOf, c.answered = asOf, true
}

// answer serves a request of the SDK from the held rows. When the ciphertext of
// one secret spoils a sync, this is how it is found: the SDK is given the same
// rows again in smaller parts, and the server is not asked again for each.
func (c *call) answer(route *route, w http.ResponseWriter, r *http.Request) {
	reply, ok := route.held(c.held, r)
	if !ok {
		c.fail(unusable(errAbsent), false)
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	c.saw(time.Time{})
	w.Header().Set("Content-Type", "application/json")
	json.MarshalWrite(w, reply)
}

func heldAll(held map[string]secretRow, _ *http.Request) (any, bool) {
	return secretList{Secrets: slices.Collect(maps.Values(held))}, true
}

func heldOne(held map[string]secretRow, r *http.Request) (any, bool) {
	row, ok := held[r.PathValue("id")]
	return row, ok
}

func heldMany(held map[string]secretRow, r *http.Request) (any, bool) {
	var request struct {
		IDs []string `json:"ids"`
	}
	if err := json.UnmarshalRead(r.Body, &request); err != nil {
		return nil, false
	}
	var reply secretData
	for _, id := range request.IDs {
		row, ok := held[id]
		if !ok {
			return nil, false
		}
		reply.Data = append(reply.Data, row)
	}
	return reply, true
}
