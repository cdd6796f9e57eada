package session_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vaultspan/vaultspan/authn/session"
)

func openStore(t testing.TB) *session.SQLite {
	t.Helper()
	s, err := session.OpenSQLite(context.Background(), filepath.Join(t.TempDir(), "sessions.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// record is a live session of somebody.
func record(issuer, subject, sid string) session.Record {
	r := session.Record{
		Handle: rand.Text(), Issuer: issuer, Subject: subject, SessionID: sid, Version: 1, Sealed: []byte("sealed"),
		Created: time.UnixMilli(1000), Used: time.UnixMilli(1000), Ends: time.UnixMilli(9000), Refresh: time.UnixMilli(2000),
	}
	rand.Read(r.Key[:])
	return r
}

// TestSQLite: the embedded store keeps the contract of a Store.
func TestSQLite(t *testing.T) {
	storeContract(t, func(t *testing.T) (one, other session.Store) {
		path := filepath.Join(t.TempDir(), "with space?#%.db")
		var both [2]session.Store
		for i := range both {
			s, err := session.OpenSQLite(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			both[i] = s
		}
		return both[0], both[1]
	})
}

// storeContract is what two nodes on one store may rely on.
func storeContract(t *testing.T, open func(t *testing.T) (one, other session.Store)) {
	at := time.UnixMilli
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("what one adds the other finds, whole", func(t *testing.T) {
		one, other := open(t)
		want := record("corp", "alice", "s1")
		must(t, one.Add(t.Context(), want))
		got, err := other.Find(t.Context(), want.Key)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("found %v, %v; want %v", got, err, want)
		}
		if _, err := other.Find(t.Context(), session.Key{1}); err == nil {
			t.Error("found a session that nobody added")
		}
		if err := other.Add(t.Context(), want); err == nil {
			t.Error("added a session twice")
		}
	})
	t.Run("use moves forward only", func(t *testing.T) {
		one, other := open(t)
		r := record("corp", "alice", "")
		must(t, one.Add(t.Context(), r))
		must(t, one.Touch(t.Context(), r.Key, at(5000)))
		must(t, other.Touch(t.Context(), r.Key, at(4000)))
		if got, err := one.Find(t.Context(), r.Key); err != nil || !got.Used.Equal(at(5000)) {
			t.Errorf("used %v, %v", got.Used, err)
		}
	})
	t.Run("one of many refreshes", func(t *testing.T) {
		one, other := open(t)
		r := record("corp", "alice", "")
		must(t, one.Add(t.Context(), r))
		var mu sync.Mutex
		var wait sync.WaitGroup
		leases := 0
		for i := range 20 {
			wait.Go(func() {
				s := []session.Store{one, other}[i%2]
				ok, err := s.Lease(context.Background(), r.Key, 1, at(2000), at(3000))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if ok {
					leases++
				}
			})
		}
		wait.Wait()
		if leases != 1 {
			t.Errorf("%d leases, want 1", leases)
		}
		if ok, err := other.Lease(t.Context(), r.Key, 1, at(3000), at(4000)); err != nil || !ok {
			t.Errorf("a lease that ran out is not to be had: %v %v", ok, err)
		}
		r.Refresh, r.Sealed, r.SessionID = at(4000), []byte("next"), "s2"
		if ok, err := other.Replace(t.Context(), r); err != nil || !ok {
			t.Errorf("the one with the lease cannot write: %v %v", ok, err)
		}
		if ok, err := one.Replace(t.Context(), r); err != nil || ok {
			t.Errorf("a version was written twice: %v %v", ok, err)
		}
		got, err := one.Find(t.Context(), r.Key)
		if err != nil || got.Version != 2 || !got.Lease.IsZero() || string(got.Sealed) != "next" || !got.Refresh.Equal(at(4000)) {
			t.Errorf("after the refresh: %+v %v", got, err)
		}
		if found, err := one.List(t.Context(), session.Filter{SessionID: "s2"}); err != nil || len(found) != 1 {
			t.Errorf("not to be found by its new sid: %v %v", found, err)
		}
	})
	t.Run("the ended ones are those that match, and stay ended", func(t *testing.T) {
		one, other := open(t)
		alice, alice2, carol, stranger := record("corp", "alice", "s1"), record("corp", "alice", "s2"), record("corp", "carol", "s3"), record("other", "alice", "s1")
		for _, r := range []session.Record{alice, alice2, carol, stranger} {
			must(t, one.Add(t.Context(), r))
		}
		ended, err := other.End(t.Context(), session.Filter{Issuer: "corp", SessionID: "s1"}, "why")
		if err != nil || len(ended) != 1 || ended[0].Key != alice.Key {
			t.Errorf("ended %v %v; want the one of s1 at corp", ended, err)
		}
		if ended, err = other.End(t.Context(), session.Filter{Issuer: "corp", Subject: "alice"}, "again"); err != nil || len(ended) != 1 || ended[0].Key != alice2.Key {
			t.Errorf("ended %v %v; want the other of alice at corp", ended, err)
		}
		got, err := one.Find(t.Context(), alice.Key)
		if err != nil || got.Ended != "why" || len(got.Sealed) != 0 {
			t.Errorf("an ended session: %+v %v; want why, and nothing of its tokens", got, err)
		}
		if ok, err := one.Lease(t.Context(), alice.Key, got.Version, at(2000), at(3000)); err != nil || ok {
			t.Errorf("an ended session is refreshed: %v %v", ok, err)
		}
		if ok, err := one.Replace(t.Context(), got); err != nil || ok {
			t.Errorf("an ended session came back: %v %v", ok, err)
		}
		left, err := one.List(t.Context(), session.Filter{})
		if err != nil || len(left) != 2 {
			t.Errorf("left %v %v; want carol, and alice of elsewhere", left, err)
		}
		if by, err := one.List(t.Context(), session.Filter{Handle: carol.Handle}); err != nil || len(by) != 1 {
			t.Errorf("by handle: %v %v", by, err)
		}
	})
	t.Run("once is once", func(t *testing.T) {
		one, other := open(t)
		k := session.Key{7}
		for i, s := range []session.Store{one, other, one} {
			if ok, err := s.Once(t.Context(), k, at(1000), at(601000)); err != nil || ok != (i == 0) {
				t.Errorf("%d: once %v %v, want %v", i, ok, err, i == 0)
			}
		}
	})
}

// TestSQLiteSweep: what is over is forgotten, and no earlier.
func TestSQLiteSweep(t *testing.T) {
	s := openStore(t)
	r := record("corp", "alice", "")
	if err := s.Add(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(t.Context(), time.UnixMilli(8999)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(t.Context(), r.Key); err != nil {
		t.Error("swept too early")
	}
	if err := s.Sweep(t.Context(), time.UnixMilli(9000)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(t.Context(), r.Key); err == nil {
		t.Error("not swept")
	}
}

// TestSQLiteFile: only its owner may read the file, and one of a later version is
// left alone.
func TestSQLiteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	s, err := session.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(t.Context(), record("corp", "alice", "")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v; want mode 0600", filepath.Base(name), info, err)
		}
	}
	s.Close()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := session.OpenSQLite(t.Context(), path); err == nil {
		t.Error("a file that others can read was opened")
	}
	missing := filepath.Join(t.TempDir(), "none", "sessions.db")
	if _, err := session.OpenSQLite(t.Context(), missing); err == nil || !strings.Contains(err.Error(), "the directory "+filepath.Dir(missing)+" must be there") {
		t.Errorf("no directory: %v", err)
	}
}
