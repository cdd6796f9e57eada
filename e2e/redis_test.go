package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// stream opens an EventSource of somebody at a node, and returns what is closed
// when it ends.
func (c *cluster) stream(v *visitor, node int) <-chan struct{} {
	c.t.Helper()
	req := c.request("/u1/hold")
	req.Header.Set("Accept", "text/event-stream")
	resp, err := v.at(c.nodes[node]).client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, len("data: first"))); err != nil || resp.StatusCode != 200 {
		c.t.Fatalf("a stream: %d %v", resp.StatusCode, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}()
	return ended
}

func (c *cluster) ends(stream <-chan struct{}, what string) {
	c.t.Helper()
	select {
	case <-stream:
	case <-time.After(patience):
		c.t.Errorf("%s does not end", what)
	}
}

// is wants a status and, of a refusal, a code.
func (c *cluster) is(got answer, status int, code string) {
	c.t.Helper()
	if got.status != status || got.code() != code {
		c.t.Errorf("%d %q %s, want %d %q", got.status, got.code(), got.body, status, code)
	}
}

// becomes waits for that: a node believes what it read for two seconds.
func (c *cluster) becomes(v *visitor, node, status int, code string) {
	c.t.Helper()
	var got answer
	c.until(fmt.Sprintf("node %d answers %d %s", node, status, code), func() bool {
		got = c.get(v, node, "/u1/x")
		return got.status == status && got.code() == code
	})
}

// F14, E30: two gateways share a Redis. Who logs in on one, or on both by turns as a
// load balancer has it, uses the other; and each ends what the other began, by
// subject, by id and by the provider's word, with the streams that are open there.
func TestTwoGatewaysShareRedis(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	alice := c.login(0, "alice")
	for node := range c.nodes {
		c.is(c.get(alice, node, "/u1/x"), 200, "")
	}
	// Another node for each step of a login.
	carol, err := newVisitor(c.Bench, "")
	if err != nil {
		t.Fatal(err)
	}
	var turn atomic.Int64
	carol.client.Transport.(*http.Transport).DialContext = byTurns(c, &turn)
	c.enter(carol, "alice")
	if turn.Load() < 4 {
		t.Errorf("a login in %d steps was by no turns", turn.Load())
	}

	streams := []<-chan struct{}{c.stream(alice, 0), c.stream(alice, 1), c.stream(carol, 0), c.stream(carol, 1)}
	if out := c.must(1, "sessions", "revoke", "--subject", "alice"); out != "2 sessions ended\n" {
		t.Errorf("revoked on one: %q", out)
	}
	for i, s := range streams {
		c.ends(s, fmt.Sprintf("stream %d", i))
	}
	for node := range c.nodes {
		c.becomes(alice, node, 401, "session-revoked")
		c.becomes(carol, node, 401, "session-revoked")
	}

	for node := range c.nodes { // by id, at the node that did not make it
		alice, again := c.login(node, "alice"), c.login(1-node, "alice")
		stream := c.stream(alice, node)
		var listed []struct{ ID, Subject, Created string }
		if err := json.Unmarshal([]byte(c.must(1-node, "sessions", "list", "--json")), &listed); err != nil || len(listed) != 2 {
			t.Fatal(listed, err)
		}
		for _, one := range listed {
			if one.Subject != "alice" {
				t.Errorf("listed %+v", one)
			}
			c.must(1-node, "sessions", "revoke", "--id", one.ID)
		}
		c.ends(stream, "a stream at the other node")
		c.becomes(alice, node, 401, "session-revoked")
		c.becomes(again, 1-node, 401, "session-revoked")
	}

	for node := range c.nodes { // by back-channel logout, to the other
		alice := c.login(node, "alice")
		stream := c.stream(alice, node)
		token, err := c.LogoutToken("alice")
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{200, 400} { // and to the first once more: a replay
			at := []int{1 - node, node}[i]
			if status, err := logoutAt(t.Context(), c.nodes[at].URL, token); err != nil || status != want {
				t.Errorf("a logout token at node %d: %d %v, want %d", at, status, err, want)
			}
		}
		c.ends(stream, "a stream at the other node")
		c.becomes(alice, node, 401, "session-revoked")
	}
	c.end()
}

// E33: fifty requests at a time on two gateways, over several refreshes of a session
// whose refresh token works once: no request is refused, and the provider never sees
// a token twice.
func TestTwoGatewaysRefreshOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.Refreshing(32 * time.Second) // due two seconds after it was given
	alice := c.login(0, "alice")
	done := bench.Grant{Type: "refresh_token", Status: 200}
	c.until("there are three refreshes", func() bool {
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() { c.is(c.get(alice, i%2, "/u1/x"), 200, "") })
		}
		all.Wait()
		return t.Failed() || c.Granted(done) >= 3
	})
	if n := c.Granted(bench.Grant{Type: "refresh_token", Status: 400}); n != 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}
	c.end()
}

