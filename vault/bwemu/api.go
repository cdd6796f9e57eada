package bwemu

import (
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An Endpoint is one of the requests that a machine account makes.
type Endpoint string

// The endpoints, for Fault and Count.
const (
	Token       Endpoint = "token"      // POST /identity/connect/token
	Projects    Endpoint = "projects"   // GET /api/organizations/{org}/projects
	ReadProject Endpoint = "project"    // GET /api/projects/{id}
	List        Endpoint = "list"       // GET /api/organizations/{org}/secrets
	Sync        Endpoint = "sync"       // GET /api/organizations/{org}/secrets/sync
	Read        Endpoint = "read"       // GET /api/secrets/{id}
	ReadMany    Endpoint = "get-by-ids" // POST /api/secrets/get-by-ids
)

// A reply is what an endpoint says when no fault changes it.
type reply struct {
	status int
	body   any
}

// notFound is the answer for what does not exist and for what the account may
// not read alike.
var notFound = reply{http.StatusNotFound, map[string]any{"object": "error", "message": "Resource not found."}}

func (e *Emulator) routes() {
	e.handle("POST /identity/connect/token", Token, func(r *http.Request) reply {
		account := e.accounts[r.PostFormValue("client_id")]
		if account == nil || account.revoked || account.secret != r.PostFormValue("client_secret") ||
			r.PostFormValue("grant_type") != "client_credentials" || r.PostFormValue("scope") != "api.secrets" {
			return reply{http.StatusBadRequest, map[string]any{"error": "invalid_client"}}
		}
		return reply{http.StatusOK, account.login()}
	})
	e.handle("GET /api/organizations/{org}/projects", Projects, e.authenticated(e.projects))
	e.handle("GET /api/projects/{id}", ReadProject, e.authenticated(e.project))
	e.handle("GET /api/organizations/{org}/secrets", List, e.authenticated(e.list))
	e.handle("GET /api/organizations/{org}/secrets/sync", Sync, e.authenticated(e.sync))
	e.handle("GET /api/secrets/{id}", Read, e.authenticated(e.read))
	e.handle("POST /api/secrets/get-by-ids", ReadMany, e.authenticated(e.readMany))
}

// handle counts requests and lets a fault strike, around answer, which runs
// with the lock held.
func (e *Emulator) handle(pattern string, endpoint Endpoint, answer func(*http.Request) reply) {
	e.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20)) // also lets the server notice a caller that leaves
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		e.mu.Lock()
		e.counts[endpoint]++
		fault := e.pick(endpoint, r.PathValue("id"), string(body))
		w.Header().Set("Date", e.now().Format(http.TimeFormat))
		e.mu.Unlock()
		if fault.before(w, r) {
			return
		}
		e.mu.Lock()
		answered := answer(r)
		e.mu.Unlock()
		text, err := json.Marshal(answered.body)
		if err != nil {
			panic("bwemu: " + err.Error()) // only maps, strings, numbers and times
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		fault.write(w, answered.status, text)
	})
}

// authenticated finds the account of the bearer token, and for requests that
// name an organization demands that it is the account's.
func (e *Emulator) authenticated(answer func(*Account, *http.Request) reply) func(*http.Request) reply {
	return func(r *http.Request) reply {
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		s, ok := e.sessions[bearer]
		if !ok || !e.now().Before(s.expires) {
			return reply{http.StatusUnauthorized, nil}
		}
		if org := r.PathValue("org"); org != "" && org != s.account.org.ID {
			return notFound
		}
		return answer(s.account, r)
	}
}

func (e *Emulator) projects(a *Account, _ *http.Request) reply {
	data := []any{}
	for _, p := range a.org.projects {
		if slices.Contains(*a.reads, p) {
			data = append(data, p.row())
		}
	}
	return reply{http.StatusOK, map[string]any{"object": "list", "data": data, "continuationToken": nil}}
}

func (e *Emulator) project(a *Account, r *http.Request) reply {
	for _, p := range *a.reads {
		if p.ID == r.PathValue("id") && slices.Contains(a.org.projects, p) {
			return reply{http.StatusOK, p.row()}
		}
	}
	return notFound
}

// row is a project as the API shows it.
func (p *Project) row() map[string]any {
	return map[string]any{
		"object": "project", "id": p.ID, "organizationId": p.org.ID, "name": p.sealed(),
		"creationDate": p.created, "revisionDate": p.revised, "read": true, "write": false,
	}
}

// sealed encrypts the project's name for the wire.
func (p *Project) sealed() string {
	text := p.org.key.seal([]byte(p.name))
	if p.corrupt {
		return flip(text)
	}
	return text
}

func (e *Emulator) list(a *Account, _ *http.Request) reply {
	secrets := []any{}
	for _, s := range a.org.secrets {
		if a.sees(s) {
			row := s.row()
			delete(row, "value")
			delete(row, "note")
			secrets = append(secrets, row)
		}
	}
	return reply{http.StatusOK, map[string]any{"object": "SecretsWithProjectsList", "secrets": secrets, "projects": []any{}}}
}

func (e *Emulator) sync(a *Account, r *http.Request) reply {
	if text := r.URL.Query().Get("lastSyncedDate"); text != "" {
		since, err := time.Parse(time.RFC3339Nano, text)
		if err != nil || since.After(e.now()) {
			return reply{http.StatusBadRequest, map[string]any{"message": "Last synced date must be in the past."}}
		}
		if !a.org.moved.After(since) {
			return reply{http.StatusOK, map[string]any{"object": "secretsSync", "hasChanges": false, "secrets": nil}}
		}
	}
	return reply{http.StatusOK, map[string]any{"object": "secretsSync", "hasChanges": true, "secrets": map[string]any{
		"object": "list", "data": rows(a, slices.Values(a.org.secrets)), "continuationToken": nil}}}
}

func (e *Emulator) read(a *Account, r *http.Request) reply {
	s := e.secrets[r.PathValue("id")]
	if s == nil || !a.sees(s) {
		return notFound
	}
	return reply{http.StatusOK, s.row()}
}

func (e *Emulator) readMany(a *Account, r *http.Request) reply {
	var request struct {
		IDs []string `json:"ids"`
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return reply{http.StatusBadRequest, nil}
	}
	var found []*Secret
	for _, id := range request.IDs {
		s := e.secrets[id]
		if s == nil || !a.sees(s) {
			return notFound // all or nothing
		}
		found = append(found, s)
	}
	return reply{http.StatusOK, map[string]any{"object": "list", "data": rows(a, slices.Values(found)), "continuationToken": nil}}
}

// rows lists what of the secrets the account sees.
func rows(a *Account, secrets iter.Seq[*Secret]) []any {
	list := []any{}
	for s := range secrets {
		if a.sees(s) {
			list = append(list, s.row())
		}
	}
	return list
}

// row is a secret as the API shows it.
func (s *Secret) row() map[string]any {
	projects := []any{}
	for _, p := range s.projects {
		projects = append(projects, map[string]any{"id": p.ID, "name": p.sealed()})
	}
	return map[string]any{
		"object": "secret", "id": s.ID, "organizationId": s.org.ID,
		"key": s.sealed(Name), "value": s.sealed(Value), "note": s.sealed(Note),
		"creationDate": s.created, "revisionDate": s.revised,
		"projects": projects, "read": true, "write": false,
	}
}
