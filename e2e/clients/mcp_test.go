package clients_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const mcpRoute = `{name: mcp, match: [/mcp], upstream: "%s", secret: prod/team-dev/MCP_KEY, inject: {header: X-Api-Key}}`

// withToken is a transport that is a caller.
type withToken struct {
	http.RoundTripper
	token string
}

func (t withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+t.token)
	return t.RoundTripper.RoundTrip(r)
}

// caller is an MCP client of the Go SDK, and what the server notified it of.
type caller struct {
	*mcp.ClientSession
	client   *http.Client
	progress chan string
	changed  chan struct{}
}

// connect initializes a session in a version of the protocol.
func (w *world) connect(t *testing.T, g gateway, token, version string) (*caller, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: w.trust.Clone(), ForceAttemptHTTP2: true}
	c := &caller{client: &http.Client{Transport: withToken{transport, token}}, progress: make(chan string), changed: make(chan struct{}, 10)}
	client := mcp.NewClient(&mcp.Implementation{Name: "caller", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(ctx context.Context, r *mcp.ProgressNotificationClientRequest) {
			select {
			case c.progress <- r.Params.Message:
			case <-ctx.Done():
			}
		},
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { c.changed <- struct{}{} },
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	c.ClientSession, err = client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: g.url + "/mcp", HTTPClient: c.client, MaxRetries: -1}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	t.Cleanup(func() {
		if err == nil {
			c.Close()
		}
		transport.CloseIdleConnections()
	})
	return c, err
}

// call is the text that a tool answers with.
func (c *caller) call(t *testing.T, params *mcp.CallToolParams) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := c.CallTool(ctx, params)
	if err != nil || got.IsError || len(got.Content) != 1 {
		t.Fatalf("%s: %v, %+v", params.Name, err, got)
	}
	return got.Content[0].(*mcp.TextContent).Text
}

// names are those of the tools there are.
func (c *caller) names(t *testing.T) []string {
	t.Helper()
	list, err := c.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	return names
}

// await is a value, within patience.
func await[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

func TestMCPOfGo(t *testing.T) {
	t.Parallel()
	w := open(t)
	s := newTools()
	u := w.upstream("X-Api-Key", w.secret("MCP_KEY"), s)
	for _, g := range w.serve(fmt.Sprintf(mcpRoute, u.URL)) {
		for _, version := range []string{withSessions, withoutSessions} {
			t.Run(g.name+"/"+version, func(t *testing.T) {
				alice, err := w.connect(t, g, w.token("alice"), version)
				if err != nil {
					t.Fatal(err)
				}
				if got := alice.InitializeResult(); got.ServerInfo.Name != "tools" || got.ProtocolVersion != version {
					t.Errorf("initialized with %s, version %s", got.ServerInfo.Name, got.ProtocolVersion)
				}
				if got := alice.names(t); !slices.Contains(got, "echo") {
					t.Errorf("the tools are %q", got)
				}
				if got := alice.call(t, &mcp.CallToolParams{Name: "echo", Arguments: text{sentence}}); got != sentence {
					t.Errorf("the tool said %q", got)
				}
				alice.counts(t, s)
				// Any session's new tool is news for every other's.
				agent, err := w.connect(t, g, w.token("agent-1"), version)
				if err != nil {
					t.Fatal(err)
				}
				name := "learned-" + g.name + version
				agent.call(t, &mcp.CallToolParams{Name: "learn", Arguments: text{name}})
				await(t, alice.changed, "the notification of a new tool")
				if got := alice.names(t); !slices.Contains(got, name) {
					t.Errorf("the tools are %q, without %q", got, name)
				}
				if version == withSessions {
					s.sessionsApart(t, alice, agent, g)
				}
			})
		}
		t.Run(g.name+"/refused", func(t *testing.T) {
			before := u.uses()
			for who, want := range map[string]string{"carol": "Forbidden", "expired:alice": "Unauthorized"} {
				if _, err := w.connect(t, g, w.token(who), ""); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %s", who, err, want)
				}
			}
			if got := u.uses(); got != before {
				t.Errorf("%d refused requests reached the server", got-before)
			}
		})
	}
}

