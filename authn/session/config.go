package session

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Config is the section sessions: how people who log in stay logged in.
type Config struct {
	// SQLite is the file that sessions are kept in, for one node. Default:
	// sessions.db beside audit.dir.
	SQLite string `yaml:"sqlite"`
	// Redis is where the sessions of several nodes are kept, in place of SQLite:
	// redis://[user:password@]host:port/db, or rediss:// for TLS. Its
	// maxmemory-policy must be noeviction. Default: none.
	Redis func() string `yaml:"redis"`
	// RedisCA is a PEM file with the authorities that sign the certificate of a
	// rediss:// server. Default: the system's.
	RedisCA string `yaml:"redis_ca"`
	// Key encrypts the tokens and identities in the store: 64 hexadecimal digits,
	// as openssl rand -hex 32 writes them. To change it put the new key on a line
	// before the old one, and take the old one away after absolute. Needed when a
	// route says session: true.
	Key func() string `yaml:"key"`
	// Idle ends a session that nobody used for so long. Default: 1h.
	Idle time.Duration `yaml:"idle"`
	// Absolute ends a session so long after its login. Default: 12h.
	Absolute time.Duration `yaml:"absolute"`
	// Refresh is how often the issuer is asked whether a login still stands, and
	// which groups and roles it has now. Default: 5m.
	Refresh time.Duration `yaml:"refresh"`
	// Theme is how the pages look.
	Theme Theme `yaml:"theme"`
}

// Theme is how the login, error and logout pages look.
type Theme struct {
	// Name is what the pages call this gateway. Default: the host's name.
	Name string `yaml:"name"`
	// Colour is the colour of buttons: #rrggbb, dark enough to be read white on;
	// check warns below a contrast of 4.5 to 1. Default: #1f5fbf.
	Colour string `yaml:"colour"`
	// Logo is a PNG or SVG file of at most 256KiB, shown 48 pixels high. Default:
	// none.
	Logo string `yaml:"logo"`
	// Help says to somebody who is denied how to ask for access. Default: to
	// quote the request's id to an operator.
	Help string `yaml:"help"`
}

// Defaults of Config.
const (
	defaultIdle     = time.Hour
	defaultAbsolute = 12 * time.Hour
	defaultRefresh  = 5 * time.Minute
	defaultColour   = "#1f5fbf"
)

var colour = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// Check reports everything that is wrong with c by itself.
func (c Config) Check(report func(path, problem string)) {
	if c.SQLite != "" && c.Redis != nil {
		report("redis", "sessions are kept in one place: remove sqlite or redis")
	}
	c.checkRedis(report)
	if c.Key != nil {
		if _, err := parseKeys(c.Key()); err != nil {
			report("key", err.Error())
		}
	}
	for _, d := range []struct {
		path        string
		value       time.Duration
		least, most time.Duration
	}{
		{"idle", c.Idle, time.Minute, 30 * 24 * time.Hour},
		{"absolute", c.Absolute, time.Minute, 30 * 24 * time.Hour},
		{"refresh", c.Refresh, 10 * time.Second, 24 * time.Hour},
	} {
		if d.value != 0 && (d.value < d.least || d.value > d.most) {
			report(d.path, fmt.Sprintf("is %v; want between %v and %v", d.value, d.least, d.most))
		}
	}
	if c.Theme.Colour != "" && !colour.MatchString(c.Theme.Colour) {
		report("theme.colour", "is not a colour: write #rrggbb")
	}
	if c.Theme.Logo != "" && logoType(c.Theme.Logo) == "" {
		report("theme.logo", "is not the name of a .png or .svg file")
	}
}

// Contrast is how well white is read on Colour, from 1 to 21 (WCAG 2.2, contrast
// ratio), if it is one.
func (t Theme) Contrast() (ratio float64, ok bool) {
	if !colour.MatchString(t.Colour) {
		return 0, false
	}
	parts, err := hex.DecodeString(t.Colour[1:])
	if err != nil {
		return 0, false
	}
	luminance := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		c := float64(parts[i]) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		luminance += weight * c
	}
	return 1.05 / (luminance + 0.05), true
}

// checkRedis wants an address and nothing else: the client library takes switches
// in the query, skip_verify among them.
func (c Config) checkRedis(report func(path, problem string)) {
	tls := false
	if c.Redis != nil {
		u, err := url.Parse(c.Redis())
		tls = err == nil && u.Scheme == "rediss"
		switch {
		case err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Host == "":
			report("redis", "is not redis://host:port")
		case u.RawQuery != "" || u.Fragment != "":
			report("redis", "has more than an address: nothing may follow redis://host:port/db")
		}
	}
	if c.RedisCA != "" && !tls {
		report("redis_ca", "is for rediss:// only: without TLS nothing is checked")
	}
}

// parseKeys reads keys, one a line. The first one seals, all of them open.
func parseKeys(text string) ([][]byte, error) {
	var keys [][]byte
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		key, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil || len(key) != 32 {
			return nil, errors.New("want 64 hexadecimal digits, one key a line: make one with openssl rand -hex 32")
		}
		keys = append(keys, key)
	}
	if len(keys) > 8 {
		return nil, errors.New("want at most 8 keys: take those away that nothing was sealed with for longer than absolute")
	}
	return keys, nil
}
