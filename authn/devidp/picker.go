package devidp

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// showPicker lists the people, one button each. A client that says prompt=none
// wants no page: it gets whoever is signed in, or an error.
func (p *Provider) showPicker(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("request")
	l, err := p.storage.AuthRequestByID(r.Context(), id)
	if err != nil {
		p.message(w, http.StatusBadRequest, "Signing in did not work", "This login is unknown, over or too old. Go back to the application and begin again.")
		return
	}
	if slices.Contains(l.(*login).request.Prompt, oidc.PromptNone) {
		if err := p.storage.resume(id, p.cookieOf(r)); err != nil {
			op.AuthRequestError(w, r, l, err, p.flows)
			return
		}
		backToClient(w, r, id)
		return
	}
	people := p.cfg.People
	if hint := l.(*login).hint; hint != "" {
		people = []Person{p.people[hint]}
	}
	p.show(w, http.StatusOK, "picker", map[string]any{"Request": id, "People": people})
}

// pick is a click on a name: it ends the login and goes back to the client.
func (p *Provider) pick(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	id := r.PostFormValue("request")
	in, err := p.storage.pick(id, r.PostFormValue("person"), p.cookieOf(r))
	if err != nil {
		p.message(w, http.StatusBadRequest, "Signing in did not work", err.Error())
		return
	}
	p.setCookie(w, in.cookie)
	backToClient(w, r, id)
}

func backToClient(w http.ResponseWriter, r *http.Request, id string) {
	http.Redirect(w, r, "/authorize/callback?id="+url.QueryEscape(id), http.StatusSeeOther)
}

// cookieName has the port in it, for cookies do not keep ports apart.
func (p *Provider) cookieName() string {
	u, err := url.Parse(p.cfg.Issuer)
	if err != nil { // unreachable: check parsed it
		return "devidp"
	}
	return "devidp-" + u.Port()
}

func (p *Provider) cookieOf(r *http.Request) string {
	if c, err := r.Cookie(p.cookieName()); err == nil {
		return c.Value
	}
	return ""
}

// setCookie remembers a sign-in in its browser, or forgets it.
func (p *Provider) setCookie(w http.ResponseWriter, value string) {
	c := &http.Cookie{Name: p.cookieName(), Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}
