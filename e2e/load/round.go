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
	others   float64       // the share of the machine that others had, at most
}

// session is a subject's process under load.
type session struct {
	plan
	subject subject
	warm    load
	load    load
	world   *world
	child   *process // nil: the upstream itself
	result  *result
}

// round measures one subject once. One that must not have seen a request before
// is started anew for each loop.
func (p plan) round(ctx context.Context, w *world, s subject) (result, error) {
	var r result
	each := session{plan: p, subject: s, world: w, result: &r}
	loops := []func(session, context.Context) (int, error){session.closed, session.open}
	if s.start == nil {
		_, err := each.at(w.address).open(ctx)
		return r, err
	}
	for len(loops) > 0 {
		n := len(loops)
		if s.once {
			n = 1
		}
		if err := each.run(ctx, loops[:n]); err != nil {
			return result{}, err
		}
		loops = loops[n:]
	}
	return r, nil
}

// at is the session at an address.
func (s session) at(address string) session {
	pick := func(from [][]byte) func(int) []byte { return func(n int) []byte { return from[n%len(from)] } }
	s.warm, s.load = load{address, pick(s.world.warm)}, load{address, pick(s.subject.requests)}
	return s
}

// run is the life of one process.
func (s session) run(ctx context.Context, loops []func(session, context.Context) (int, error)) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	if s.child, err = s.subject.start(ctx, address); err != nil {
		return err
	}
	s = s.at(address)
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

// measure runs a loop, and says what the subject took for it.
func (s session) measure(ctx context.Context, name string, loop func() error) (took usage, err error) {
	written, err := s.profiles(ctx, name)
	if err != nil {
		return usage{}, err
	}
	machine, err := watch(s.world.upstream, s.child)
	if err != nil {
		return usage{}, err
	}
	var before, after usage
	if s.child != nil {
		if before, err = s.child.usage(); err != nil {
			return usage{}, err
		}
	}
	if err := loop(); err != nil {
		return usage{}, err
	}
	if s.child != nil {
		if after, err = s.child.usage(); err != nil {
			return usage{}, err
		}
	}
	share, err := machine.share(s.world.upstream, s.child)
	if err != nil {
		return usage{}, err
	}
	s.result.others = max(s.result.others, share)
	return after.since(before), written()
}

func (s session) closed(ctx context.Context) (answered int, err error) {
	var length time.Duration
	took, err := s.measure(ctx, "closed", func() error {
		answered, length, err = s.load.closed(ctx, s.length, s.most(1<<30))
		return err
	})
	if err != nil {
		return 0, err
	}
	s.result.cpu = took.cpu.Seconds() / float64(answered) * 1e5
	s.result.rate = float64(answered) / length.Seconds()
	return answered, nil
}

func (s session) open(ctx context.Context) (answered int, err error) {
	var latencies []time.Duration
	took, err := s.measure(ctx, "open", func() error {
		latencies, err = s.load.open(ctx, s.rate, s.most(max(1, int(s.length.Seconds()*float64(s.rate)))))
		return err
	})
	if err != nil {
		return 0, err
	}
	answered = len(latencies)
	s.result.steady = took.cpu.Seconds() / float64(answered) * 1e5
	s.result.switches = float64(took.switches) / float64(answered)
	s.result.p50, s.result.p99 = percentile(latencies, 50), percentile(latencies, 99)
	return answered, nil
}
