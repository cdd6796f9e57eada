package authn

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Check reports what no issuer can see alone: names and urls that occur twice.
// Paths start with the index, as in "[1].name".
func Check(issuers []IssuerConfig, report func(path, problem string)) {
	byName, byURL := map[string]int{}, map[string]int{}
	for n, c := range issuers {
		if first, ok := byName[c.Name]; ok && c.Name != "" {
			report(fmt.Sprintf("[%d].name", n), fmt.Sprintf("%q is also the name of issuers[%d]: names are how roles tell issuers apart", c.Name, first))
		} else {
			byName[c.Name] = n
		}
		if first, ok := byURL[c.URL]; ok && c.URL != "" {
			report(fmt.Sprintf("[%d].url", n), fmt.Sprintf("is also the url of issuers[%d]: a token could be either's", first))
		} else {
			byURL[c.URL] = n
		}
	}
}

// Check reports everything that is wrong with c by itself.
func (c IssuerConfig) Check(report func(path, problem string)) {
	if c.Name == "" {
		report("name", "is missing: roles, logs and records refer to the issuer by it")
	}
	if problem := checkURL(c.URL); problem != "" {
		report("url", problem)
	}
	if c.Audience == "" {
		report("audience", "is missing: without it, tokens meant for others would be accepted")
	}
	checkWords(report, "tokens", c.Tokens, []string{accessToken, idToken})
	checkWords(report, "algorithms", c.Algorithms, asymmetric)
	checkWords(report, "clients", c.Clients, nil)
	checkWords(report, "access_token_types", c.AccessTokenTypes, nil)
	for n, typ := range c.AccessTokenTypes {
		if slices.Contains(neverTypes, normalType(typ)) {
			report(fmt.Sprintf("access_token_types[%d]", n), "names tokens that do not say who calls; remove it")
		}
	}
	for _, d := range []struct {
		path  string
		value time.Duration
		least time.Duration
		most  time.Duration
	}{
		{"max_lifetime", c.MaxLifetime, time.Second, 0},
		{"clock_skew", c.ClockSkew, 0, maxClockSkew},
		{"max_key_age", c.MaxKeyAge, time.Minute, 0},
	} {
		switch {
		case d.value == 0: // the default
		case d.value < d.least:
			report(d.path, fmt.Sprintf("is %v; want at least %v", d.value, d.least))
		case d.most > 0 && d.value > d.most:
			report(d.path, fmt.Sprintf("is %v; want at most %v", d.value, d.most))
		}
	}
	if c.Kind != "" && !c.Kind.valid() {
		report("kind", "want human, workload or agent")
	}
	for n, rule := range c.KindRules {
		at := fmt.Sprintf("kind_rules[%d].", n)
		checkPath(report, at+"claim", rule.Claim)
		if rule.Value == "" {
			report(at+"value", "is missing")
		}
		if !rule.Kind.valid() {
			report(at+"kind", "want human, workload or agent")
		}
	}
	c.Claims.check(report)
	c.Login.check(report)
}

func (l Login) check(report func(path, problem string)) {
	if l.ClientID == "" && (l.ClientSecret != nil || l.Scopes != nil || l.Title != "" || l.Userinfo || l.LogoutTokenTypes != nil) {
		report("login.client_id", "is missing: register the gateway as a client of the issuer, and write its id here")
	}
	checkWords(report, "login.scopes", l.Scopes, nil)
	if l.Scopes != nil && !slices.Contains(l.Scopes, "openid") {
		report("login.scopes", "want openid among them: without it the issuer gives no ID token")
	}
	checkWords(report, "login.logout_token_types", l.LogoutTokenTypes, nil)
}

func (c ClaimPaths) check(report func(path, problem string)) {
	for _, claim := range []struct{ at, path string }{{"groups", c.Groups}, {"roles", c.Roles}, {"email", c.Email}} {
		if claim.path != "" {
			checkPath(report, "claims."+claim.at, claim.path)
		}
	}
	for n, written := range c.Expose {
		checkPath(report, fmt.Sprintf("claims.expose[%d]", n), written)
	}
}

// checkPath also refuses what would make every token ambiguous: Sub beside sub.
func checkPath(report func(path, problem string), at, written string) {
	p, err := parsePath(written)
	if err != nil {
		report(at, err.Error())
		return
	}
	if known := namesOf(registered...); known.check(object{p.steps[0]: nil}) != nil {
		report(at, fmt.Sprintf("%q differs only in case from a registered claim, and tokens with such a member are refused", p.steps[0]))
	}
}

// checkWords checks an optional list: not empty when it is there, no word twice,
// none that is not among the allowed.
func checkWords(report func(path, problem string), at string, words, allowed []string) {
	if words != nil && len(words) == 0 {
		report(at, "is an empty list; remove it for the default")
	}
	for n, word := range words {
		switch {
		case word == "":
			report(fmt.Sprintf("%s[%d]", at, n), "is empty")
		case slices.Contains(words[:n], word):
			report(fmt.Sprintf("%s[%d]", at, n), fmt.Sprintf("%q is there twice", word))
		case allowed != nil && !slices.Contains(allowed, word):
			report(fmt.Sprintf("%s[%d]", at, n), fmt.Sprintf("%q is none of %s", word, strings.Join(allowed, ", ")))
		}
	}
}

func checkURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return "is missing: it is the iss of the issuer's tokens"
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return "is not a URL such as https://login.example.com"
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "has a user, query or fragment, which an issuer cannot have"
	case strings.ContainsAny(s, "{}"):
		return "is a template; write one issuer for each tenant, with the tenant's id in its url"
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return ""
	}
	return "is not https; http is for loopback addresses only"
}

func (k Kind) valid() bool { return k == Human || k == Workload || k == Agent }

// check is all of it, for those who build a Config without package config.
func (c *Config) check() error {
	var found []error
	report := func(path, problem string) {
		found = append(found, fmt.Errorf("issuers%s: %s", path, problem))
	}
	Check(c.Issuers, report)
	for n, ic := range c.Issuers {
		ic.Check(func(path, problem string) { report(fmt.Sprintf("[%d].%s", n, path), problem) })
	}
	for _, p := range c.Paths {
		checkPath(func(at, problem string) { found = append(found, fmt.Errorf("%s: %s", at, problem)) }, fmt.Sprintf("claim path %q", p), p)
	}
	return errors.Join(found...)
}
