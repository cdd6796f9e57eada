package audit

import (
	"fmt"
	"time"
)

// draft is a batch being encoded: what the log will be if it becomes durable.
type draft struct {
	head  head
	clock clock
	buf   []byte
	kinds map[string]int64
}

// put adds a record, and before it another one if the clock was set.
func (d *draft) put(at moment, kind string, body []byte) (seq uint64) {
	d.jumped(at, d.clock.jump(at))
	return d.add(at, kind, body)
}

// first adds the checkpoint that a batch begins with: nothing may come before it.
func (d *draft) first(at moment, body []byte) {
	jump := d.clock.jump(at)
	d.add(at, KindCheckpoint, body)
	d.jumped(at, jump)
}

func (d *draft) jumped(at moment, by time.Duration) {
	if by == 0 {
		return
	}
	e := Event{Kind: KindChange, Code: CodeClock, Detail: fmt.Sprintf("the clock was set forward by %s", by)}
	if by < 0 {
		e.Detail = fmt.Sprintf("the clock was set back by %s", -by)
	}
	d.add(at, KindChange, appendBody(nil, &e))
}

func (d *draft) add(at moment, kind string, body []byte) (seq uint64) {
	start := len(d.buf)
	d.buf = appendLine(d.buf, d.head.seq+1, at.wall, d.head.prev, body)
	d.head.add(d.buf[start : len(d.buf)-1])
	d.clock = clock{moment: at, ticking: true}
	d.kinds[kind]++
	return d.head.seq
}

// clock is when the last record was made.
type clock struct {
	moment
	ticking bool // by this process: run can be compared
}

// jump is by how much the clock was set since the last record, or 0. Corrections
// of a clock that is merely slow or fast are not worth a record.
func (c clock) jump(at moment) time.Duration {
	if c.wall.IsZero() {
		return 0
	}
	shown := at.wall.Round(0).Sub(c.wall.Round(0))
	if !c.ticking {
		return min(shown, 0).Truncate(time.Millisecond)
	}
	ran := at.run - c.run
	if off := shown - ran; off.Abs() > time.Second+ran/1000 {
		return off.Truncate(time.Millisecond)
	}
	return 0
}
