package main

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// keyed is the set of keys that an upstream accepts: the two newest.
type keyed struct {
	mu   sync.Mutex
	keys []string
}

// accept makes key the newest.
func (k *keyed) accept(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = append(k.keys, key)
	k.keys = k.keys[max(0, len(k.keys)-2):]
}

// has says whether a request carries an accepted key where it belongs, and
// nothing like a caller's token anywhere.
func (k *keyed) has(key string, header http.Header) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	accepted := slices.ContainsFunc(k.keys, func(want string) bool {
		return subtle.ConstantTimeCompare([]byte(key), []byte(want)) == 1
	})
	return accepted && !carriesJWT(header)
}

// carriesJWT says whether any field holds a compact JWS: the gateway must not
// have let the caller's token through.
func carriesJWT(header http.Header) bool {
	for _, values := range header {
		if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, "eyJ") && strings.Count(v, ".") >= 2 }) {
			return true
		}
	}
	return false
}

// paymentsAPI is an internal API that demands its own key.
func paymentsAPI(keys *keyed) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !keys.has(key, r.Header) {
			reply(w, http.StatusUnauthorized, map[string]any{"error": "wrong key"})
			return
		}
		reply(w, http.StatusOK, map[string]any{
			"balance": 4200, "path": r.URL.Path,
			"upstream_saw": "the vault's key, and no token of the caller",
		})
	})
}

// llmAPI is shaped like OpenAI's chat completions and Anthropic's messages, and
// streams like them.
func llmAPI(keys *keyed) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !keys.has(key, r.Header) {
			reply(w, http.StatusUnauthorized, map[string]any{"error": map[string]string{"message": "Incorrect API key provided.", "type": "invalid_request_error"}})
			return
		}
		speak(w, r, func(word string) string {
			return event("", map[string]any{"object": "chat.completion.chunk", "choices": []any{map[string]any{"index": 0, "delta": map[string]string{"content": word}}}})
		}, "data: [DONE]\n\n", func(text string) any {
			return map[string]any{"object": "chat.completion", "choices": []any{map[string]any{"index": 0, "message": map[string]string{"role": "assistant", "content": text}}}}
		})
	})
	mux.HandleFunc("POST /v1/messages", func(w http.ResponseWriter, r *http.Request) {
		if !keys.has(r.Header.Get("X-Api-Key"), r.Header) {
			reply(w, http.StatusUnauthorized, map[string]any{"type": "error", "error": map[string]string{"type": "authentication_error", "message": "invalid x-api-key"}})
			return
		}
		speak(w, r, func(word string) string {
			return event("content_block_delta", map[string]any{"type": "content_block_delta", "index": 0, "delta": map[string]string{"type": "text_delta", "text": word}})
		}, event("message_stop", map[string]any{"type": "message_stop"}), func(text string) any {
			return map[string]any{"type": "message", "role": "assistant", "content": []any{map[string]string{"type": "text", "text": text}}}
		})
	})
	return mux
}

// speak answers at once, or word by word if the request says stream.
func speak(w http.ResponseWriter, r *http.Request, chunk func(word string) string, last string, whole func(text string) any) {
	var request struct {
		Stream bool `json:"stream"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&request); err != nil {
		reply(w, http.StatusBadRequest, map[string]any{"error": "not JSON"})
		return
	}
	say(w, r, request.Stream, chunk, last, whole)
}

// say answers at once, or word by word.
func say(w http.ResponseWriter, r *http.Request, stream bool, chunk func(word string) string, last string, whole func(text string) any) {
	words := strings.SplitAfter("The key never left the gateway.", " ")
	if !stream {
		reply(w, http.StatusOK, whole(strings.Join(words, "")))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := http.NewResponseController(w)
	for _, word := range words {
		fmt.Fprint(w, chunk(word))
		if flusher.Flush() != nil {
			return
		}
		select {
		case <-time.After(80 * time.Millisecond): // so that a person sees it stream
		case <-r.Context().Done():
			return
		}
	}
	fmt.Fprint(w, last)
}

// event is one server-sent event.
func event(name string, data any) string {
	text, err := json.Marshal(data)
	if err != nil { // unreachable: maps of strings
		return ""
	}
	if name != "" {
		name = "event: " + name + "\n"
	}
	return name + "data: " + string(text) + "\n\n"
}

// reply answers with JSON.
func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
