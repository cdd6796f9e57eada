package vault

import (
	"cmp"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// TokenEndpoint is where an Injection has its tokens minted: a destination of
// its own, for the secret alone. The zero TokenEndpoint mints nothing.
type TokenEndpoint struct {
	Key     string         // the injection's key that it comes from: oauth2.token_url or github_app.api
	URL     *url.URL       // nil: none, or not a URL
	Private []netip.Prefix // private ranges it may be in
	CA      string         // a PEM file; empty: the system's
}

// TokenEndpoint is the injection's, if its kind mints.
func (i Injection) TokenEndpoint() TokenEndpoint {
	var e TokenEndpoint
	var raw string
	switch {
	case i.OAuth2 != nil:
		e = TokenEndpoint{Key: "oauth2.token_url", Private: i.OAuth2.Private, CA: i.OAuth2.CA}
		raw = i.OAuth2.TokenURL
	case i.GitHubApp != nil:
		e = TokenEndpoint{Key: "github_app.api", Private: i.GitHubApp.Private, CA: i.GitHubApp.CA}
		raw = cmp.Or(i.GitHubApp.API, gitHubAPI)
	}
	if u, err := url.Parse(raw); raw != "" && err == nil && u.Host != "" {
		e.URL = u
	}
	return e
}

// TokenCA is where the name of the token endpoint's CA file stands.
func (i Injection) TokenCA() *string {
	switch {
	case i.OAuth2 != nil:
		return &i.OAuth2.CA
	case i.GitHubApp != nil:
		return &i.GitHubApp.CA
	}
	return new(string)
}

// checkMinting is Check for the kinds that mint.
func (i Injection) checkMinting(report func(path, problem string)) {
	if i.Format != "" {
		report("format", "does not go with a kind that mints: give as: {format: …}, of the token")
	}
	if i.OAuth2 != nil {
		i.OAuth2.check(report)
	} else {
		i.GitHubApp.check(report)
	}
}

// wearMinting is wear for the kinds that mint.
func (i Injection) wearMinting(secret string) (w worn, err error) {
	if i.OAuth2 != nil {
		w, err = i.OAuth2.wear(secret)
	} else {
		w, err = i.GitHubApp.wear(secret)
	}
	w.endpoint = i.TokenEndpoint().Destination()
	return w, err
}

// Destination is the only place that the secret goes to.
func (e TokenEndpoint) Destination() Destination {
	if e.URL == nil {
		return Destination{}
	}
	return DestinationOf(e.URL)
}

// checkEndpoint reports what is wrong with the URL at path, and with how it is
// reached.
func checkEndpoint(path, raw string, private []netip.Prefix, report func(path, problem string)) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "" || (u.Scheme != "https" && u.Scheme != "http") || !DestinationOf(u).valid():
		report(path, "want an https URL with a host")
	case u.User != nil || u.Fragment != "" || u.RawQuery != "" || u.ForceQuery:
		report(path, "want a plain URL: no user, query or fragment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		report(path, "a credential does not travel over http: use https (http is for loopback only)")
	}
	for _, p := range private {
		if p.Bits() == 0 {
			report(path[:strings.LastIndexByte(path, '.')+1]+"private", "is every address, metadata services among them: name the ranges")
		}
	}
}

// As says how a minted token is worn.
type As struct {
	// Header names the header that carries the token. Default: Authorization.
	Header string `yaml:"header"`
	// Format is the header's value, with {token} once for the token. Default:
	// "Bearer {token}", and {token} in a header that is named.
	Format string `yaml:"format"`
	// Basic is a user name: the token is the password of HTTP Basic
	// authentication, as git wants it.
	Basic string `yaml:"basic"`
}

const tokenPlaceholder = "{token}"

func (a As) check(path string, report func(path, problem string)) {
	switch {
	case a.Basic != "" && (a.Header != "" || a.Format != ""):
		report(path, "is basic and a header at once: keep one")
		return
	case a.Basic != "":
		if err := userID(a.Basic); err != nil {
			report(path+".basic", err.Error())
		}
		return
	}
	if a.Header != "" {
		Injection{Header: a.Header}.checkName(func(_, problem string) { report(path+".header", problem) })
	}
	if a.Format == "" {
		return
	}
	if strings.Count(a.Format, tokenPlaceholder) != 1 || len(parseFormat(a.Format).names) != 1 {
		report(path+".format", "want "+tokenPlaceholder+" once, and nothing else in braces")
		return
	}
	checkLiterals(a.Format, fieldValue, path+".format", report)
}

// header is where the token goes.
func (a As) header() string {
	return http.CanonicalHeaderKey(cmp.Or(a.Header, "Authorization"))
}

// wear is how a token is put on requests. Its error never quotes the token.
func (a As) wear(token string) (func(*http.Request) error, error) {
	if token == "" || len(token) > maxValue {
		return nil, errors.New("is empty, or longer than 64 KiB")
	}
	if err := fieldValue(token); err != nil {
		return nil, err
	}
	format := cmp.Or(a.Format, tokenPlaceholder)
	switch {
	case a.Basic != "":
		format, token = "Basic "+tokenPlaceholder, base64.StdEncoding.EncodeToString([]byte(a.Basic+":"+token))
	case a.Format == "" && a.Header == "":
		format = "Bearer " + tokenPlaceholder // RFC 6750, section 2.1
	}
	value := strings.Replace(format, tokenPlaceholder, token, 1)
	p := place{header: a.header()}
	return func(r *http.Request) error {
		p.put(r, value)
		return nil
	}, nil
}
