package session_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn/session"
)

// failing is a store that fails or stalls when a test says so.
type failing struct {
	session.Store
	mu   sync.Mutex
	find func(ctx context.Context) error
	add  func() error
}

func (f *failing) set(change func(*failing)) { f.mu.Lock(); defer f.mu.Unlock(); change(f) }

func (f *failing) Find(ctx context.Context, k session.Key) (session.Record, error) {
	f.mu.Lock()
	find := f.find
	f.mu.Unlock()
	if find != nil {
		if err := find(ctx); err != nil {
			return session.Record{}, err
		}
	}
	return f.Store.Find(ctx, k)
}

func (f *failing) Add(ctx context.Context, r session.Record) error {
	f.mu.Lock()
	add := f.add
	f.mu.Unlock()
	if add != nil {
		return add()
	}
	return f.Store.Add(ctx, r)
}

// TestStoreFails: a store that is down or does not answer in 250 ms is 503 and
// nobody is logged out by it (FS02); a login whose session cannot be written fails
// with a page (FS07).
func TestStoreFails(t *testing.T) {
	store := &failing{Store: openStore(t)}
	p, _, b := start(t, options{store: store})
	b.login(p, "/x", "alice")
	for name, fault := range map[string]func(context.Context) error{
		"down":      func(context.Context) error { return errors.New("connection refused") },
		"FS02 slow": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		store.set(func(f *failing) { f.find = fault })
		p.clock.advance(2 * time.Second)
		if got := b.api("/x"); got != 503 {
			t.Errorf("%s: %d, want 503", name, got)
		}
		store.set(func(f *failing) { f.find = nil })
		b.reads("/x", "alice")
	}
	store.set(func(f *failing) { f.add = func() error { return errors.New("disk full") } })
	other := newBrowser(t, b.gateway)
	if back := other.finish(p, other.begin("/x"), "carol"); back.status != 503 || other.cookie() != "" {
		t.Errorf("FS07 a login that cannot be written: %d, cookie %q", back.status, other.cookie())
	}
}

// altered is a store whose records a test changes as they are read.
type altered struct {
	session.Store
	change func(*session.Record)
}

func (a *altered) Find(ctx context.Context, k session.Key) (session.Record, error) {
	r, err := a.Store.Find(ctx, k)
	if err == nil && a.change != nil {
		a.change(&r)
	}
	return r, err
}

// TestForeignRecords: what somebody else wrote into the store, or moved about in
// it, is no session, and its person logs in again (FS09).
func TestForeignRecords(t *testing.T) {
	store := &altered{Store: openStore(t)}
	p, g, b := start(t, options{store: store})
	b.login(p, "/x", "alice")
	carol := newBrowser(t, g)
	carol.login(p, "/x", "carol")
	records, err := store.List(t.Context(), session.Filter{})
	if err != nil || len(records) != 2 {
		t.Fatal(records, err)
	}
	for name, change := range map[string]func(*session.Record){
		"nothing": func(r *session.Record) { r.Sealed = nil },
		"one bit": func(r *session.Record) { r.Sealed[20] ^= 1 },
		"the other's": func(r *session.Record) {
			r.Sealed = map[bool][]byte{true: records[0].Sealed, false: records[1].Sealed}[records[0].Key != r.Key]
		},
		"filed under a subject": func(r *session.Record) { r.Subject = "carol" },
		"given another hour":    func(r *session.Record) { r.Ends = r.Ends.Add(time.Hour) },
		"filed under an issuer": func(r *session.Record) { r.Issuer = "partner" },
	} {
		t.Run(name, func(t *testing.T) {
			store.change = change
			p.clock.advance(2 * time.Second)
			if got := b.api("/x"); got != 401 {
				t.Errorf("%d, want 401", got)
			}
			store.change = nil
			p.clock.advance(2 * time.Second)
			b.reads("/x", "alice")
		})
	}
}

// TestRecordsOfAnotherVersion: a session that was sealed by another version of this
// program is no session, on pages and for programs; to log in again is all there is
// to do, and ends it (FS09).
func TestRecordsOfAnotherVersion(t *testing.T) {
	for _, version := range []int{0, 2} {
		store := &altered{Store: openStore(t)}
		p, g, b := start(t, options{store: store})
		b.login(p, "/x", "alice")
		old := b.cookie()
		store.change = func(r *session.Record) {
			if altered, err := session.OfVersion(g.Manager, *r, version); err == nil {
				*r = altered
			}
		}
		p.clock.advance(believed)
		if got := b.api("/x"); got != 401 {
			t.Errorf("version %d: %d, want 401", version, got)
		}
		back := b.finish(p, b.begin("/x"), "alice")
		store.change = nil
		if back.status != 303 || b.cookie() == old {
			t.Errorf("version %d: to log in again: %d", version, back.status)
		}
		b.reads("/x", "alice")
		if _, _, err := g.Identify(t.Context(), []string{"__Host-vaultspan=" + old}); err == nil {
			t.Errorf("version %d: the session before the login lives on", version)
		}
	}
}

// TestALayoutOfTomorrow: a file that a newer version of this program made is left
// alone (FS09).
func TestALayoutOfTomorrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	store, err := session.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "PRAGMA user_version = 2"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := session.OpenSQLite(t.Context(), path); err == nil || !strings.Contains(err.Error(), "newer vaultspan") {
		t.Errorf("opened: %v", err)
	}
}
