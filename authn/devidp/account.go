package devidp

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// showAccount is a person's page: where they are signed in, and the way out of
// all of it. Without a person it lists them.
func (p *Provider) showAccount(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("person")
	if name == "" {
		p.show(w, http.StatusOK, "people", map[string]any{"People": p.cfg.People})
		return
	}
	person, ok := p.people[name]
	if !ok {
		p.message(w, http.StatusNotFound, "Nobody of that name", "This provider does not know them.")
		return
	}
	p.show(w, http.StatusOK, "account", map[string]any{
		"Person": person, "Clients": p.storage.clientsOf(name), "Disabled": p.storage.isDisabled(name), "Done": r.URL.Query().Get("done"),
	})
}

// changeAccount is a button of that page.
func (p *Provider) changeAccount(w http.ResponseWriter, r *http.Request) {
	if err := new(http.CrossOriginProtection).Check(r); err != nil {
		p.message(w, http.StatusForbidden, "Not from there", "Another site asked for this.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	name, do := r.PostFormValue("person"), r.PostFormValue("do")
	if _, ok := p.people[name]; !ok {
		p.message(w, http.StatusNotFound, "Nobody of that name", "This provider does not know them.")
		return
	}
	switch do {
	case "sign-out":
		if err := p.SignOut(r.Context(), name); err != nil {
			p.message(w, http.StatusBadGateway, "Signed out, but not everywhere", err.Error())
			return
		}
	case "disable":
		p.Disable(name)
	case "enable":
		p.Enable(name)
	default:
		p.message(w, http.StatusBadRequest, "Nothing was done", "Want do=sign-out, disable or enable.")
		return
	}
	http.Redirect(w, r, "/account?"+url.Values{"person": {name}, "done": {do}}.Encode(), http.StatusSeeOther)
}

// clientsOf are where a person is signed in: each client of each sign-in.
func (s *storage) clientsOf(person string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, in := range s.signIns {
		if !in.ended && in.person == person {
			ids = slices.AppendSeq(ids, maps.Keys(in.clients))
		}
	}
	slices.Sort(ids)
	return ids
}
