package devidp

import (
	_ "embed"
	"html/template"
	"net/http"
)

//go:embed pages.html
var pagesHTML string

//go:embed style.css
var styleCSS string

var pages = template.Must(template.New("pages").Parse(pagesHTML))

// show answers with a page. It needs no script.
func (p *Provider) show(w http.ResponseWriter, status int, page string, data any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	// No form-action: browsers apply it to the redirect back to the client too.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.WriteHeader(status)
	pages.ExecuteTemplate(w, page, data)
}

// message is a page that says one thing.
func (p *Provider) message(w http.ResponseWriter, status int, title, text string) {
	p.show(w, status, "message", map[string]any{"Title": title, "Text": text})
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write([]byte(styleCSS))
}
