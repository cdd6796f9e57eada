package bench

import (
	"slices"
	"strings"

	"github.com/vaultspan/vaultspan/e2e/canary"
)

// Plant adds secrets that must appear nowhere.
func (b *Bench) Plant(secrets ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.further = append(b.further, secrets...)
}

// PlantFor adds secrets that may appear in what one upstream receives, and
// nowhere else.
func (b *Bench) PlantFor(upstream string, secrets ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.values[upstream] = append(b.values[upstream], secrets...)
}

// Saw notes what somebody outside could see, such as an answer to a caller: it
// is searched by Leaks.
func (b *Bench) Saw(where string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == nil {
		b.seen = map[string][]byte{}
	}
	b.seen[where] = append(b.seen[where], data...)
}

// Leaks looks for every secret and token of the bench in the paths, in what was
// exported, in what callers saw, and in what each upstream received: an upstream
// may get its own secret and nothing else.
func (b *Bench) Leaks(paths ...string) ([]canary.Finding, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := slices.Clone(b.further)
	for _, token := range b.tokens {
		// Whoever has the signature has the token; parts of the rest are public.
		all = append(all, token[strings.LastIndexByte(token, '.')+1:])
	}
	mine := map[string]*canary.Scanner{}
	for name := range b.Upstreams {
		mine[name] = new(canary.Scanner)
		for of, values := range b.values {
			if of != name {
				if err := mine[name].Add(values...); err != nil {
					return nil, err
				}
			}
		}
		if err := mine[name].Add(all...); err != nil {
			return nil, err
		}
	}
	for _, values := range b.values {
		all = append(all, values...)
	}
	everything := new(canary.Scanner)
	if err := everything.Add(all...); err != nil {
		return nil, err
	}

	var found []canary.Finding
	for _, path := range paths {
		more, err := everything.Path(path)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	found = append(found, everything.Bytes("exported telemetry", b.OTLP.Dump())...)
	for where, data := range b.seen {
		found = append(found, everything.Bytes(where, data)...)
	}
	for name, u := range b.Upstreams {
		found = append(found, mine[name].Bytes("what "+name+" received", u.Raw())...)
	}
	return found, nil
}
