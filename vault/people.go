package vault

import (
	"maps"
	"strings"
	"sync"
	"time"
)

const (
	// peopleMost bounds the callers' own secrets in memory; the one that was
	// not used for longest makes room.
	peopleMost = 10_000
	// peopleGather is how long first uses are gathered before a refresh brings
	// the values of all of them, when there are too many to read one by one.
	peopleGather = 100 * time.Millisecond
	// peopleEvery bounds how often they make a refresh come early.
	peopleEvery = 3 * time.Second
)

// people are the secrets of callers' own that are in use: see Vault.LeaseOwnOf. It
// is locked after Vault.mu, if both are.
type people struct {
	mu      sync.Mutex
	known   map[string]*personal // by the secret's id
	wishing bool                 // a refresh will be wished for
	wished  time.Time            // when one was
}

// personal is one caller's secret.
type personal struct {
	held
	template string           // as bound, by whoever asked first
	ref      Ref              // as it was when it was asked for
	secret   string           // vault/collection/name
	used     time.Time        // last
	ready    map[key]*holding // made of the binding that its field of says
}

// holding is what is held of a secret for a binding, or nil: then it is wanted
// from now on.
func (p *people) holding(of *holding, ref Ref, now time.Time) *holding {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.known[ref.ID]
	if one == nil {
		p.admit(ref.ID, &personal{template: of.key.secret, ref: ref, secret: of.reference.Collection.String() + "/" + ref.Name, used: now})
		return nil
	}
	one.used = now
	if one.version == nil && one.failure == nil {
		return nil
	}
	if h := one.ready[of.key]; h != nil && h.of == of {
		return h
	}
	h := *of
	h.of, h.name, h.secret = of, ref.Name, one.secret
	h.fill(of.binding, of.rules, ref, one.held)
	if one.ready == nil {
		one.ready = make(map[key]*holding)
	}
	one.ready[of.key] = &h
	return &h
}

// admit takes in a secret that is wanted.
func (p *people) admit(id string, one *personal) {
	if p.known == nil {
		p.known = make(map[string]*personal)
	}
	if len(p.known) >= peopleMost {
		oldest := ""
		for id, one := range p.known {
			if oldest == "" || one.used.Before(p.known[oldest].used) {
				oldest = id
			}
		}
		delete(p.known, oldest)
	}
	p.known[id] = one
}

// waiting says whether a secret is wanted that nothing is known of yet.
func (p *people) waiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.known {
		if one.version == nil && one.failure == nil {
			return true
		}
	}
	return false
}

// wants adds the callers' own secrets to those that a fetch is to bring.
func (p *people) wants(shared func(Ref) bool) func(Ref) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make(map[string]bool, len(p.known))
	for id := range p.known {
		ids[id] = true
	}
	return func(r Ref) bool { return ids[r.ID] || shared(r) }
}

// has says whether the secret of that id is wanted.
func (p *people) has(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[id] != nil
}

// seen takes in a version that was read by itself, with its note.
func (p *people) seen(now *version, note string, started time.Time) []Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.known[now.id]; one != nil {
		return one.take(one.held.seen(now, note, started))
	}
	return nil
}

// take replaces what is held, and says what changed.
func (one *personal) take(next held) []Change {
	before := one.version
	one.held, one.ready = next, nil
	switch {
	case next.version == nil || before != nil && before.name == next.version.name:
		return nil
	case before == nil:
		before = &version{}
	}
	v := next.version
	return []Change{{Secret: one.secret, ID: v.id, Version: v.name, Fingerprint: v.fingerprint, Previous: before.name, Span: v.span}}
}

// gone is the change that a secret went away.
func (one *personal) gone(id string) []Change {
	if one.version == nil {
		return nil
	}
	return []Change{{Secret: one.secret, ID: id, Previous: one.version.name}}
}

// forget drops all: the account is not welcome any more.
func (p *people) forget() []Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Change
	for id, one := range p.known {
		all = append(all, one.gone(id)...)
	}
	p.known = nil
	return all
}

// learn takes in a good snapshot of a fetch that began at started. A secret that
// went away, or is another's by now, is dropped at once.
func (p *people) learn(s Snapshot, c catalog, made func(Secret) *version, started time.Time) []Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.Unchanged {
		for _, one := range p.known {
			if one.version != nil && one.failure == nil {
				one.confirmed, one.ready = started, nil
			}
		}
		return nil
	}
	brought := make(map[string]Secret, len(s.Secrets))
	for _, secret := range s.Secrets {
		brought[secret.ID] = secret
	}
	failed := make(map[string]error, len(s.Failed))
	for _, f := range s.Failed {
		failed[f.ID] = f.Err
	}
	var all []Change
	for id, one := range p.known {
		now, exists := c.byID[strings.ToLower(id)]
		secret, read := brought[id]
		switch {
		case !exists || now.Project != one.ref.Project || now.Name != one.ref.Name:
			all = append(all, one.gone(id)...)
			delete(p.known, id)
		case read:
			all = append(all, one.take(one.held.seen(made(secret), secret.Note, started))...)
		case failed[id] != nil:
			one.failure, one.ready = failed[id], nil
		case one.version != nil:
			delete(p.known, id) // not brought, though wanted: it is read when it is next used
		}
	}
	return all
}

// sweep drops what was not used for so long.
func (p *people) sweep(idle time.Duration, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.known, func(_ string, one *personal) bool { return elapsed(one.used, now) > idle })
}

// count is for how many callers a template's secrets are held.
func (p *people) count(template string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, one := range p.known {
		if one.template == template && one.version != nil {
			n++
		}
	}
	return n
}

// learnPeople is what a fetch that ended says of callers' own secrets; v.mu is
// held.
func (v *Vault) learnPeople(s Snapshot, err error, started time.Time) []Change {
	m := &v.known
	v.people.sweep(v.config.Idle, v.now())
	v.renewals.sweep(v.now())
	switch {
	case err == nil:
		made := func(secret Secret) *version { return newVersion(v.key, v.name, secret, s.Span) }
		return v.people.learn(s, m.catalog, made, started)
	case m.unwelcome():
		return v.people.forget()
	}
	return nil
}

// wish makes a refresh come early, soon, for all who wish for one by then.
func (v *Vault) wish() {
	p := &v.people
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wishing {
		return
	}
	p.wishing = true
	time.AfterFunc(max(peopleGather, peopleEvery-elapsed(p.wished, v.now())), func() {
		p.mu.Lock()
		p.wishing, p.wished = false, v.now()
		p.mu.Unlock()
		v.refreshSoon()
	})
}

// refreshSoon wishes for a refresh, unless one is due or a back-off runs.
func (v *Vault) refreshSoon() {
	select {
	case v.kick <- struct{}{}:
	default:
	}
}
