// Command assertion is an upstream that knows who is calling: it trusts the
// gateway's keys and its name, fetched and written down here, and nothing else on
// a request. What does not prove itself it refuses.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"time"
)

const (
	gateway = "http://127.0.0.1:8443" // as url in vaultspan.yaml
	route   = "wiki"                  // as its name there
	address = "127.0.0.1:7731"
)

func main() {
	fmt.Println("the wiki is on", address)
	log.Fatal(http.ListenAndServe(address, wiki(newVerifier(context.Background(), gateway, route, time.Now))))
}

// wiki greets its readers.
func wiki(v verifier) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c, err := v.caller(r)
		if err != nil {
			http.Error(w, "401 "+err.Error(), http.StatusUnauthorized)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"reader": c.Subject, "email": c.Email, "groups": c.Groups, "roles": c.Roles})
	})
	// What an older program does. It has to be out of reach of everybody but the
	// gateway: whoever sends it a request is whom that names.
	mux.HandleFunc("/old/", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"user": r.Header.Get("Remote-User"), "groups": r.Header.Get("Remote-Groups")})
	})
	return mux
}
