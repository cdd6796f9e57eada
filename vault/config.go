package vault

import (
	"cmp"
	"net/url"
	"strings"
	"time"
)

// Config is one entry of vaults: one machine account for one environment.
type Config struct {
	// Bitwarden is the machine account. Required.
	Bitwarden Bitwarden `yaml:"bitwarden"`
	// RequireBinding closes every route of a secret whose own note does not say
	// which hosts it may go to, as in "vaultspan: {hosts: [api.example.com]}".
	// Whoever keeps the secret then has a say, and not the configuration alone.
	// Default: false.
	RequireBinding bool `yaml:"require_binding"`
	// MaxAge is how old values may get, by collection or collection/name, as
	// routes write them without the vault: {payments: 90d, payments/KEY: {warn:
	// 20d, refuse: 30d}}. What is said of a secret stands in place of what is
	// said of its collection; max_age in its note can only shorten it. Default:
	// any age.
	MaxAge map[string]MaxAge `yaml:"max_age"`
}

// Bitwarden is a machine account of Bitwarden Secrets Manager.
type Bitwarden struct {
	// Organization is the organization's id (a UUID). Required.
	Organization string `yaml:"organization"`
	// AccessToken is the machine account's. Required, as ${file:…} or ${env:…}.
	AccessToken func() string `yaml:"access_token"`
	// API is the base URL of the API. Default: https://api.bitwarden.com.
	// Give identity with it.
	API string `yaml:"api"`
	// Identity is the base URL of the identity service. Default:
	// https://identity.bitwarden.com. Give api with it.
	Identity string `yaml:"identity"`
	// CA is a PEM file for a self-hosted server. Default: the system's.
	CA string `yaml:"ca"`
	// Refresh is how often changes are looked for. Default: 30s, at least 1s.
	// A rotated, moved or deleted secret is noticed within it. Twice this age
	// marks a value as stale.
	Refresh time.Duration `yaml:"refresh"`
	// MaxStale is how long a value may be used after the last refresh that
	// confirmed it. Default: 10m, at least refresh.
	MaxStale time.Duration `yaml:"max_stale"`
	// Idle is how long a secret of one caller's own, such as
	// prod/people/{subject}, is kept after its last use. It is looked at once a
	// refresh. Default: 15m, at least 1s.
	Idle time.Duration `yaml:"idle"`
	// Timeout bounds one refresh. Default: 10s.
	Timeout time.Duration `yaml:"timeout"`
}

// Complete returns b with the documented default in each zero field that has
// one.
func (b Bitwarden) Complete() Bitwarden {
	b.API = cmp.Or(b.API, "https://api.bitwarden.com")
	b.Identity = cmp.Or(b.Identity, "https://identity.bitwarden.com")
	b.Refresh = cmp.Or(b.Refresh, 30*time.Second)
	b.MaxStale = cmp.Or(b.MaxStale, 10*time.Minute)
	b.Idle = cmp.Or(b.Idle, 15*time.Minute)
	b.Timeout = cmp.Or(b.Timeout, 10*time.Second)
	return b
}

// Check reports every problem of the entry, by its path in it.
func (c Config) Check(report func(path, problem string)) {
	c.Bitwarden.Check(func(path, problem string) { report("bitwarden."+path, problem) })
	for of, age := range c.MaxAge {
		age.Check(func(path, problem string) { report("max_age."+of+"."+path, problem) })
	}
}

// maxAge is what the configuration says of a secret that a binding names as r,
// and that is ref: by its name or its id, the shortest if by both.
func (c Config) maxAge(r Reference, ref Ref) MaxAge {
	var own MaxAge
	found := false
	for _, name := range []string{r.Name, ref.Name, ref.ID, strings.ToLower(ref.ID)} {
		if age, ok := c.MaxAge[r.Collection.Name+"/"+name]; ok {
			own, found = own.narrowed(age), true
		}
	}
	if found {
		return own
	}
	return c.MaxAge[r.Collection.Name]
}

// Check reports every problem of the machine account. It never quotes the
// access token.
func (b Bitwarden) Check(report func(path, problem string)) {
	if !isUUID(b.Organization) {
		report("organization", "want the organization's id, a UUID such as 5f1d7a84-0000-4000-8000-1b2c3d4e5f60: it is in the address of the web vault")
	}
	switch {
	case b.AccessToken == nil:
		report("access_token", "is missing: give the machine account's access token as ${file:…} or ${env:…}")
	case strings.TrimSpace(b.AccessToken()) == "":
		report("access_token", "is empty: put the machine account's access token where it points")
	case !looksLikeAccessToken(b.AccessToken()):
		report("access_token", "is not a machine account's access token: want all of 0.<id>.<secret>:<key>, as Bitwarden showed it once")
	}
	if (b.API == "") != (b.Identity == "") {
		// A login at the wrong service would hand it the account's secret.
		report("", "api and identity belong together: give both (a self-hosted or EU server) or neither")
	}
	checkBase("api", b.API, report)
	checkBase("identity", b.Identity, report)

	d := b.Complete()
	if d.Refresh < time.Second {
		report("refresh", "want at least 1s")
	}
	if d.MaxStale < d.Refresh {
		report("max_stale", "want at least refresh ("+d.Refresh.String()+"): values would be refused between two refreshes")
	}
	if d.Idle < time.Second {
		report("idle", "want at least 1s")
	}
	if d.Timeout < 100*time.Millisecond || d.Timeout > 5*time.Minute {
		report("timeout", "want between 100ms and 5m")
	}
}

// checkBase refuses a base URL over which the access token must not travel.
func checkBase(path, base string, report func(path, problem string)) {
	if base == "" {
		return
	}
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		report(path, "want a base URL such as https://vault.example.com/"+path)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		report(path, "want a plain base URL: no user, query or fragment")
	case u.Scheme == "https", u.Scheme == "http" && isLoopbackAddress(u.Hostname()):
	case u.Scheme == "http":
		report(path, "the access token does not travel over http: use https (http is for a loopback address only)")
	default:
		report(path, "want an https URL")
	}
}

// TokenID is the id in the access token, which no other token has and which is
// no secret, or "".
func (b Bitwarden) TokenID() string {
	if b.AccessToken == nil || !looksLikeAccessToken(b.AccessToken()) {
		return ""
	}
	return strings.ToLower(strings.Split(b.AccessToken(), ".")[1])
}

func looksLikeAccessToken(s string) bool {
	version, rest, _ := strings.Cut(s, ".")
	id, rest, _ := strings.Cut(rest, ".")
	secret, seed, _ := strings.Cut(rest, ":")
	return version == "0" && isUUID(id) && secret != "" && seed != "" && !strings.ContainsAny(s, " \t\r\n")
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
				return false
			}
		}
	}
	return true
}
