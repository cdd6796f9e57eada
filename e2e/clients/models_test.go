package clients_test

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// model is what speaks behind a provider's API. Streaming, it goes on when the
// client has seen what it said.
type model struct{ seen chan struct{} }

// routes are the endpoints of a provider, by pattern.
type routes map[string]func(http.ResponseWriter, *http.Request, request)

// request is what the endpoints look at of a request's body.
type request struct {
	Model  string `json:"model"`
	Stream bool   `json:"stream"`
}

// object is a JSON object.
type object = map[string]any

func (r routes) mux() http.Handler {
	mux := http.NewServeMux()
	for pattern, serve := range r {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			var asked request
			if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			serve(w, r, asked)
		})
	}
	return mux
}

func answer(w http.ResponseWriter, body object) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(body)
}

// events writes server-sent events.
type events struct {
	w http.ResponseWriter
	r *http.Request
	m *model
}

func (m *model) events(w http.ResponseWriter, r *http.Request) *events {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	return &events{w, r, m}
}

// send writes an event; one without a name has data alone.
func (e *events) send(name string, data any) {
	if name != "" {
		fmt.Fprintf(e.w, "event: %s\n", name)
	}
	text, ok := data.(string)
	if !ok {
		raw, err := json.Marshal(data)
		if err != nil {
			panic(err)
		}
		text = string(raw)
	}
	fmt.Fprintf(e.w, "data: %s\n\n", text)
	http.NewResponseController(e.w).Flush()
}

// word sends a delta, and waits until the client has it.
func (e *events) word(name string, data any) {
	e.send(name, data)
	select {
	case <-e.m.seen:
	case <-e.r.Context().Done():
	}
}

// openai is the API of OpenAI: chat completions and responses.
func openai(m *model) routes {
	completion := func(kind, field string, reason any, text object) object {
		return object{
			"id": "chatcmpl-1", "object": kind, "created": 1760000000, "model": "gpt-5",
			"choices": []object{{"index": 0, "finish_reason": reason, "logprobs": nil, field: text}},
		}
	}
	chunk := func(reason any, text object) object {
		return completion("chat.completion.chunk", "delta", reason, text)
	}
	response := func(status string, output ...object) object {
		return object{
			"id": "resp_1", "object": "response", "created_at": 1760000000, "status": status, "model": "gpt-5",
			"error": nil, "incomplete_details": nil, "instructions": nil, "metadata": object{}, "parallel_tool_calls": true,
			"temperature": 1, "tool_choice": "auto", "tools": []any{}, "top_p": 1, "output": append([]object{}, output...),
		}
	}
	item := func(status string, parts ...object) object {
		return object{"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": append([]object{}, parts...)}
	}
	part := func(text string) object {
		return object{"type": "output_text", "text": text, "annotations": []any{}, "logprobs": []any{}}
	}
	return routes{
		"POST /v1/chat/completions": func(w http.ResponseWriter, r *http.Request, asked request) {
			if !asked.Stream {
				answer(w, completion("chat.completion", "message", "stop", object{"role": "assistant", "content": sentence, "refusal": nil}))
				return
			}
			e := m.events(w, r)
			e.send("", chunk(nil, object{"role": "assistant", "content": ""}))
			for _, word := range words {
				e.word("", chunk(nil, object{"content": word}))
			}
			e.send("", chunk("stop", object{}))
			e.send("", "[DONE]")
		},
		"POST /v1/responses": func(w http.ResponseWriter, r *http.Request, asked request) {
			e, n := m.events(w, r), 0
			send := func(kind string, wait bool, more object) {
				more["type"], more["sequence_number"] = kind, n
				n++
				if wait {
					e.word(kind, more)
				} else {
					e.send(kind, more)
				}
			}
			place := func(more object) object {
				more["item_id"], more["output_index"], more["content_index"] = "msg_1", 0, 0
				return more
			}
			send("response.created", false, object{"response": response("in_progress")})
			send("response.in_progress", false, object{"response": response("in_progress")})
			send("response.output_item.added", false, object{"output_index": 0, "item": item("in_progress")})
			send("response.content_part.added", false, place(object{"part": part("")}))
			for _, word := range words {
				send("response.output_text.delta", true, place(object{"delta": word, "logprobs": []any{}}))
			}
			send("response.output_text.done", false, place(object{"text": sentence, "logprobs": []any{}}))
			send("response.content_part.done", false, place(object{"part": part(sentence)}))
			send("response.output_item.done", false, object{"output_index": 0, "item": item("completed", part(sentence))})
			send("response.completed", false, object{"response": response("completed", item("completed", part(sentence)))})
		},
	}
}

// anthropic is the API of Anthropic: messages.
func anthropic(m *model) routes {
	message := func(reason any, parts ...object) object {
		return object{
			"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": append([]object{}, parts...),
			"stop_reason": reason, "stop_sequence": nil, "usage": object{"input_tokens": 9, "output_tokens": 5},
		}
	}
	return routes{
		"POST /v1/messages": func(w http.ResponseWriter, r *http.Request, asked request) {
			if r.Header.Get("Anthropic-Version") == "" {
				http.Error(w, `{"type":"error","error":{"type":"invalid_request_error","message":"anthropic-version"}}`, http.StatusBadRequest)
				return
			}
			if !asked.Stream {
				answer(w, message("end_turn", object{"type": "text", "text": sentence}))
				return
			}
			e := m.events(w, r)
			e.send("message_start", object{"type": "message_start", "message": message(nil)})
			e.send("content_block_start", object{"type": "content_block_start", "index": 0, "content_block": object{"type": "text", "text": ""}})
			e.send("ping", object{"type": "ping"})
			for _, word := range words {
				e.word("content_block_delta", object{"type": "content_block_delta", "index": 0, "delta": object{"type": "text_delta", "text": word}})
			}
			e.send("content_block_stop", object{"type": "content_block_stop", "index": 0})
			e.send("message_delta", object{"type": "message_delta", "delta": object{"stop_reason": "end_turn", "stop_sequence": nil}, "usage": object{"output_tokens": 5}})
			e.send("message_stop", object{"type": "message_stop"})
		},
	}
}

// gemini is the API of Gemini: generateContent, whole and streaming.
func gemini(m *model) routes {
	content := func(text string, reason any) object {
		candidate := object{"index": 0, "content": object{"role": "model", "parts": []object{{"text": text}}}}
		if reason != nil {
			candidate["finishReason"] = reason
		}
		return object{"candidates": []object{candidate}, "modelVersion": "gemini", "responseId": "r1"}
	}
	return routes{
		"POST /v1beta/models/{call}": func(w http.ResponseWriter, r *http.Request, _ request) {
			switch call := r.PathValue("call"); {
			case call == "gemini-pro:generateContent":
				answer(w, content(sentence, "STOP"))
			case call == "gemini-pro:streamGenerateContent" && r.URL.RawQuery == "alt=sse":
				e := m.events(w, r)
				for _, word := range words {
					e.word("", content(word, nil))
				}
				e.send("", content("", "STOP"))
			default:
				http.NotFound(w, r)
			}
		},
	}
}
