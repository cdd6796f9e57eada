package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/vaultspan/vaultspan/authn/session"
)

// stumbling is a store that does as a test says.
type stumbling struct {
	session.Store
	mu   sync.Mutex
	find func(session.Record)                                    // after a record was read
	end  func([]session.Record, error) ([]session.Record, error) // of what it answers
}

func (s *stumbling) set(change func(*stumbling)) { s.mu.Lock(); defer s.mu.Unlock(); change(s) }

func (s *stumbling) Find(ctx context.Context, k session.Key) (session.Record, error) {
	r, err := s.Store.Find(ctx, k)
	s.mu.Lock()
	find := s.find
	s.mu.Unlock()
	if find != nil {
		find(r)
	}
	return r, err
}

func (s *stumbling) End(ctx context.Context, f session.Filter, why string) ([]session.Record, error) {
	s.mu.Lock()
	end := s.end
	s.mu.Unlock()
	if end == nil {
		return s.Store.End(ctx, f, why)
	}
	return end(nil, errors.New("the disk is gone"))
}

// TestALateReadRevivesNobody: a request that read a session before it was revoked,
// and comes to remember it after that, brings it back for nobody: what ends here is
// over here at once.
func TestALateReadRevivesNobody(t *testing.T) {
	store := &stumbling{Store: openStore(t)}
	p, g, b := start(t, options{store: store})
	b.login(p, "/x", "alice")
	p.clock.advance(believed)
	read, revoked := make(chan bool), make(chan bool)
	var once sync.Once
	store.set(func(s *stumbling) {
		s.find = func(session.Record) { once.Do(func() { close(read); <-revoked }) }
	})
	fields, late := b.fields(), make(chan error, 1)
	go func() {
		_, _, err := g.Identify(context.Background(), fields)
		late <- err
	}()
	<-read
	if n, err := g.Revoke(t.Context(), session.Filter{Subject: "alice"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	close(revoked)
	<-late // let in or not: it was there first
	if _, _, err := g.Identify(t.Context(), fields); err == nil {
		t.Error("a session that was revoked here is believed again")
	}
}

// TestAShortIdleIsNoLifetime: who uses a session keeps it, however short idle is.
func TestAShortIdleIsNoLifetime(t *testing.T) {
	p, _, b := start(t, options{config: session.Config{Idle: time.Minute}})
	b.login(p, "/x", "alice")
	for range 5 {
		p.clock.advance(40 * time.Second)
		b.reads("/x", "alice")
	}
	p.clock.advance(time.Minute)
	b.out("/x")
}

// TestALogoutThatFailedIsTriedAgain: a provider that was told 503 sends its logout
// token again, and is heard; who sends it once more is not (E30, FI10).
func TestALogoutThatFailedIsTriedAgain(t *testing.T) {
	store := &stumbling{Store: openStore(t)}
	p, _, b := start(t, options{store: store})
	b.login(p, "/x", "alice")
	form := url.Values{"logout_token": {p.logoutToken(nil, nil)}}
	store.set(func(s *stumbling) {
		s.end = func(r []session.Record, err error) ([]session.Record, error) { return r, err }
	})
	for i, want := range []int{503, 503, 200, 400} {
		if i == 2 {
			store.set(func(s *stumbling) { s.end = nil })
		}
		if got := b.do("POST", "/.vaultspan/backchannel-logout", form, nil); got.status != want {
			t.Errorf("delivery %d: %d, want %d", i+1, got.status, want)
		}
	}
	b.out("/x")
}

// TestALogoutTokenIsGoodOnceForAsLongAsItIsGood: with the widest clock_skew that is
// twelve minutes (E30, replay).
func TestALogoutTokenIsGoodOnceForAsLongAsItIsGood(t *testing.T) {
	p, _, b := start(t, options{skew: 5 * time.Minute})
	now := p.clock.now()
	form := url.Values{"logout_token": {p.logoutToken(map[string]any{"iat": now.Add(290 * time.Second).Unix(), "exp": now.Add(time.Hour).Unix()}, nil)}}
	if got := b.do("POST", "/.vaultspan/backchannel-logout", form, nil); got.status != 200 {
		t.Fatalf("the first: %d", got.status)
	}
	for range 13 {
		p.clock.advance(time.Minute)
		if got := b.do("POST", "/.vaultspan/backchannel-logout", form, nil); got.status != 400 {
			t.Fatalf("a replay: %d, want 400", got.status)
		}
	}
}

// TestANodeWhoseClockIsBehind takes the answer to a login that began on another.
func TestANodeWhoseClockIsBehind(t *testing.T) {
	p, g, b := start(t, options{})
	asked := b.begin("/x")
	g.setup.Now = func() time.Time { return p.clock.now().Add(-30 * time.Second) }
	g.Manager = g.another(t)
	if back := b.finish(p, asked, "alice"); back.status != 303 {
		t.Errorf("%d %s", back.status, back.body)
	}
}

// TestMadeUpCodes: who has a login under way has the provider asked about three
// codes and no more, whatever it answers, and however often the cookie is kept.
func TestMadeUpCodes(t *testing.T) {
	for name, fault := range map[string]http.HandlerFunc{
		"invalid_grant": nil,
		"an outage":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
	} {
		p, g, b := start(t, options{})
		asked := b.begin("/x")
		u, _ := url.Parse(g.url)
		kept := http.Header{}
		for _, c := range b.client.Jar.Cookies(u) {
			kept.Add("Cookie", c.Name+"="+c.Value)
		}
		b.client.Jar = nil
		count := 0
		p.set(func(p *provider) {
			p.fault = func(w http.ResponseWriter, r *http.Request) {
				count++
				if fault != nil {
					fault(w, r)
					return
				}
				writeJSON(w, 400, map[string]any{"error": "invalid_grant"})
			}
		})
		for i := range 10 {
			b.do("GET", fmt.Sprintf("/.vaultspan/callback?state=%s&code=%d", asked.Get("state"), i), nil, kept)
		}
		p.set(func(*provider) {
			if count != 3 {
				t.Errorf("%s: the provider was asked %d times", name, count)
			}
		})
	}
}

// TestWhatEndedIsSaidThoughTheRestFailed: sessions that a store ended before it
// failed are over here and on the record.
func TestWhatEndedIsSaidThoughTheRestFailed(t *testing.T) {
	store := &stumbling{Store: openStore(t)}
	p, g, b := start(t, options{store: store})
	b.login(p, "/x", "alice")
	all, err := store.List(t.Context(), session.Filter{})
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	store.set(func(s *stumbling) {
		s.end = func(_ []session.Record, err error) ([]session.Record, error) { return all, err }
	})
	if _, err := g.Revoke(t.Context(), session.Filter{Issuer: "corp"}); err == nil {
		t.Error("no error")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.ContainsFunc(g.changes, func(c session.Change) bool { return c.Handle == all[0].Handle && c.Why == session.WhyRevoked }) {
		t.Errorf("on record: %+v", g.changes)
	}
	if _, _, err := g.Identify(t.Context(), b.fields()); err == nil {
		t.Error("it is believed still")
	}
}

// cutting lets no pipeline through to Redis.
type cutting struct{ redis.Hook }

func (cutting) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (cutting) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (cutting) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { return errors.New("cut off") }
}

// TestRedisIsCutOffBetweenTwoWrites: a session that has a new name at its provider is
// either found by it or not refreshed.
func TestRedisIsCutOffBetweenTwoWrites(t *testing.T) {
	server := newRedisServer(t)
	whole, cut := server.open(), server.open()
	session.HookForTest(cut, cutting{})
	r := record("corp", "alice", "s1")
	r.Created, r.Used, r.Ends = time.Now(), time.Now(), time.Now().Add(time.Hour)
	if err := whole.Add(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.SessionID = "s2"
	if done, err := cut.Replace(t.Context(), r); done || err == nil {
		t.Errorf("%v %v", done, err)
	}
	for range 2 { // the second try, and what the first left behind
		if _, err := whole.Replace(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	if ended, err := whole.End(t.Context(), session.Filter{Issuer: "corp", SessionID: "s2"}, session.WhyBackChannel); len(ended) != 1 || err != nil {
		t.Errorf("by its new name: %v %v", ended, err)
	}
}

// TestALogoutWithTwoCookiesEndsBoth: whoever planted the other one, nobody who reads
// that they are signed out leaves a session behind.
func TestALogoutWithTwoCookiesEndsBoth(t *testing.T) {
	p, g, b := start(t, options{})
	b.login(p, "/x", "alice")
	other := newBrowser(t, g)
	other.login(p, "/x", "mallory")
	both := http.Header{"Cookie": {"__Host-vaultspan=" + b.cookie() + "; __host-vaultspan=" + other.cookie()}}
	stranger := newBrowser(t, g)
	if got := stranger.do("POST", "/.vaultspan/logout", url.Values{}, both); got.status != 303 || got.location() != "/.vaultspan/signed-out" {
		t.Errorf("%d to %q", got.status, got.location())
	}
	b.out("/x")
	other.out("/x")
}
