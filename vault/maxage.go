package vault

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// MaxAge says how old a value may get, counted from when it was last changed:
// one duration, or warn, stale and refuse. A rotation begins anew.
type MaxAge struct {
	// Warn is the age from which the log, a metric, an alert and vaultspan
	// secrets status say that the secret is due for rotation. Default: never;
	// with one duration, 8/10 of it.
	Warn time.Duration `yaml:"warn"`
	// Stale is the age from which uses are also marked as stale, in spans and in
	// the audit log. Default: never; with one duration, 9/10 of it.
	Stale time.Duration `yaml:"stale"`
	// Refuse is the age from which the value is not used any more, and its
	// routes are closed. Default: never; with one duration, that.
	Refuse time.Duration `yaml:"refuse"`
}

// errAge is what is said of an age that is not one.
var errAge = errors.New("want how old a value may get, such as 90d: a number with a unit, or {warn: 70d, stale: 80d, refuse: 90d}")

// UnmarshalText reads one duration: the age at which a value is refused.
func (m *MaxAge) UnmarshalText(text []byte) error {
	d, ok := parseAge(string(text))
	if !ok {
		return errAge
	}
	*m = maxAgeOf(d)
	return nil
}

func maxAgeOf(refuse time.Duration) MaxAge {
	return MaxAge{Warn: refuse / 10 * 8, Stale: refuse / 10 * 9, Refuse: refuse}
}

var wholeDays = regexp.MustCompile(`^(\d{1,5})d(.*)$`)

// parseAge reads a duration above zero as the configuration does: whole days,
// and what time.ParseDuration takes.
func parseAge(s string) (time.Duration, bool) {
	var whole time.Duration
	if m := wholeDays.FindStringSubmatch(s); m != nil {
		n, _ := strconv.Atoi(m[1])
		whole, s = time.Duration(n)*24*time.Hour, cmp.Or(m[2], "0s")
	}
	rest, err := time.ParseDuration(s)
	return whole + rest, err == nil && rest >= 0 && whole+rest > 0 && s[0] != '+' && s[0] != '-'
}

// Check reports limits that are out of order.
func (m MaxAge) Check(report func(path, problem string)) {
	for _, pair := range []struct {
		path         string
		first, later time.Duration
		than         string
	}{
		{"warn", m.Warn, m.Stale, "stale"}, {"warn", m.Warn, m.Refuse, "refuse"}, {"stale", m.Stale, m.Refuse, "refuse"},
	} {
		if pair.later > 0 && pair.first > pair.later {
			report(pair.path, fmt.Sprintf("is longer than %s (%s): it would come too late", pair.than, ageText(pair.later)))
			return
		}
	}
}

// narrowed is each limit at the earlier of m and other.
func (m MaxAge) narrowed(other MaxAge) MaxAge {
	return MaxAge{sooner(m.Warn, other.Warn), sooner(m.Stale, other.Stale), sooner(m.Refuse, other.Refuse)}
}

// sooner is the lesser of two durations of which zero means never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// ageText is a duration in whole days, where it is that.
func ageText(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return d.String()
}
