package assertion

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Config is the section assertions: how upstreams are told who is calling.
type Config struct {
	// Key is the seed of the signing keys: 64 hexadecimal digits, as openssl rand
	// -hex 32 writes them, and no other key. Several are one a line: the first
	// signs, the public keys of all are published. To change it, add the new one on
	// a line below; two hours later put it first; and another hour later take the
	// old one away. Needed when a route says assertion: true.
	Key func() string `yaml:"key"`
	// Rotate is how long one signing key serves. Default: 24h.
	Rotate time.Duration `yaml:"rotate"`
	// Lifetime is how long an assertion can be verified, at most 5m. Default: 1m.
	Lifetime time.Duration `yaml:"lifetime"`
}

// Defaults of Config.
const (
	defaultRotate   = 24 * time.Hour
	defaultLifetime = time.Minute
)

// maxCacheAge bounds how long a set of keys may be kept.
const maxCacheAge = time.Hour

// Check reports everything that is wrong with c by itself.
func (c Config) Check(report func(path, problem string)) {
	if c.Key != nil {
		if _, err := parseSeeds(c.Key()); err != nil {
			report("key", err.Error())
		}
	}
	for _, d := range []struct {
		path               string
		value, least, most time.Duration
	}{
		{"rotate", c.Rotate, time.Hour, 90 * 24 * time.Hour},
		{"lifetime", c.Lifetime, 10 * time.Second, 5 * time.Minute},
	} {
		if d.value != 0 && (d.value < d.least || d.value > d.most) {
			report(d.path, fmt.Sprintf("is %v; want between %v and %v", d.value, d.least, d.most))
		}
	}
}

// maxSeeds is enough to put one in another's place.
const maxSeeds = 4

// parseSeeds reads seeds, one a line.
func parseSeeds(text string) ([][]byte, error) {
	var seeds [][]byte
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		seed, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil || len(seed) != 32 {
			return nil, errors.New("want 64 hexadecimal digits, one key a line: make one with openssl rand -hex 32")
		}
		seeds = append(seeds, seed)
	}
	if len(seeds) > maxSeeds {
		return nil, fmt.Errorf("want at most %d keys: take those away that nothing was signed with for an hour", maxSeeds)
	}
	return seeds, nil
}
