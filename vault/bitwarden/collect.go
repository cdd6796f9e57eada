//go:build cgo

package bitwarden

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	bitwarden "github.com/bitwarden/sdk-go"

	"github.com/vaultspan/vaultspan/vault"
)

// maxValue caps a value, and a note.
const maxValue = 64 << 10

// batch is how many secrets one get-by-ids asks for.
const batch = 100

// listProjects reads the names of all projects that the account sees, by id.
func (c *Client) listProjects(ctx context.Context) (map[string]string, *vault.SourceError) {
	list, _, failure := read(ctx, c, func(sdk client) (*bitwarden.ProjectsResponse, error) {
		return sdk.Projects().List(c.organization)
	})
	if failure != nil {
		return nil, failure
	}
	projects := make(map[string]string)
	for _, p := range list.Data {
		projects[p.ID] = p.Name
	}
	return projects, nil
}

func sameProjects(a, b map[string]string) bool { return b != nil && maps.Equal(a, b) }

// sync asks for all secrets if anything moved since; rows are nil when nothing
// did. The zero time asks for all.
func (c *Client) sync(ctx context.Context, since time.Time) ([]bitwarden.SecretResponse, time.Time, *vault.SourceError) {
	var after *time.Time
	if !since.IsZero() {
		after = &since
	}
	reply, seen, failure := read(ctx, c, func(sdk client) (*bitwarden.SecretsSyncResponse, error) {
		return sdk.Secrets().Sync(c.organization, after)
	})
	switch {
	case failure != nil:
		return nil, time.Time{}, failure
	case !reply.HasChanges && after == nil:
		return nil, time.Time{}, unusable(errShape) // "unchanged" since nothing
	case !reply.HasChanges:
		return nil, seen.asOf, nil
	}
	return append([]bitwarden.SecretResponse{}, reply.Secrets...), seen.asOf, nil
}

// collect makes a Snapshot of all secrets.
func collect(projects map[string]string, asOf time.Time, rows []bitwarden.SecretResponse, want func(vault.Ref) bool) vault.Snapshot {
	snapshot := vault.Snapshot{Synced: asOf, Projects: projects}
	for _, row := range rows {
		ref := refOf(row)
		snapshot.Refs = append(snapshot.Refs, ref)
		if want(ref) {
			take(&snapshot, ref, row)
		}
	}
	return snapshot
}

func refOf(row bitwarden.SecretResponse) vault.Ref {
	ref := vault.Ref{ID: row.ID, Name: row.Key, Revised: row.RevisionDate}
	if row.ProjectID != nil {
		ref.Project = *row.ProjectID
	}
	return ref
}

// take puts the secret into the snapshot, or why not.
func take(snapshot *vault.Snapshot, ref vault.Ref, row bitwarden.SecretResponse) {
	if len(row.Value) > maxValue || len(row.Note) > maxValue {
		snapshot.Failed = append(snapshot.Failed, vault.Failure{Ref: ref, Err: fmt.Errorf("its value or note is larger than %d bytes", maxValue)})
		return
	}
	value := row.Value
	snapshot.Secrets = append(snapshot.Secrets, vault.Secret{Ref: ref, Note: row.Note, Reveal: func() string { return value }})
}

// fetchByID lists the secrets and reads the wanted ones by id, after a sync that
// one secret spoilt.
func (c *Client) fetchByID(ctx context.Context, projects map[string]string, want func(vault.Ref) bool) (vault.Snapshot, *vault.SourceError) {
	list, seen, failure := read(ctx, c, func(sdk client) (*bitwarden.SecretIdentifiersResponse, error) {
		return sdk.Secrets().List(c.organization)
	})
	if failure != nil && !errors.Is(failure, errSDK) {
		return vault.Snapshot{}, failure
	}
	names := make(map[string]string)
	if failure == nil {
		for _, s := range list.Data {
			names[s.ID] = s.Key
		}
	}
	snapshot := vault.Snapshot{Synced: seen.asOf, Projects: projects}
	reading := reading{found: make(map[string]bitwarden.SecretResponse), failed: make(map[string]error)}
	var refs []vault.Ref
	var ids []string
	for _, row := range seen.rows {
		ref := row.ref(names[row.ID])
		refs = append(refs, ref)
		// Without names, for one of them cannot be decrypted, what is wanted
		// shows only when it is read.
		if len(names) == 0 || want(ref) {
			ids = append(ids, row.ID)
		}
	}
	if failure := c.readAll(ctx, ids, reading); failure != nil {
		return vault.Snapshot{}, failure
	}
	for _, ref := range refs {
		row, found := reading.found[ref.ID]
		if found {
			ref = refOf(row)
		}
		snapshot.Refs = append(snapshot.Refs, ref)
		switch err := reading.failed[ref.ID]; {
		case found && want(ref):
			take(&snapshot, ref, row)
		case err != nil && want(ref):
			snapshot.Failed = append(snapshot.Failed, vault.Failure{Ref: ref, Err: err})
			c.Logger.Warn("a secret cannot be read", "secret", ref.ID, "reason", err.Error())
		}
	}
	return snapshot, nil
}

// ref names a secret of a list.
func (row secretRow) ref(name string) vault.Ref {
	ref := vault.Ref{ID: row.ID, Name: name}
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

// readAll reads many secrets with few requests, and those that failed the last
// time one by one.
func (c *Client) readAll(ctx context.Context, ids []string, into reading) *vault.SourceError {
	var sound []string
	for _, id := range ids {
		if _, suspect := c.suspects[id]; !suspect {
			sound = append(sound, id)
		} else if failure := c.readSome(ctx, []string{id}, into); failure != nil {
			return failure
		}
	}
	for some := range slices.Chunk(sound, batch) {
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
		for _, id := range ids {
			i := slices.IndexFunc(rows, func(row bitwarden.SecretResponse) bool { return row.ID == id })
			if i < 0 {
				into.failed[id] = errAbsent
				continue
			}
			into.found[id] = rows[i]
		}
		return nil
	case !ofContent(failure) && failure.Reason != vault.Forbidden:
		return failure
	case len(ids) == 1:
		into.failed[ids[0]] = failure.Err
		return nil
	}
	half := len(ids) / 2
	if failure := c.readSome(ctx, ids[:half], into); failure != nil {
		return failure
	}
	return c.readSome(ctx, ids[half:], into)
}

// errAbsent is why a secret is not there that an answer should hold.
var errAbsent = errors.New("the server did not answer with the secret that was asked for")

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
