package session

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver, in C, like the Bitwarden SDK beside it
)

// SQLite is a Store in one file, for one machine. Several processes may use it.
type SQLite struct {
	db   *sql.DB // a commit is on the disk
	lazy *sql.DB // a commit may be lost with the machine: for Touch
}

// layout is of version 1, which the file says in user_version. Times are
// milliseconds since 1970, 0 for none.
const layout = `
CREATE TABLE session (
	key     BLOB PRIMARY KEY,
	handle  TEXT NOT NULL UNIQUE,
	issuer  TEXT NOT NULL,
	subject TEXT NOT NULL,
	sid     TEXT NOT NULL,
	created INTEGER NOT NULL,
	used    INTEGER NOT NULL,
	ends    INTEGER NOT NULL,
	refresh INTEGER NOT NULL,
	lease   INTEGER NOT NULL,
	version INTEGER NOT NULL,
	ended   TEXT NOT NULL,
	sealed  BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_subject ON session (issuer, subject);
CREATE INDEX session_sid ON session (issuer, sid);
CREATE INDEX session_ends ON session (ends);
CREATE TABLE once (key BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;`

const columns = `key, handle, issuer, subject, sid, created, used, ends, refresh, lease, version, ended, sealed`

// OpenSQLite opens the file, and makes it if it is not there. Only the user of
// this process may read it.
func OpenSQLite(ctx context.Context, path string) (*SQLite, error) {
	fail := func(err error) (*SQLite, error) {
		return nil, fmt.Errorf("sessions in %s: %w", filepath.Base(path), err)
	}
	// SQLite gives the files it puts beside this one the same mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(fmt.Errorf("the directory %s must be there: make it (mode 0700), or choose another in sessions.sqlite", filepath.Dir(path)))
	case errors.Is(err, fs.ErrPermission):
		return fail(fmt.Errorf("the user of this process must be able to write it and beside it in %s: %w", filepath.Dir(path), fs.ErrPermission))
	case err != nil:
		return fail(err)
	}
	if info, err := f.Stat(); err == nil && info.Mode().Perm()&0o077 != 0 {
		f.Close()
		return fail(errors.New("others can read it: chmod 600"))
	}
	if err := f.Close(); err != nil {
		return fail(err)
	}
	open := func(synchronous string) (*sql.DB, error) {
		u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{
			"_journal_mode": {"WAL"}, "_busy_timeout": {"200"}, "_txlock": {"immediate"}, "_synchronous": {synchronous},
		}.Encode()}
		return sql.Open("sqlite3", u.String())
	}
	s := &SQLite{}
	if s.db, err = open("FULL"); err != nil {
		return fail(err)
	}
	if s.lazy, err = open("NORMAL"); err != nil {
		return fail(errors.Join(err, s.db.Close()))
	}
	s.db.SetMaxOpenConns(8)
	s.db.SetMaxIdleConns(8)
	s.lazy.SetMaxOpenConns(1)
	if err := s.migrate(ctx); err != nil {
		return fail(errors.Join(err, s.Close()))
	}
	return s, nil
}

// migrate makes the layout, once.
func (s *SQLite) migrate(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var version int
	if err := tx.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	switch version {
	case 0:
		if _, err := tx.ExecContext(ctx, layout); err != nil {
			return err
		}
		return tx.Commit()
	case 1:
		return nil
	}
	return fmt.Errorf("a newer vaultspan made it (layout %d): use that, or another file", version)
}

// Close implements Store.
func (s *SQLite) Close() error { return errors.Join(s.db.Close(), s.lazy.Close()) }