// counts has the server go on only when its notification has arrived.
func (c *caller) counts(t *testing.T, s *tools) {
	t.Helper()
	counted := make(chan string, 1)
	go func() {
		params := &mcp.CallToolParams{Name: "count", Arguments: text{}}
		params.SetProgressToken("mine")
		got, err := c.CallTool(t.Context(), params)
		if err != nil {
			counted <- err.Error()
			return
		}
		counted <- got.Content[0].(*mcp.TextContent).Text
	}()
	for _, word := range words {
		if got := await(t, c.progress, "a notification of progress"); got != word {
			t.Errorf("the server notified of %q, want %q", got, word)
		}
		s.seen <- struct{}{}
	}
	if got := await(t, counted, "the end of the count"); got != sentence {
		t.Errorf("counting ended with %q", got)
	}
}

// sessionsApart says that each caller has a session of its own, with a stream
// for notifications, and ends only that.
func (s *tools) sessionsApart(t *testing.T, alice, agent *caller, g gateway) {
	t.Helper()
	mine, theirs := alice.ID(), agent.ID()
	if mine == "" || mine == theirs {
		t.Fatalf("the sessions are %q and %q", mine, theirs)
	}
	if err := alice.Close(); err != nil {
		t.Errorf("closing a session: %v", err)
	}
	for id, want := range map[string]bool{mine: true, theirs: false} {
		methods := s.methods(id)
		if !slices.Contains(methods, "GET") || slices.Contains(methods, "DELETE") != want {
			t.Errorf("the server received %q of a session", methods)
		}
	}
	for c, want := range map[*caller]int{alice: http.StatusNotFound, agent: http.StatusOK} {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", g.url+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":99,"method":"ping"}`))
		for name, value := range map[string]string{
			"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Protocol-Version": withSessions,
			"Mcp-Session-Id": map[*caller]string{alice: mine, agent: theirs}[c],
		} {
			req.Header.Set(name, value)
		}
		resp, err := c.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("after alice's session ended, a ping gets %s, want %d", resp.Status, want)
		}
	}
}

func TestMCPOfNode(t *testing.T) {
	t.Parallel()
	w := open(t)
	s := newTools()
	u := w.upstream("X-Api-Key", w.secret("MCP_KEY"), s)
	for _, g := range w.serve(fmt.Sprintf(mcpRoute, u.URL)) {
		script := w.node(t, "mcp.mjs", map[string]any{
			"url":    g.url + "/mcp",
			"tokens": map[string]string{"agent": w.token("agent-1"), "other": w.token("agent-2"), "expired": w.token("expired:agent-1")},
		})
		if got := script.hear("whole"); got.Text != sentence || got.Kind != "tools "+withSessions {
			t.Errorf("%s: %s: the tool said %q", g.name, got.Kind, got.Text)
		}
		for _, word := range words {
			if got := script.hear("delta"); got.Text != word {
				t.Errorf("%s: the server notified of %q, want %q", g.name, got.Text, word)
			}
			s.seen <- struct{}{}
		}
		if got := script.hear("end"); got.Text != sentence {
			t.Errorf("%s: counting ended with %q", g.name, got.Text)
		}
		// Another's new tool is news for the script's session.
		alice, err := w.connect(t, g, w.token("alice"), withSessions)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("learned-", g.name)
		script.say("listen")
		script.hear("listening")
		alice.call(t, &mcp.CallToolParams{Name: "learn", Arguments: text{name}})
		if got := script.hear("changed"); !strings.Contains(got.Text, name) {
			t.Errorf("%s: the tools are %s, without %q", g.name, got.Text, name)
		}
		ended := script.hear("ended")
		if methods := s.methods(ended.Text); ended.Text == alice.ID() || !slices.Contains(methods, "GET") || methods[len(methods)-1] != "DELETE" {
			t.Errorf("%s: the server received %q of session %q", g.name, methods, ended.Text)
		}
		for who, want := range map[string]int{"other": 403, "expired": 401} {
			script.say(map[string]string{"who": who})
			if got := script.hear("error"); got.Status != want {
				t.Errorf("%s: the %s agent got %+v, want %d", g.name, who, got, want)
			}
		}
	}
}
