package devidp

import (
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
)

//go:embed picker.html
var pickerHTML string

//go:embed picker.css
var pickerCSS string

var pickerPage = template.Must(template.New("picker").Parse(pickerHTML))

// showPicker lists the people, one button each.
func (p *Provider) showPicker(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	// No form-action: browsers apply it to the redirect back to the client too.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'")
	pickerPage.Execute(w, struct {
		Request string
		People  []Person
	}{r.URL.Query().Get("request"), p.cfg.People})
}

// pick is a click on a name: it ends the login and goes back to the client.
func (p *Provider) pick(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	id := r.PostFormValue("request")
	if err := p.storage.pick(id, r.PostFormValue("person")); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, "/authorize/callback?id="+url.QueryEscape(id), http.StatusSeeOther)
}

func servePickerStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Write([]byte(pickerCSS))
}
