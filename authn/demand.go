package authn

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Demand is how a caller must have proven who it is, beyond that it has: how
// lately, and how well (RFC 9470). The zero Demand demands nothing.
type Demand struct {
	// MaxAge is how long ago the caller may have signed in, by auth_time of its
	// token. A token without one does not count, and for an open stream the time
	// runs on. Default: however long. From 1m to 720h.
	MaxAge time.Duration `yaml:"max_age"`
	// ACR lists authentication context class references, the best first: the token
	// must have one of them as its acr. Which there are and what they mean is the
	// issuer's to say. Default: any, or none.
	ACR []string `yaml:"acr"`
}

const (
	maxDemands   = 4   // values of ACR
	maxACR       = 128 // bytes of one
	maxDemandAge = 720 * time.Hour
)

// IsZero says whether nothing is demanded.
func (d Demand) IsZero() bool { return d.MaxAge == 0 && len(d.ACR) == 0 }

// Check reports everything that is wrong with d.
func (d Demand) Check(report func(path, problem string)) {
	if d.MaxAge != 0 && (d.MaxAge < time.Minute || d.MaxAge > maxDemandAge || d.MaxAge%time.Second != 0) {
		report("max_age", "want whole seconds, from 1m to 720h")
	}
	if d.ACR != nil && len(d.ACR) == 0 || len(d.ACR) > maxDemands {
		report("acr", "want from 1 to 4 values, or no acr")
	}
	for i, acr := range d.ACR {
		if !isACR(acr) {
			report(fmt.Sprintf("acr[%d]", i), fmt.Sprintf("%q cannot be asked for: want at most %d printable ASCII characters without a space, \" and \\", acr, maxACR))
		}
	}
}

// isACR says whether a value can be part of acr_values, and stand in a quoted
// string (RFC 9470 section 3).
func isACR(s string) bool {
	return s != "" && len(s) <= maxACR && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' })
}

// Met says whether an identity was proven as demanded. What its issuer does not
// say is not.
func (d Demand) Met(id Identity, now time.Time) bool { return d.unmet(id, now) == nil }

// unmet says, for the operator, what is not as demanded.
func (d Demand) unmet(id Identity, now time.Time) error {
	switch {
	case d.MaxAge != 0 && id.AuthTime.IsZero():
		return errors.New("the token has no auth_time, and max_age is demanded")
	case d.MaxAge != 0 && now.Sub(id.AuthTime) > d.MaxAge:
		return errors.New("auth_time is longer ago than max_age")
	case len(d.ACR) > 0 && id.ACR == "":
		return errors.New("the token has no acr, and some are demanded")
	case len(d.ACR) > 0 && !slices.Contains(d.ACR, id.ACR):
		return errors.New("acr is none of those demanded")
	}
	return nil
}

// Parameters are how the demand is made, of an issuer (OpenID Connect Core
// section 3.1.2.1) or of a caller (RFC 9470 section 3).
func (d Demand) Parameters() url.Values {
	all := url.Values{}
	if d.MaxAge != 0 {
		all.Set("max_age", strconv.FormatInt(int64(d.MaxAge/time.Second), 10))
	}
	if len(d.ACR) > 0 {
		all.Set("acr_values", strings.Join(d.ACR, " "))
	}
	return all
}

// ParseDemand reads what Parameters made, among others. ok is false for what it
// would not have made: nobody demands a sign-in of people that no configuration
// could.
func ParseDemand(parameters url.Values) (d Demand, ok bool) {
	if len(parameters["max_age"]) > 1 || len(parameters["acr_values"]) > 1 {
		return Demand{}, false
	}
	if parameters.Has("max_age") {
		seconds, err := strconv.ParseUint(parameters.Get("max_age"), 10, 31)
		if err != nil || seconds == 0 {
			return Demand{}, false
		}
		d.MaxAge = time.Duration(seconds) * time.Second
	}
	if parameters.Has("acr_values") {
		d.ACR = strings.Split(parameters.Get("acr_values"), " ")
	}
	ok = true
	d.Check(func(string, string) { ok = false })
	return d, ok && parameters.Get("max_age") == d.Parameters().Get("max_age")
}
