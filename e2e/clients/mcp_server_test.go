package clients_test

import (
	"context"
	"net/http"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The last version of the protocol with sessions, and the one that came after.
const (
	withSessions    = "2025-11-25"
	withoutSessions = "2026-07-28"
)

// tools is an MCP server over streamable HTTP. Its tool echo says what it is
// told; count counts to four, each time a notification, and goes on when the
// client has seen it; learn adds a tool, of which the server notifies everybody.
type tools struct {
	server *mcp.Server
	seen   chan struct{}
	// The SDK serves the version without sessions only where it serves no other.
	stateful, stateless http.Handler

	mu       sync.Mutex
	sessions map[string][]string // the methods of each session, in order
}

type text struct {
	Text string `json:"text" jsonschema:"what to say"`
}

func newTools() *tools {
	s := &tools{seen: make(chan struct{}), sessions: map[string][]string{}}
	s.server = mcp.NewServer(&mcp.Implementation{Name: "tools", Version: "1"}, nil)
	s.add("echo", func(_ context.Context, _ *mcp.CallToolRequest, in text) string { return in.Text })
	s.add("count", func(ctx context.Context, r *mcp.CallToolRequest, _ text) string {
		for i := range len(words) {
			err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
				ProgressToken: r.Params.GetProgressToken(), Progress: float64(i + 1), Message: words[i],
			})
			if err != nil {
				return err.Error()
			}
			select {
			case <-s.seen:
			case <-ctx.Done():
				return ctx.Err().Error()
			}
		}
		return sentence
	})
	s.add("learn", func(_ context.Context, _ *mcp.CallToolRequest, in text) string {
		s.add(in.Text, func(context.Context, *mcp.CallToolRequest, text) string { return in.Text })
		return "learned"
	})
	same := func(*http.Request) *mcp.Server { return s.server }
	s.stateful = mcp.NewStreamableHTTPHandler(same, nil)
	s.stateless = mcp.NewStreamableHTTPHandler(same, &mcp.StreamableHTTPOptions{Stateless: true})
	return s
}

// add is a tool that answers with a text.
func (s *tools) add(name string, do func(context.Context, *mcp.CallToolRequest, text) string) {
	mcp.AddTool(s.server, &mcp.Tool{Name: name}, func(ctx context.Context, r *mcp.CallToolRequest, in text) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: do(ctx, r, in)}}}, nil, nil
	})
}

// ServeHTTP implements http.Handler.
func (s *tools) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	id := r.Header.Get("Mcp-Session-Id")
	s.sessions[id] = append(s.sessions[id], r.Method)
	s.mu.Unlock()
	if r.Header.Get("Mcp-Protocol-Version") == withoutSessions {
		s.stateless.ServeHTTP(w, r)
		return
	}
	s.stateful.ServeHTTP(w, r)
}

// methods are those of a session so far.
func (s *tools) methods(id string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.sessions[id]...)
}
