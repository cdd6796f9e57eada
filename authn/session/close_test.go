package session_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/session"
)

// TestCloseWaitsForRefreshes: a refresh that its caller went away from is written
// before Close lets go of the store. The refresh token that the provider gave with
// it is the only one that it still takes. Nothing is refreshed after that.
func TestCloseWaitsForRefreshes(t *testing.T) {
	way := &wire{RoundTripper: http.DefaultTransport}
	p, g, b := start(t, options{transport: way})
	b.login(p, "/x", "alice")
	p.clock.advance(5 * time.Minute)
	asked, answer := make(chan bool), make(chan bool)
	way.cut(func(r *http.Request) error {
		if r.URL.Path == "/token" {
			asked <- true
			<-answer
		}
		return nil
	})
	impatient, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, _, err := g.Identify(impatient, b.fields())
		left <- err
	}()
	<-asked
	leave()
	if err := <-left; !isUnavailable(err) {
		t.Errorf("who went away during a refresh gets %v", err)
	}
	go close(answer)
	g.Close()
	way.mend()
	kept, err := g.store.List(t.Context(), session.Filter{})
	if err != nil || len(kept) != 1 {
		t.Fatal(len(kept), err)
	}
	if kept[0].Version != 2 {
		t.Error("the tokens of the refresh are lost")
	}
	if _, _, err := g.another(t).Identify(t.Context(), b.fields()); err != nil {
		t.Error("the next process:", err)
	}
	p.clock.advance(5 * time.Minute)
	if _, _, err := g.Identify(t.Context(), b.fields()); !isUnavailable(err) {
		t.Errorf("a refresh after Close: %v", err)
	}
	if n := p.count("refresh_token"); n != 1 {
		t.Errorf("%d refreshes arrived, want the one", n)
	}
}
func isUnavailable(err error) bool {
	refusal, ok := errors.AsType[*authn.Error](err)
	return ok && refusal.Reason == authn.Unavailable
}
