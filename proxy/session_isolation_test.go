package proxy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn/devidp"
)

// Promise 7, Q09, Q12: 200 people with a session each, on a few HTTP/2 connections and
// all at once. Every answer is of the person whose cookie was sent, and so is every
// record; cookies that differ in one character, share a beginning, or end early are
// nobody's.
func TestSessionsDoNotMix(t *testing.T) {
	const people, rounds = 200, 2
	var crowd []devidp.Person
	for n := range people {
		crowd = append(crowd, devidp.Person{Subject: fmt.Sprintf("person-%d", n), Email: fmt.Sprintf("%d@example.com", n), Groups: []string{"dev"}})
	}
	l := newLounge(t, crowd...)
	cookies := make([]string, people)
	for n := range people {
		cookies[n] = l.login(t, "app.gw.test", "/in", crowd[n].Subject)
	}
	client := l.client()
	defer client.CloseIdleConnections()
	once := func(path, cookie string) (int, []byte) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://app.gw.test"+path, nil)
		if err != nil {
			t.Error(err)
			return 0, nil
		}
		r.Header.Set("Cookie", cookie)
		res, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return 0, nil
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Error(err)
		}
		return res.StatusCode, body
	}
	ask := func(path, cookie string) (status int, body []byte) {
		for status = 503; status == 503; { // a busy machine's store is late
			status, body = once(path, cookie)
		}
		return status, body
	}
	var all sync.WaitGroup
	for n := range people {
		all.Go(func() {
			for i := range rounds {
				status, body := ask("/.vaultspan/whoami", cookies[n])
				var who struct{ Subject, Email string }
				if err := json.Unmarshal(body, &who); err != nil || status != 200 || who.Subject != crowd[n].Subject || who.Email != crowd[n].Email {
					t.Errorf("%s is told %d %s", crowd[n].Subject, status, body)
				}
				if status, _ := ask(fmt.Sprintf("/of/%s/%d", crowd[n].Subject, i), cookies[n]); status != 200 {
					t.Errorf("%s: %d", crowd[n].Subject, status)
				}
			}
			value := cookies[n]
			last := map[bool]string{true: "B", false: "A"}[strings.HasSuffix(value, "A")]
			next := cookies[(n+1)%people]
			name := len("__Host-vaultspan=")
			for _, near := range []string{value[:len(value)-1] + last, value[:name+20] + next[name+20:], value[:name+40]} {
				if status, body := ask("/.vaultspan/whoami", near); status != 401 {
					t.Errorf("a cookie like that of %s: %d %s", crowd[n].Subject, status, body)
				}
			}
		})
	}
	all.Wait()
	recorded := 0
	for _, e := range l.records(t) {
		if e.Kind != audit.KindIntent || !strings.HasPrefix(e.Path, "/of/") {
			continue
		}
		recorded++
		if !strings.HasPrefix(e.Path, "/of/"+e.Subject+"/") {
			t.Errorf("%s is recorded for %s", e.Path, e.Subject)
		}
	}
	if recorded != people*rounds {
		t.Errorf("%d uses are recorded, want %d", recorded, people*rounds)
	}
}
