package audit

import "time"

// Bounds of a flood of refusals, each for one second: what is beyond them is
// counted, not written one by one. Every refusal is in exactly one record.
const (
	singlesOfOne = 10   // records for callers who look alike
	singlesOfAll = 1000 // records for all
	kindsOfAll   = 1024 // aggregates by caller; beyond them by code alone, naming no client
)

// alike is what the refusals of an aggregate have in common.
type alike struct {
	code                           string
	status                         int
	route, issuer, subject, client string
}

type tally struct {
	singles int
	count   uint64
	first   time.Time
	trace   string // of the first one counted
}

// flood decides which refusals get a record of their own. Not for concurrent use.
type flood struct {
	singles int
	tallies map[alike]*tally
}

// single reports whether e gets its own record; otherwise it has been counted.
func (f *flood) single(e *Event, at time.Time, crowded bool) bool {
	if f.tallies == nil {
		f.tallies = map[alike]*tally{}
	}
	k := alike{e.Code, e.Status, e.Route, e.Issuer, e.Subject, e.Client}
	t := f.tallies[k]
	if t == nil && len(f.tallies) >= kindsOfAll {
		k = alike{code: e.Code, status: e.Status}
		t = f.tallies[k]
		crowded = true
	}
	if t == nil {
		t = &tally{}
		f.tallies[k] = t
	}
	if !crowded && t.singles < singlesOfOne && f.singles < singlesOfAll {
		t.singles++
		f.singles++
		return true
	}
	if t.count++; t.count == 1 {
		t.first, t.trace = at, e.Trace
	}
	return false
}

// flush ends the second: the aggregates, and a fresh start.
func (f *flood) flush() []Event {
	var out []Event
	for k, t := range f.tallies {
		if t.count > 0 {
			out = append(out, Event{
				Kind: KindRefusal, Trace: t.trace, Code: k.code, Status: k.status, Route: k.route,
				Issuer: k.issuer, Subject: k.subject, Client: k.client, Count: t.count, First: t.first,
			})
		}
	}
	clear(f.tallies)
	f.singles = 0
	return out
}