// Add implements Store.
func (s *SQLite) Add(ctx context.Context, r Record) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO session (`+columns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.Key[:], r.Handle, r.Issuer, r.Subject, r.SessionID, millis(r.Created), millis(r.Used), millis(r.Ends),
		millis(r.Refresh), millis(r.Lease), r.Version, r.Ended, r.Sealed)
	return err
}

// Find implements Store.
func (s *SQLite) Find(ctx context.Context, k Key) (Record, error) {
	r, err := scan(s.db.QueryRowContext(ctx, `SELECT `+columns+` FROM session WHERE key = ?`, k[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return Record{}, errUnknown
	}
	return r, err
}

// Touch implements Store.
func (s *SQLite) Touch(ctx context.Context, k Key, used time.Time) error {
	_, err := s.lazy.ExecContext(ctx, `UPDATE session SET used = max(used, ?) WHERE key = ?`, millis(used), k[:])
	return err
}

// Lease implements Store.
func (s *SQLite) Lease(ctx context.Context, k Key, version int64, now, until time.Time) (bool, error) {
	return changed(s.db.ExecContext(ctx,
		`UPDATE session SET lease = ? WHERE key = ? AND version = ? AND ended = '' AND lease <= ?`,
		millis(until), k[:], version, millis(now)))
}

// Replace implements Store.
func (s *SQLite) Replace(ctx context.Context, r Record) (bool, error) {
	return changed(s.db.ExecContext(ctx,
		`UPDATE session SET refresh = ?, sealed = ?, sid = ?, lease = 0, version = version + 1 WHERE key = ? AND version = ? AND ended = ''`,
		millis(r.Refresh), r.Sealed, r.SessionID, r.Key[:], r.Version))
}

// End implements Store.
func (s *SQLite) End(ctx context.Context, f Filter, why string) ([]Record, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	where, args := f.where()
	ended, err := list(tx.QueryContext(ctx, `SELECT `+columns+` FROM session WHERE `+where, args...))
	if err != nil || len(ended) == 0 {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE session SET ended = ?, sealed = x'', version = version + 1 WHERE `+where, append([]any{why}, args...)...); err != nil {
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	return ended, nil
}

// List implements Store.
func (s *SQLite) List(ctx context.Context, f Filter) ([]Record, error) {
	where, args := f.where()
	return list(s.db.QueryContext(ctx, `SELECT `+columns+` FROM session WHERE `+where+` ORDER BY created DESC, handle`, args...))
}

// Once implements Store.
func (s *SQLite) Once(ctx context.Context, k Key, now, until time.Time) (bool, error) {
	return changed(s.db.ExecContext(ctx,
		`INSERT INTO once (key, until) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE once.until <= ?`,
		k[:], millis(until), millis(now)))
}

// Forget implements Store.
func (s *SQLite) Forget(ctx context.Context, k Key) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM once WHERE key = ?`, k[:])
	return err
}

// Sweep implements Store.
func (s *SQLite) Sweep(ctx context.Context, now time.Time) error {
	_, err := s.lazy.ExecContext(ctx, `DELETE FROM session WHERE ends <= ?`, millis(now))
	if err == nil {
		_, err = s.lazy.ExecContext(ctx, `DELETE FROM once WHERE until <= ?`, millis(now))
	}
	return err
}

// where is the filter as a condition.
func (f Filter) where() (string, []any) {
	terms, args := []string{"ended = ''"}, []any{}
	for _, term := range []struct{ column, value string }{
		{"handle", f.Handle}, {"issuer", f.Issuer}, {"subject", f.Subject}, {"sid", f.SessionID},
	} {
		if term.value != "" {
			terms, args = append(terms, term.column+" = ?"), append(args, term.value)
		}
	}
	return strings.Join(terms, " AND "), args
}

func changed(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

func list(rows *sql.Rows, err error) ([]Record, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Record
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

func scan(row interface{ Scan(...any) error }) (Record, error) {
	var r Record
	var key []byte
	var created, used, ends, refresh, lease int64
	err := row.Scan(&key, &r.Handle, &r.Issuer, &r.Subject, &r.SessionID, &created, &used, &ends, &refresh, &lease, &r.Version, &r.Ended, &r.Sealed)
	if err != nil {
		return Record{}, err
	}
	if copy(r.Key[:], key) != len(r.Key) {
		return Record{}, errors.New("a session with a broken key")
	}
	r.Created, r.Used, r.Ends, r.Refresh, r.Lease = moment(created), moment(used), moment(ends), moment(refresh), moment(lease)
	return r, nil
}

// millis and moment are how a store writes times.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
