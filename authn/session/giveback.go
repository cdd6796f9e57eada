package session

import (
	"context"
	"time"

	"github.com/vaultspan/vaultspan/authn"
)

// giveBackTime is for all the sessions that ended together.
const giveBackTime = 30 * time.Second

// giveBack tells the issuers that the refresh tokens of sessions are of no more
// use (RFC 7009): nobody waits for that, since the session is over whatever they
// answer. One token goes after the other, so that an operator who ends ten
// thousand sessions does not flood an issuer; those that are not done in time, or
// before Close, are left to expire there, unused.
func (m *Manager) giveBack(ctx context.Context, ended []Record) {
	var tokens []authn.Tokens
	for _, r := range ended {
		if t, err := m.open(r); err == nil && t.Refresh() != "" {
			tokens = append(tokens, t)
		}
	}
	if len(tokens) > 0 && m.begin() {
		go m.giveBackAll(context.WithoutCancel(ctx), tokens)
	}
}

func (m *Manager) giveBackAll(ctx context.Context, tokens []authn.Tokens) {
	defer m.behind.Done()
	ctx, cancel := context.WithTimeout(ctx, giveBackTime)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()
	failed := 0
	var last error
	for _, t := range tokens {
		client := m.client(t.Identity.Issuer)
		if client == nil {
			continue // nobody logs in there any more
		}
		if err := ctx.Err(); err != nil {
			failed, last = failed+1, err
		} else if err := client.Revoke(ctx, t); err != nil {
			failed, last = failed+1, err
		}
	}
	if failed > 0 {
		m.logger.WarnContext(ctx, "refresh tokens of sessions that ended could not be revoked at their issuer; they expire there", "sessions", failed, "of", len(tokens), "error", last.Error())
	}
}
