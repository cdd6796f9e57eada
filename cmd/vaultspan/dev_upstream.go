package main

import (
	"cmp"
	_ "embed"
	"html/template"
	"net/http"
	"strings"
)

//go:embed dev_wiki.html
var devWiki string

var wikiPage = template.Must(template.New("wiki").Parse(devWiki))

// searchAPI is an internal API that demands its own key.
func searchAPI(keys *keyed) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !keys.has(r.Header.Get("X-Api-Key"), r.Header) {
			reply(w, http.StatusUnauthorized, map[string]any{"error": "wrong key"})
			return
		}
		reply(w, http.StatusOK, map[string]any{
			"hits": 3, "path": r.URL.Path,
			"upstream_saw": "the vault's key, and no token of the caller",
		})
	})
}

// wikiAPI demands nothing but to be left alone with callers' tokens. It tells
// whom it believes to talk to; browsers get a page.
func wikiAPI() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if carriesJWT(r.Header) {
			reply(w, http.StatusInternalServerError, map[string]any{"error": "a caller's token came through"})
			return
		}
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
			wikiPage.Execute(w, cmp.Or(strings.Trim(r.URL.Path, "/"), "Home"))
			return
		}
		reply(w, http.StatusOK, map[string]any{"page": r.URL.Path, "visitor": r.Header.Get("X-Forwarded-For")})
	})
}

// geminiAPI is shaped like Gemini's generateContent and streamGenerateContent.
func geminiAPI(keys *keyed) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1beta/models/{call}", func(w http.ResponseWriter, r *http.Request) {
		if !keys.has(r.Header.Get("X-Goog-Api-Key"), r.Header) {
			reply(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}})
			return
		}
		_, method, _ := strings.Cut(r.PathValue("call"), ":")
		say(w, r, method == "streamGenerateContent", func(word string) string { return event("", geminiContent(word)) }, "", func(text string) any { return geminiContent(text) })
	})
	return mux
}

func geminiContent(text string) map[string]any {
	return map[string]any{"candidates": []any{map[string]any{"index": 0, "content": map[string]any{"role": "model", "parts": []any{map[string]string{"text": text}}}}}}
}
