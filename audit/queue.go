package audit

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Bounds of what is held in memory. An attempt may always queue its outcome:
// that place is taken, by its id, when its intent is accepted.
const (
	maxQueued = 32 << 20 // bytes of records not yet written
	maxOpen   = 1 << 17  // attempts without an outcome
)

// The states of an intent that somebody may be waiting for. It leaves waiting
// once: either its caller gives up or the writer has an answer, never both.
const (
	waiting   uint32 = iota
	abandoned        // its caller has refused the request
	settled          // its caller has the answer
	detached         // nobody waits for it
)

// entry is one record that is not written yet; of an intent, also the attempt.
type entry struct {
	kind    string
	attempt string
	route   string
	at      moment
	body    []byte
	state   atomic.Uint32
	seq     uint64 // set before the batch is done
	err     error  // likewise
	logged  bool   // the intent is durable; guarded by the queue
	ended   bool   // the outcome is queued; guarded by the queue
}

// batch is what one write and one fsync make durable.
type batch struct {
	at      moment // taken from the queue: earlier than what is put in it after
	entries []*entry
	done    chan struct{}
}

// queue is what callers put in and the writer takes out, in one order.
type queue struct {
	wake chan struct{}

	mu       sync.Mutex
	next     *batch
	bytes    int
	attempts map[string]*entry // intents by attempt, until their outcome is durable
	flood    flood
	lost     uint64 // changes that did not fit
	broken   error  // why nothing can be written at present
	closing  bool   // no new intents
	closed   bool   // nothing at all
}

func newQueue() queue {
	return queue{
		wake: make(chan struct{}, 1), attempts: map[string]*entry{},
		next: &batch{done: make(chan struct{})},
	}
}

// put appends en. The time is taken under the lock, so that records are in the
// order of their times unless the clock was set.
func (q *queue) put(en *entry, now func() moment) *batch {
	en.at = now()
	q.next.entries = append(q.next.entries, en)
	q.bytes += len(en.body)
	q.signal()
	return q.next
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) intent(en *entry, now func() moment) (*batch, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closing:
		return nil, errClosed
	case q.broken != nil:
		return nil, q.broken
	case q.attempts[en.attempt] != nil:
		return nil, fmt.Errorf("audit: attempt %q has an intent already", en.attempt)
	case q.bytes > maxQueued, len(q.attempts) >= maxOpen:
		return nil, ErrOverloaded
	}
	q.attempts[en.attempt] = en
	return q.put(en, now), nil
}

func (q *queue) outcome(en *entry, now func() moment) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	intent := q.attempts[en.attempt]
	switch {
	case q.closed:
		return errClosed
	case intent == nil || intent.ended:
		return fmt.Errorf("audit: attempt %q is not open", en.attempt)
	}
	intent.ended = true
	q.put(en, now)
	return nil
}

func (q *queue) change(en *entry, now func() moment) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return errClosed
	case q.bytes > maxQueued:
		q.lost++
		return ErrOverloaded
	}
	q.put(en, now)
	return nil
}

// refusal reports whether e was counted into an aggregate. It encodes under the
// lock, so that a refusal is in a tally or in the queue at every moment.
func (q *queue) refusal(e *Event, now func() moment) (counted bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false, errClosed
	}
	if q.flood.single(e, now().wall, q.broken != nil || q.bytes > maxQueued) {
		q.put(&entry{kind: KindRefusal, body: appendBody(make([]byte, 0, 320), e)}, now)
		return false, nil
	}
	q.signal()
	return true, nil
}

// take empties the queue; with second set, also the tallies.
func (q *queue) take(second bool, now func() moment) *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if second {
		for _, e := range q.flood.flush() {
			q.put(&entry{kind: KindRefusal, body: appendBody(nil, &e)}, now)
		}
		if q.lost > 0 {
			e := Event{Kind: KindChange, Code: CodeLost, Count: q.lost, Detail: "changes were not recorded: the queue was full"}
			q.put(&entry{kind: KindChange, body: appendBody(nil, &e)}, now)
			q.lost = 0
		}
	}
	b := q.next
	b.at = now()
	q.next, q.bytes = &batch{done: make(chan struct{})}, 0
	return b
}

// settle tells the queue, and whoever waits, that b is durable. Intents that
// were given up meanwhile get their outcome here.
func (q *queue) settle(b *batch, now func() moment) {
	q.mu.Lock()
	q.broken = nil
	for _, en := range b.entries {
		switch {
		case en.kind == KindOutcome:
			delete(q.attempts, en.attempt)
		case en.kind != KindIntent:
		case en.seq == 0: // given up before it was written
			delete(q.attempts, en.attempt)
		default:
			en.logged, en.body = true, nil
			if !en.state.CompareAndSwap(waiting, settled) && en.state.Load() == abandoned {
				en.ended = true
				e := closing(en.attempt, CodeNotSent)
				e.Route = en.route
				q.put(&entry{kind: KindOutcome, attempt: en.attempt, body: appendBody(nil, &e)}, now)
			}
		}
	}
	q.mu.Unlock()
	close(b.done)
}

// refuse fails the intents of b that are waited for, and all that come until
// settle is called. The rest of b goes back to the front of the queue.
func (q *queue) refuse(b *batch, err error) {
	q.mu.Lock()
	came := q.next // while b was being tried
	q.broken = err
	q.next, q.bytes = &batch{done: make(chan struct{})}, 0
	for _, en := range slices.Concat(b.entries, came.entries) {
		if en.kind != KindIntent || en.state.Load() == detached {
			q.next.entries = append(q.next.entries, en)
			q.bytes += len(en.body)
			continue
		}
		en.seq, en.err = 0, err
		en.state.CompareAndSwap(waiting, settled)
		delete(q.attempts, en.attempt)
	}
	q.mu.Unlock()
	close(b.done)
	close(came.done)
}

// open lists the attempts whose intent is durable and whose outcome is not.
func (q *queue) open() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []string
	for attempt, en := range q.attempts {
		if en.logged {
			out = append(out, attempt)
		}
	}
	slices.Sort(out)
	return out
}

// busy reports whether the next second has something to write by itself.
func (q *queue) busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.flood.tallies) > 0 || q.lost > 0
}

func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.next.entries)
}

func (q *queue) err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.broken == nil && q.closing {
		return errClosed
	}
	return q.broken
}

func (q *queue) isClosing() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closing
}

// shut closes the queue once it is empty, or at once if force is set; it
// returns how many records are left behind.
func (q *queue) shut(force bool) (left uint64, done bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	left = uint64(len(q.next.entries)) + q.lost
	for _, t := range q.flood.tallies {
		left += t.count
	}
	q.closed = force || left == 0
	return left, q.closed
}

func (q *queue) close() {
	q.mu.Lock()
	q.closing = true
	q.signal()
	q.mu.Unlock()
}

// closing is the outcome that nobody reported.
func closing(attempt, code string) Event {
	e := Event{Kind: KindOutcome, Attempt: attempt, Code: code}
	if i := strings.LastIndexByte(attempt, '-'); i >= 0 {
		e.Trace = attempt[:i]
	}
	return e
}
