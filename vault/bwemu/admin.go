package bwemu

import (
	"encoding/json"
	"net/http"
)

// Admin returns a handler for what a test in another process does to the
// emulator. Requests and answers are JSON:
//
//	POST /rotate {"secret": NAME or ID, "value": V}
//	POST /rename {"secret": NAME or ID, "value": NEW NAME}
//	POST /delete {"secret": NAME or ID}
//	POST /revoke {"account": NAME}
//	POST /end-sessions {"account": NAME}
//	POST /fault  a Fault
//	POST /clear
//	GET  /stats  requests by endpoint
//
// It asks nobody who they are, so it must not share a port with the API.
func (e *Emulator) Admin() http.Handler {
	mux := http.NewServeMux()
	secret := func(pattern string, do func(s *Secret, value string)) {
		command(mux, pattern, func(in struct{ Secret, Value string }) bool {
			s := e.secret(in.Secret)
			if s != nil {
				do(s, in.Value)
			}
			return s != nil
		})
	}
	account := func(pattern string, do func(*Account)) {
		command(mux, pattern, func(in struct{ Account string }) bool {
			a := e.account(in.Account)
			if a != nil {
				do(a)
			}
			return a != nil
		})
	}
	secret("POST /rotate", (*Secret).Rotate)
	secret("POST /rename", (*Secret).Rename)
	secret("POST /delete", func(s *Secret, _ string) { s.Delete() })
	account("POST /revoke", (*Account).Revoke)
	account("POST /end-sessions", (*Account).EndSessions)
	command(mux, "POST /fault", func(f Fault) bool { e.Fault(f); return true })
	mux.HandleFunc("POST /clear", func(w http.ResponseWriter, _ *http.Request) {
		e.Clear()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(e.Stats())
	})
	return mux
}

// command serves pattern with do, which says whether what it was asked about
// exists.
func command[T any](mux *http.ServeMux, pattern string, do func(T) bool) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var in T
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
		decoder.DisallowUnknownFields()
		switch err := decoder.Decode(&in); {
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
		case !do(in):
			http.Error(w, "no such thing", http.StatusNotFound)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
}

// secret finds a secret by id, or the first by name.
func (e *Emulator) secret(ref string) *Secret {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.secrets[ref]; s != nil {
		return s
	}
	for _, o := range e.orgs {
		for _, s := range o.secrets {
			if s.fields[Name] == ref {
				return s
			}
		}
	}
	return nil
}

// account finds a machine account by name.
func (e *Emulator) account(name string) *Account {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.accounts {
		if a.name == name {
			return a
		}
	}
	return nil
}
