package devidp

import (
	"cmp"
	"io"
	"net/http"
	"time"
)

// devClient is the client_id of tokens that no client asked for.
const devClient = "token-for"

// tokenFor is for commands to copy: it answers with nothing but the access token
// of anybody asked for. It exists only here, on loopback.
//
//	TOKEN=$(curl -s -X POST "$ISSUER/token-for?person=alice")
//	TOKEN=$(curl -s -X POST "$ISSUER/token-for?person=alice&agent=agent-1")
//	TOKEN=$(curl -s -X POST "$ISSUER/token-for?client=ci-deployer")
//	TOKEN=$(curl -s -X POST "$ISSUER/token-for?person=alice&age=24h")   # one that has expired
func (p *Provider) tokenFor(w http.ResponseWriter, r *http.Request) {
	// A web page could have its visitor's browser ask; the answer would stay
	// unreadable to it, but there is no reason to give one.
	if err := new(http.CrossOriginProtection).Check(r); err != nil {
		http.Error(w, "not for web pages of other origins", http.StatusForbidden)
		return
	}
	q := r.URL.Query()
	person, client, agent := q.Get("person"), q.Get("client"), q.Get("agent")
	g := grant{subject: person, client: devClient}
	_, known := p.people[person]
	switch {
	case person == "" && agent == "":
		_, known = p.clients[client]
		g = grant{subject: client, client: client}
	case agent != "":
		known = known && client == "" && p.actsFor(agent, person)
		g.client, g.actor = agent, map[string]any{"sub": agent}
	}
	if !known {
		http.Error(w, "want ?person=NAME, ?person=NAME&agent=CLIENT that acts for them, or ?client=ID", http.StatusNotFound)
		return
	}
	if p.storage.isDisabled(person) {
		http.Error(w, "this person was disabled", http.StatusForbidden)
		return
	}
	var err error
	if g.age, err = time.ParseDuration(cmp.Or(q.Get("age"), "0s")); err != nil || g.age < 0 {
		http.Error(w, "want age=DURATION, such as age=24h", http.StatusBadRequest)
		return
	}
	token, err := p.issue(g)
	if err != nil {
		http.Error(w, "signing failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	io.WriteString(w, token+"\n")
}
