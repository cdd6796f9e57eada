package session

import (
	"context"
	"errors"
	"time"

	"github.com/vaultspan/vaultspan/authn"
)

// live is a session as this node believes it to be. It is not changed once
// others see it.
type live struct {
	Record
	tokens authn.Tokens
	read   time.Time
}

// end is when a session ends if nothing else ends it.
func (l *live) end() time.Time {
	if l.tokens.Refresh() == "" && l.tokens.Until.Before(l.Ends) {
		return l.tokens.Until
	}
	return l.Ends
}

// find returns a session that is not over, from memory if it was read just now.
func (m *Manager) find(ctx context.Context, key Key) (*live, error) {
	now := m.now()
	m.mu.Lock()
	l := m.known[key]
	m.mu.Unlock()
	if l == nil || now.Sub(l.read) >= believe || now.Before(l.read) {
		var err error
		if l, err = m.read(ctx, key); err != nil {
			return nil, err
		}
	}
	switch {
	case l.Ended != "":
		return nil, refuse(authn.Revoked, "the session has ended: "+l.Ended)
	case !now.Before(l.Ends):
		return nil, refuse(authn.Revoked, "the session has ended: it is as old as sessions get")
	case now.Sub(l.Used) >= m.idle:
		m.end(ctx, Filter{Handle: l.Handle}, WhyIdle)
		return nil, refuse(authn.Revoked, "the session has ended: nobody used it")
	}
	return l, nil
}

// read asks the store.
func (m *Manager) read(ctx context.Context, key Key) (*live, error) {
	began := m.now()
	within, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	r, err := m.store.Find(within, key)
	switch {
	case errors.Is(err, errUnknown):
		m.forget(key)
		return nil, refuse(authn.Invalid, "no such session: it is over, or another deployment's")
	case err != nil:
		return nil, unreadable(err)
	}
	l := &live{Record: r, read: began}
	if r.Ended == "" {
		if l.tokens, err = m.open(r); err != nil {
			return nil, refuse(authn.Invalid, "a session of another key or version")
		}
	}
	m.believe(l)
	return l, nil
}

// believe remembers a session, unless what is known of it is newer: a request
// that read it before it ended must not bring it back to life when it gets here
// after that.
func (m *Manager) believe(l *live) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.known[l.Key]; old != nil && old.Version > l.Version && l.read.Sub(old.read) < believe {
		return
	}
	if len(m.known) >= maxBelieve {
		for key, old := range m.known {
			if l.read.Sub(old.read) >= believe {
				delete(m.known, key)
			}
		}
		if len(m.known) >= maxBelieve {
			clear(m.known)
		}
	}
	m.known[l.Key] = l
}

func (m *Manager) forget(key Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, key)
}

// touch notes that a session is used. Open streams are use.
func (m *Manager) touch(ctx context.Context, l *live) {
	now := m.now()
	if now.Sub(l.Used) < min(touchEvery, m.idle/4) {
		return
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), budget)
	defer cancel()
	if err := m.store.Touch(within, l.Key, now); err != nil {
		m.logger.WarnContext(ctx, "a session's use could not be noted", "session", l.Handle, "error", err.Error())
		return
	}
	used := *l
	used.Used = now
	m.believe(&used)
}
