package main

import (
	"context"
	"time"
)

// result is one round of one subject.
type result struct {
	cpu      float64       // seconds by 100,000 requests of the closed loop
	rate     float64       // requests by second of the closed loop
	steady   float64       // cpu, of the open loop
	switches float64       // voluntary, by request of the open loop
	p50, p99 time.Duration // of the open loop
	resident float64       // MiB at the end
	top      float64       // MiB at most
}

// session is a subject's process under load.
type session struct {
	plan
	subject subject
	warm    load
	load    load
	child   *process // nil: the upstream itself
	result  *result
}

// round measures one subject once. One that must not have seen a request before
// is started anew for each loop.
func (p plan) round(ctx context.Context, w *world, s subject) (result, error) {
	var r result
	each := session{plan: p, subject: s, result: &r}
	loops := []func(session, context.Context) (int, error){session.closed, session.open}
	if s.start == nil {
		_, err := each.at(w, w.upstream).open(ctx)
		return r, err
	}
	for len(loops) > 0 {
		n := len(loops)
		if s.once {
			n = 1
		}
		if err := each.run(ctx, w, loops[:n]); err != nil {
			return result{}, err
		}
		loops = loops[n:]
	}
	return r, nil
}

// at is the session at an address.
func (s session) at(w *world, address string) session {
	pick := func(from [][]byte) func(int) []byte { return func(n int) []byte { return from[n%len(from)] } }
	s.warm, s.load = load{address, pick(w.warm)}, load{address, pick(s.subject.requests)}
	return s
}

// run is the life of one process.
func (s session) run(ctx context.Context, w *world, loops []func(session, context.Context) (int, error)) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	if s.child, err = s.subject.start(ctx, address); err != nil {
		return err
	}
	s = s.at(w, address)
	answered, _, err := s.warm.closed(ctx, min(s.length, 2*time.Second), 10000)
	if err != nil {
		return s.child.because(err)
	}
	for _, loop := range loops {
		n, err := loop(s, ctx)
		if err != nil {
			return s.child.because(err)
		}
		answered += n
	}
	end, err := s.child.usage()
	if err != nil {
		return err
	}
	const mebibyte = 1 << 20
	s.result.resident = max(s.result.resident, float64(end.resident)/mebibyte)
	s.result.top = max(s.result.top, float64(end.top)/mebibyte)
	return s.child.stop(answered)
}

// most is how many requests there are for a loop.
func (s session) most(wanted int) int {
	if s.subject.once {
		return min(wanted, len(s.subject.requests))
	}
	return wanted
}

func (s session) closed(ctx context.Context) (answered int, err error) {
	written, err := s.profiles(ctx, "closed")
	if err != nil {
		return 0, err
	}
	before, err := s.child.usage()
	if err != nil {
		return 0, err
	}
	answered, took, err := s.load.closed(ctx, s.length, s.most(1<<30))
	if err != nil {
		return 0, err
	}
	after, err := s.child.usage()
	if err != nil {
		return 0, err
	}
	s.result.cpu = after.since(before).cpu.Seconds() / float64(answered) * 1e5
	s.result.rate = float64(answered) / took.Seconds()
	return answered, written()
}

func (s session) open(ctx context.Context) (answered int, err error) {
	written, err := s.profiles(ctx, "open")
	if err != nil {
		return 0, err
	}
	var before, after usage
	if s.child != nil {
		if before, err = s.child.usage(); err != nil {
			return 0, err
		}
	}
	latencies, err := s.load.open(ctx, s.rate, s.most(max(1, int(s.length.Seconds()*float64(s.rate)))))
	if err != nil {
		return 0, err
	}
	if s.child != nil {
		if after, err = s.child.usage(); err != nil {
			return 0, err
		}
	}
	answered = len(latencies)
	took := after.since(before)
	s.result.steady = took.cpu.Seconds() / float64(answered) * 1e5
	s.result.switches = float64(took.switches) / float64(answered)
	s.result.p50, s.result.p99 = percentile(latencies, 50), percentile(latencies, 99)
	return answered, written()
}
