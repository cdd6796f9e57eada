package session

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/codes"

	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/telemetry/attr"
)

const (
	leaseLife = 15 * time.Second // longer than a refresh takes
	postpone  = 30 * time.Second // after an issuer could not be asked
	waitOther = 5 * time.Second  // for another node's refresh
	lookAgain = 200 * time.Millisecond
)

// due says whether the issuer is to be asked about a session.
func (m *Manager) due(l *live) bool {
	return !l.Refresh.IsZero() && !m.now().Before(l.Refresh)
}

// renew asks the issuer about a session, once for all requests that wait, here
// and on other nodes.
func (m *Manager) renew(ctx context.Context, l *live) (*live, error) {
	// A caller who goes away does not take the refresh with it: others wait, and
	// a rotating token that was used must be followed by its successor.
	flight := m.flights.DoChan(string(l.Key[:]), func() (any, error) {
		if !m.begin() {
			return nil, refuse(authn.Unavailable, "the gateway is about to end")
		}
		defer m.behind.Done()
		return m.renewOnce(context.WithoutCancel(ctx), l.Key)
	})
	select {
	case result := <-flight:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*live), nil
	case <-ctx.Done():
		return nil, refuse(authn.Unavailable, "the caller went away during a refresh")
	}
}

// renewOnce is renew for the one who does it.
func (m *Manager) renewOnce(ctx context.Context, key Key) (*live, error) {
	l, err := m.fresh(ctx, key)
	if err != nil || !m.due(l) {
		return l, err
	}
	now := m.now()
	within, cancel := context.WithTimeout(ctx, 4*budget)
	leased, err := m.store.Lease(within, key, l.Version, now, now.Add(leaseLife))
	cancel()
	switch {
	case err != nil:
		return nil, unreadable(err)
	case !leased:
		return m.await(ctx, l)
	}
	tokens, err := m.ask(ctx, l)
	refusal, refused := errors.AsType[*authn.Error](err)
	switch {
	case err == nil:
		return m.replace(ctx, l, tokens, m.nextRefresh(tokens))
	case refused && refusal.Reason == authn.Unavailable:
		m.logger.WarnContext(ctx, "a session could not be refreshed", "session", l.Handle, "issuer", l.Issuer, "error", err.Error())
		kept := l.tokens
		if tokens.Refresh != nil { // the one before is used up
			kept.Refresh = tokens.Refresh
		}
		return m.replace(ctx, l, kept, now.Add(postpone))
	}
	// The provider did not go on with it, or answered for somebody else.
	m.logger.InfoContext(ctx, "a refresh was refused", "session", l.Handle, "issuer", l.Issuer, "interrupted", !l.Lease.IsZero(), "error", err.Error())
	if _, err := m.end(ctx, Filter{Handle: l.Handle}, WhyRefused); err != nil {
		return nil, err
	}
	return nil, refuse(authn.Revoked, "the session has ended: "+WhyRefused)
}

// fresh reads a session past this node's memory.
func (m *Manager) fresh(ctx context.Context, key Key) (*live, error) {
	l, err := m.read(ctx, key)
	if err == nil && l.Ended != "" {
		return nil, refuse(authn.Revoked, "the session has ended: "+l.Ended)
	}
	return l, err
}

// ask asks the issuer.
func (m *Manager) ask(ctx context.Context, l *live) (authn.Tokens, error) {
	client := m.client(l.Issuer)
	if client == nil {
		return authn.Tokens{}, refuse(authn.Refused, "nobody logs in at this issuer any more")
	}
	ctx, span := span(ctx, attr.SpanRefresh, l.Issuer)
	defer span.End()
	t, err := client.Refresh(ctx, l.tokens)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	m.meter.refresh(ctx, l.Issuer, outcome(err))
	return t, err
}

// replace writes what the issuer answered. The token that was used is worth
// nothing any more, so a store that stumbles is asked again.
func (m *Manager) replace(ctx context.Context, l *live, t authn.Tokens, due time.Time) (*live, error) {
	next := &live{Record: l.Record, tokens: t}
	next.Refresh, next.SessionID = due, t.SessionID
	var err error
	if next.Sealed, err = m.sealed(next.Record, t); err != nil {
		return nil, unreadable(err)
	}
	for try := range 3 {
		var done bool
		within, cancel := context.WithTimeout(ctx, 4*budget)
		done, err = m.store.Replace(within, next.Record)
		cancel()
		if err == nil && !done { // it ended meanwhile, or our lease had
			now, err := m.fresh(ctx, l.Key)
			if refusal, is := errors.AsType[*authn.Error](err); is && refusal.Reason == authn.Revoked {
				m.giveBack(ctx, []Record{next.Record}) // nobody else knows these tokens
			}
			return now, err
		}
		if err == nil {
			next.Version++
			next.Lease = time.Time{}
			next.read = m.now()
			m.believe(next)
			return next, nil
		}
		if try < 2 {
			<-time.After(lookAgain)
		}
	}
	m.logger.ErrorContext(ctx, "a refreshed session could not be written", "session", l.Handle, "error", err.Error())
	return nil, unreadable(err)
}

// await waits for another node that refreshes. While what the issuer said last
// still counts there is no need to.
func (m *Manager) await(ctx context.Context, l *live) (*live, error) {
	for began := m.now(); m.due(l) && !m.now().Before(l.tokens.Until); {
		if m.now().Sub(began) >= waitOther {
			return nil, refuse(authn.Unavailable, "another node does not finish a refresh")
		}
		<-time.After(lookAgain)
		var err error
		if l, err = m.fresh(ctx, l.Key); err != nil {
			return nil, err
		}
	}
	return l, nil
}
