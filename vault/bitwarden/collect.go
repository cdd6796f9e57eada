//go:build cgo

package bitwarden

import (
	"context"
	"fmt"
	"time"

	bitwarden "github.com/bitwarden/sdk-go"

	"github.com/vaultspan/vaultspan/vault"
)

// maxValue caps a value, and a note.
const maxValue = 64 << 10

// sync asks for all secrets if anything moved since. The zero time asks for all.
func (c *Client) sync(ctx context.Context, since time.Time) (*bitwarden.SecretsSyncResponse, *call, *vault.SourceError) {
	var after *time.Time
	if !since.IsZero() {
		after = &since
	}
	reply, seen, failure := read(ctx, c, func(sdk client) (*bitwarden.SecretsSyncResponse, error) {
		return sdk.Secrets().Sync(c.plan.organization, after)
	})
	if failure == nil && !reply.HasChanges && after == nil {
		return nil, seen, unusable(errShape) // "unchanged" since nothing would be an empty vault
	}
	return reply, seen, failure
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
