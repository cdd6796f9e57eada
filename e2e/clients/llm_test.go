package clients_test

import (
	"fmt"
	"strings"
	"testing"
)

// words are what a model says, a delta each.
var words = []string{"The key ", "never ", "left ", "home."}

const sentence = "The key never left home."

// llm is a provider, its SDK and the route between the two.
type llm struct {
	script   string
	upstream func(*model) routes
	header   string // where the SDK puts a key
	format   string // of the header's value
	route    string // in YAML, with the upstream's URL for %s
	base     string // the SDK's base URL below the gateway's
	denied   string // what the SDK calls a 403
	expired  string // and a 401
	streams  int    // how many ways to stream it has
	version  string // of the SDK, where there are two
}

var llms = map[string]llm{
	"openai": {
		script: "openai.mjs", upstream: openai, header: "Authorization", format: "Bearer ", base: "/openai/v1", streams: 2,
		route:  `{name: llm, match: [/openai/], strip: /openai, upstream: "%s", secret: prod/team-dev/LLM_KEY, inject: bearer}`,
		denied: "PermissionDeniedError", expired: "AuthenticationError",
	},
	"anthropic": { // sends what it takes for a key as Authorization: Bearer
		script: "anthropic.mjs", upstream: anthropic, header: "X-Api-Key", base: "/anthropic", streams: 2, version: "@anthropic-ai/sdk",
		route:  `{name: llm, match: [/anthropic/], strip: /anthropic, upstream: "%s", secret: prod/team-dev/LLM_KEY, inject: {header: x-api-key}, token_from: [x-api-key]}`,
		denied: "PermissionDeniedError", expired: "AuthenticationError",
	},
	"anthropic 0": { // sends it as X-Api-Key
		script: "anthropic.mjs", upstream: anthropic, header: "X-Api-Key", base: "/anthropic", streams: 2, version: "anthropic-0",
		route:  `{name: llm, match: [/anthropic/], strip: /anthropic, upstream: "%s", secret: prod/team-dev/LLM_KEY, inject: {header: x-api-key}, token_from: [x-api-key]}`,
		denied: "PermissionDeniedError", expired: "AuthenticationError",
	},
	"gemini": {
		script: "gemini.mjs", upstream: gemini, header: "X-Goog-Api-Key", base: "/gemini", streams: 1,
		route:  `{name: llm, match: [/gemini/], strip: /gemini, upstream: "%s", secret: prod/team-dev/LLM_KEY, inject: {header: x-goog-api-key}, token_from: [x-goog-api-key]}`,
		denied: "ApiError", expired: "ApiError",
	},
}

// An SDK that is given a base URL and an agent's token for a key works as it
// does with the provider: streams arrive as they are sent, refusals are the
// SDK's own errors, and the provider's key is nowhere in the client.
func TestSDKsOfLLMProviders(t *testing.T) {
	for name, l := range llms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			m := &model{seen: make(chan struct{})}
			u := w.upstream(l.header, l.format+w.secret("LLM_KEY"), l.upstream(m).mux())
			for _, g := range w.serve(fmt.Sprintf(l.route, u.URL)) {
				l.drive(t, w, m, g)
			}
		})
	}
}

// drive plays the SDK's script through one gateway.
func (l llm) drive(t *testing.T, w *world, m *model, g gateway) {
	token := w.token("agent-1")
	s := w.node(t, l.script, map[string]any{
		"baseURL": g.url + l.base, "version": l.version,
		"tokens": map[string]string{"agent": token, "other": w.token("agent-2"), "expired": w.token("expired:agent-1")},
	})
	if got := s.hear("whole"); got.Text != sentence {
		t.Errorf("%s: without streaming the model said %q", g.name, got.Text)
	}
	for range l.streams {
		var text strings.Builder
		for range words {
			// The model says its next word only when this one has arrived.
			text.WriteString(s.hear("delta").Text)
			m.seen <- struct{}{}
		}
		if s.hear("end"); text.String() != sentence {
			t.Errorf("%s: streaming, the model said %q", g.name, text.String())
		}
	}
	for who, want := range map[string]said{"other": {Kind: l.denied, Status: 403}, "expired": {Kind: l.expired, Status: 401}} {
		s.say(map[string]string{"who": who})
		got := s.hear("error")
		if got.Kind != want.Kind || got.Status != want.Status {
			t.Errorf("%s: the %s agent got %s %d, want %s %d", g.name, who, got.Kind, got.Status, want.Kind, want.Status)
		}
	}
	if g.name == "tls" { // as long as the rest
		w.searchMemory(t, s, token)
	}
}