// bearers sends requests with a token to both nodes until stopped, and fails the
// test for each that is not served.
func (c *cluster) bearers() (stop func() int) {
	token, err := c.Token(c.t.Context(), "alice")
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	var all sync.WaitGroup
	var served atomic.Int64
	for i := range 4 {
		all.Go(func() {
			for range ticking(ctx, 20*time.Millisecond) {
				req := c.request("/u1/bearer")
				req.URL.Host, req.Host = c.nodes[i%2].Listen, strings.TrimPrefix(bench.PublicURL, "http://")
				req.Header.Set("Authorization", "Bearer "+token)
				resp, err := caller.Do(req)
				if err != nil {
					c.t.Error(err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != 200 {
					c.t.Errorf("a bearer's request: %d", resp.StatusCode)
				}
				served.Add(1)
			}
		})
	}
	return func() int { cancel(); all.Wait(); return int(served.Load()) }
}

// FS02: Redis is killed, or answers nothing, in the middle of requests. Sessions are
// 503 session-unavailable, logins a page; bearers notice nothing, and the gateway
// stays ready for them. When it is back all is as it remembers: with its data
// everybody goes on, without everybody logs in again. Nobody restarts anything.
func TestRedisFailsUnderLoad(t *testing.T) {
	for name, fault := range map[string]struct {
		args       []string
		fail, mend func(*redisServer)
		remembers  bool
	}{
		"killed, with its data":    {[]string{"--appendonly", "yes", "--appendfsync", "always"}, (*redisServer).kill, (*redisServer).start, true},
		"killed, without its data": {nil, (*redisServer).kill, (*redisServer).start, false},
		"stalled":                  {nil, (*redisServer).stall, (*redisServer).resume, true},
		"emptied":                  {nil, func(s *redisServer) { s.do("FLUSHALL") }, func(*redisServer) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, fault.args...)
			alice := c.login(0, "alice")
			stream := c.stream(alice, 1)
			stop := c.bearers()
			c.is(c.get(alice, 1, "/u1/x"), 200, "")
			waiting, _, err := c.visitor(0).visit(t.Context(), bench.PublicURL+"/u1/x", "")
			if err != nil || waiting.status != 200 {
				t.Fatal(waiting.status, err) // at the provider's door
			}

			fault.fail(c.redis)
			if name == "emptied" {
				for node := range c.nodes {
					c.becomes(alice, node, 401, "no-credentials")
				}
			} else {
				for node := range c.nodes {
					c.becomes(alice, node, 503, "session-unavailable")
				}
				page := c.request("/u1/x")
				asPage(page)
				got, err := alice.ask(page)
				if err != nil || got.status != 503 || !strings.Contains(string(got.body), "Sessions cannot be read right now") {
					t.Errorf("a page: %d %s %v", got.status, got.body, err)
				}
				got, at, err := c.visitor(1).visit(t.Context(), bench.PublicURL+"/u1/x", "alice")
				if err != nil || got.status != 503 || at.Path != "/.vaultspan/callback" || !strings.Contains(string(got.body), "Sessions cannot be stored") {
					t.Errorf("FS07 a login: %d at %v %s %v", got.status, at, got.body, err)
				}
				if out, err := c.run(0, "sessions", "revoke", "--subject", "alice"); err == nil {
					t.Errorf("a revocation that nobody wrote down: %s", out)
				}
				if out, err := c.run(0, "sessions", "list"); err == nil {
					t.Errorf("a list of nothing: %s", out)
				}
				for _, node := range c.nodes {
					if status := c.status(node.Admin + "/readyz?route=u1"); status != 200 {
						t.Errorf("readyz: %d; bearers are served", status)
					}
				}
			}
			c.ends(stream, "a stream whose session nobody can vouch for")

			fault.mend(c.redis)
			if fault.remembers {
				for node := range c.nodes {
					c.becomes(alice, node, 200, "")
				}
			} else {
				for node := range c.nodes {
					c.becomes(alice, node, 401, "no-credentials")
				}
			}
			c.enter(alice, "alice")
			c.enter(c.visitor(1), "alice")
			if served := stop(); served == 0 {
				t.Error("no bearer's request was made")
			}
			for _, dir := range c.dirs {
				c.isJSON(filepath.Join(dir, "gateway.log"))
			}
			c.end()
		})
	}
}

// FS05: nodes that were given a replica, or the wrong password, serve bearers, and
// say what is wrong where an operator looks.
func TestRedisIsTheWrongOne(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	alice := c.login(0, "alice")
	stop := c.bearers()

	c.redis.do("REPLICAOF", "127.0.0.1", "1")
	c.is(c.get(alice, 1, "/u1/x"), 200, "")
	carol := c.visitor(1)
	got, at, err := carol.visit(t.Context(), bench.PublicURL+"/u1/x", "alice")
	if err != nil || got.status != 503 || at.Path != "/.vaultspan/callback" || carol.cookie() != "" {
		t.Errorf("a login on a replica: %d at %v %v", got.status, at, err)
	}
	c.until("the log says that it is a replica", func() bool { return strings.Contains(c.log(1), "READONLY") })
	c.redis.do("REPLICAOF", "NO", "ONE")
	c.enter(carol, "alice")

	c.redis.do("CONFIG", "SET", "requirepass", "another")
	c.redis.password = "another"
	c.redis.do("CLIENT", "KILL", "TYPE", "normal")
	c.becomes(alice, 0, 503, "session-unavailable")
	c.until("the log says that the password is wrong", func() bool { return strings.Contains(c.log(0), "WRONGPASS") })
	if served := stop(); served == 0 {
		t.Error("no bearer's request was made")
	}
	c.end()
}
