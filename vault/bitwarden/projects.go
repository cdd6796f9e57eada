//go:build cgo

package bitwarden

import (
	"context"
	"errors"

	bitwarden "github.com/bitwarden/sdk-go"

	"github.com/vaultspan/vaultspan/vault"
)

// A named is a project's name as of a revision; it is empty when the name
// cannot be decrypted.
type named struct{ revised, name string }

// listProjects reads the names of all projects that the account sees, by id. It
// is the first request of every Fetch: renaming a project, or taking it away,
// does not show in a sync.
func (c *Client) listProjects(ctx context.Context) (map[string]string, *vault.SourceError) {
	list, seen, failure := read(ctx, c, func(sdk client) (*bitwarden.ProjectsResponse, error) {
		return sdk.Projects().List(c.plan.organization)
	})
	projects := make(map[string]string)
	switch {
	case failure == nil:
		for _, p := range list.Data {
			projects[p.ID] = p.Name
		}
		return projects, nil
	case !errors.Is(failure, errSDK), len(seen.projects) == 0:
		return nil, failure
	}
	// One name spoilt the list. Each is read on its own, once a revision.
	names := make(map[string]named)
	for _, row := range seen.projects {
		known, ok := c.names[row.ID]
		if !ok || known.revised != row.Revised {
			if known, failure = c.readProject(ctx, row); failure != nil {
				return nil, failure
			}
		}
		names[row.ID] = known
		if known.name != "" {
			projects[row.ID] = known.name
		}
	}
	c.names = names
	return projects, nil
}

func (c *Client) readProject(ctx context.Context, row project) (named, *vault.SourceError) {
	p, _, failure := read(ctx, c, func(sdk client) (*bitwarden.ProjectResponse, error) { return sdk.Projects().Get(row.ID) })
	switch {
	case failure == nil:
		return named{row.Revised, p.Name}, nil
	case ofContent(failure) || failure.Reason == vault.Forbidden:
		c.plan.Logger.Warn("a project's name cannot be read", "project", row.ID, "reason", failure.Err.Error())
		return named{revised: row.Revised}, nil
	}
	return named{}, failure
}
