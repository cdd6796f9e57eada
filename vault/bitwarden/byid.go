//go:build cgo

package bitwarden

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	bitwarden "github.com/bitwarden/sdk-go"

	"github.com/vaultspan/vaultspan/vault"
)

// batch is how many secrets one get-by-ids asks the server for.
const batch = 100

// A listing is the secrets that the account sees, without values.
type listing struct {
	rows  []secretRow
	names map[string]string // by id; empty when one name spoilt all
	asOf  time.Time
}

// fetchByID brings what it can, secret by secret, after a sync that failed for
// what it holds. When the sync arrived but a ciphertext in it cannot be
// decrypted, its rows are read again from memory; when it was too large, the
// secrets are listed and the wanted ones asked for.
func (c *Client) fetchByID(ctx context.Context, sync *call, projects map[string]string, want func(vault.Ref) bool) (vault.Snapshot, *vault.SourceError) {
	defer func() { c.held = nil }()
	all := listing{rows: sync.secrets, names: make(map[string]string), asOf: sync.asOf}
	if len(all.rows) > 0 {
		c.held = make(map[string]secretRow)
		for _, row := range all.rows {
			c.held[row.ID] = row
		}
	} else {
		names, seen, failure := c.list(ctx)
		if failure != nil && (!errors.Is(failure, errSDK) || len(seen.secrets) == 0) {
			return vault.Snapshot{}, failure
		}
		all = listing{rows: seen.secrets, names: names, asOf: seen.asOf}
	}
	var ids []string
	for _, row := range all.rows {
		// Without names, what is wanted shows only when it is read.
		if len(all.names) == 0 || want(all.ref(row)) {
			ids = append(ids, row.ID)
		}
	}
	reading := reading{found: make(map[string]bitwarden.SecretResponse), failed: make(map[string]error)}
	if failure := c.readAll(ctx, ids, reading); failure != nil {
		return vault.Snapshot{}, failure
	}
	clear(c.suspects)
	for id := range reading.failed {
		c.suspects[id] = struct{}{}
	}
	for _, row := range all.rows {
		if reading.failed[row.ID] != nil && all.names[row.ID] == "" {
			c.held = map[string]secretRow{row.ID: row} // its name alone may be sound
			if name, _, failure := c.list(ctx); failure == nil {
				maps.Copy(all.names, name)
			}
		}
	}
	return reading.snapshot(all, projects, want), nil
}

// snapshot puts together what was read.
func (r reading) snapshot(all listing, projects map[string]string, want func(vault.Ref) bool) vault.Snapshot {
	snapshot := vault.Snapshot{Synced: all.asOf, Projects: projects}
	for _, row := range all.rows {
		err := r.failed[row.ID]
		if errors.Is(err, errGone) {
			continue
		}
		ref := all.ref(row)
		whole, found := r.found[row.ID]
		if found {
			ref = refOf(whole)
		}
		snapshot.Refs = append(snapshot.Refs, ref)
		switch {
		case found && want(ref):
			take(&snapshot, ref, whole)
		case err != nil && (ref.Name == "" || want(ref)): // one without a name may be wanted
			snapshot.Failed = append(snapshot.Failed, vault.Failure{Ref: ref, Err: err})
		}
	}
	return snapshot
}

// list reads the names of all secrets, by id.
func (c *Client) list(ctx context.Context) (map[string]string, *call, *vault.SourceError) {
	list, seen, failure := read(ctx, c, func(sdk client) (*bitwarden.SecretIdentifiersResponse, error) {
		return sdk.Secrets().List(c.plan.organization)
	})
	names := make(map[string]string)
	if failure == nil {
		for _, s := range list.Data {
			names[s.ID] = s.Key
		}
	}
	return names, seen, failure
}

// ref names a secret of the listing.
func (l listing) ref(row secretRow) vault.Ref {
	ref := vault.Ref{ID: row.ID, Name: l.names[row.ID]}
	if len(row.Projects) > 0 {
		ref.Project = row.Projects[0].ID
	}
	if t, err := time.Parse(time.RFC3339Nano, row.Revised); err == nil {
		ref.Revised = t
	}
	return ref
}

// A reading is what became of secrets that were read by id.
type reading struct {
	found  map[string]bitwarden.SecretResponse
	failed map[string]error
}

// errGone is the failure of a secret that was listed, and when it was read was
// no longer there for this account: it is left out, as if it had not been listed.
var errGone = errors.New("gone")

// readAll reads many secrets with few requests. Those that failed the last time
// are asked for one by one.
func (c *Client) readAll(ctx context.Context, ids []string, into reading) *vault.SourceError {
	size := batch
	if c.held != nil {
		size = max(1, len(ids)) // asks no server
	}
	suspect := func(id string) bool { _, ok := c.suspects[id]; return ok }
	for _, id := range ids {
		if suspect(id) {
			if failure := c.readSome(ctx, []string{id}, into); failure != nil {
				return failure
			}
		}
	}
	for some := range slices.Chunk(slices.DeleteFunc(ids, suspect), size) {
		if failure := c.readSome(ctx, some, into); failure != nil {
			return failure
		}
	}
	return nil
}

// readSome reads secrets by id. get-by-ids is all or nothing, so when it fails
// for what it holds, each half is read on its own, until the bad one is alone.
func (c *Client) readSome(ctx context.Context, ids []string, into reading) *vault.SourceError {
	rows, failure := c.readMany(ctx, ids)
	switch {
	case failure == nil:
		for _, row := range rows {
			into.found[row.ID] = row
		}
		for _, id := range ids {
			if _, ok := into.found[id]; !ok {
				into.failed[id] = errAbsent
			}
		}
		return nil
	case !ofContent(failure) && failure.Reason != vault.Forbidden:
		return failure
	case len(ids) == 1:
		into.failed[ids[0]] = failure.Err
		if failure.Reason == vault.Forbidden {
			into.failed[ids[0]] = errGone
		}
		c.suspects[ids[0]] = struct{}{} // also when this Fetch comes to nothing: the next gets further
		return nil
	}
	half := len(ids) / 2
	if failure := c.readSome(ctx, ids[:half], into); failure != nil {
		return failure
	}
	return c.readSome(ctx, ids[half:], into)
}

// readOne reads one secret by itself.
func (c *Client) readOne(ctx context.Context, id string) (vault.Secret, *vault.SourceError) {
	rows, failure := c.readMany(ctx, []string{id})
	if failure != nil {
		return vault.Secret{}, failure
	}
	var snapshot vault.Snapshot
	take(&snapshot, refOf(rows[0]), rows[0])
	if len(snapshot.Secrets) == 0 {
		return vault.Secret{}, &vault.SourceError{Reason: vault.Unusable, Status: http.StatusOK, Err: snapshot.Failed[0].Err}
	}
	return snapshot.Secrets[0], nil
}

// readMany is one request for the secrets.
func (c *Client) readMany(ctx context.Context, ids []string) ([]bitwarden.SecretResponse, *vault.SourceError) {
	if len(ids) == 1 {
		row, _, failure := read(ctx, c, func(sdk client) (*bitwarden.SecretResponse, error) { return sdk.Secrets().Get(ids[0]) })
		if failure != nil {
			return nil, failure
		}
		return []bitwarden.SecretResponse{*row}, nil
	}
	list, _, failure := read(ctx, c, func(sdk client) (*bitwarden.SecretsResponse, error) { return sdk.Secrets().GetByIDS(ids) })
	if failure != nil {
		return nil, failure
	}
	return list.Data, nil
}
