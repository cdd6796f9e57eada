package vault

import (
	"cmp"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Injection says how an upstream wants its credential: the word bearer, basic
// or mtls, or exactly one of header, basic, query, cookie, path, sigv4, oauth2
// and github_app. The zero Injection carries nothing anywhere.
type Injection struct {
	// Header names the header that carries the credential. The caller's own is
	// removed, however it is spelled.
	Header string `yaml:"header"`
	// Basic is for HTTP Basic authentication (RFC 7617). The word basic, alone,
	// is for a secret that is a JSON object with username and password.
	Basic Basic `yaml:"basic"`
	// Query names the parameter of the query that carries the credential,
	// percent-encoded. It is put after the caller's query, which is left as it
	// is; a request that has one of this name itself is refused. Prefer a
	// header where the upstream takes one: servers log queries.
	Query string `yaml:"query"`
	// Cookie names the cookie that carries the credential. The caller's own of
	// this name is removed, and the upstream cannot set it at the caller.
	Cookie string `yaml:"cookie"`
	// Path is put before the path that the upstream would see, as in
	// /bot{secret}: segments, of which one has the placeholders that format
	// takes, percent-encoded. Policies and records see the path without it.
	Path string `yaml:"path"`
	// SigV4 is for services of AWS, and those that speak as they do: the gateway
	// signs each request.
	SigV4 SigV4 `yaml:"sigv4"`
	// Format is the value of the header, parameter or cookie. {secret}, once,
	// stands for the secret. If the secret is a JSON object, {token} stands for
	// its field token, as in "{username}:{token}": a field is text, and is
	// named with letters, digits, _ and -. Default: {secret}.
	Format string `yaml:"format"`
	// OAuth2 exchanges the secret at an authorization server for a token that
	// lives shortly: the upstream sees the token alone.
	OAuth2 *OAuth2 `yaml:"oauth2"`
	// GitHubApp signs with the secret, an App's private key, for a token of
	// GitHub's that lives for an hour: the upstream sees the token alone.
	GitHubApp *GitHubApp `yaml:"github_app"`
	bearer    bool
	mtls      bool
}

// Basic is the user and the password of HTTP Basic authentication. Both take
// placeholders as format does.
type Basic struct {
	// User is the user name, such as svc, or the part of the secret that is it.
	// Default: {username}.
	User string `yaml:"user"`
	// Password is the part of the secret that is the password. Default: {secret}
	// with a plain user, {password} with a user made of fields, and no password
	// when the user is {secret}.
	Password string `yaml:"password"`
}

// Bearer is what the word bearer means: Authorization: Bearer {secret}
// (RFC 6750, section 2.1).
func Bearer() Injection { return Injection{bearer: true} }

// MTLS is what the word mtls means: connections to the upstream show a client
// certificate. The secret is the certificate with its chain and its key, as PEM
// one after the other, or a JSON object with certificate and key.
func MTLS() Injection { return Injection{mtls: true} }

// OnConnection says that the credential is on the connection, not on the
// request: it needs TLS, and a connection serves one version of it.
func (i Injection) OnConnection() bool { return i.mtls }

// CheckOwn reports why the secret may not be another for each caller. A connection
// with a certificate on it is kept for the next request, and a token for all who
// may use its secret: neither may be of one caller.
func (i Injection) CheckOwn(report func(problem string)) {
	if i.mtls || i.OAuth2 != nil || i.GitHubApp != nil {
		report("mtls, oauth2 and github_app are for a secret that is the same for all callers, for a connection or a token serves more than one request: name one without {}")
	}
}

// UnmarshalText reads the word bearer, basic or mtls, the only scalars an
// Injection may be.
func (i *Injection) UnmarshalText(text []byte) error {
	switch string(text) {
	case "bearer":
		*i = Bearer()
	case "mtls":
		*i = MTLS()
	case "basic":
		*i = Injection{Basic: Basic{}.complete()}
	default:
		return errors.New("want " + ways)
	}
	return nil
}

// ways are all there are to write an injection.
const ways = `the word bearer, basic or mtls, or one of {header: NAME, format: "Token {secret}"}, {basic: {user: NAME}}, {query: NAME}, {cookie: NAME}, {path: "/bot{secret}"}, {sigv4: {region: NAME, service: NAME}}, {oauth2: {token_url: URL}} and {github_app: {app: ID, installation: ID}}`

// Places lists the canonical names of the headers that the injection sets: a
// caller's own are removed before. A credential that goes into the query or a
// cookie sets no header whole: see the fields Query and Cookie.
func (i Injection) Places() []string {
	switch {
	case i.SigV4 != (SigV4{}):
		return slices.Clone(sigV4Places)
	case i.Path != "", i.mtls:
		return nil
	}
	if p := i.place(); p.header != "" {
		return []string{p.header}
	}
	return nil
}

// place is where on a request a credential goes: one of the names is set.
type place struct{ header, query, cookie string }

func (i Injection) place() place {
	switch {
	case i.bearer, i.Basic != Basic{}:
		return place{header: "Authorization"}
	case i.OAuth2 != nil:
		return place{header: i.OAuth2.As.header()}
	case i.GitHubApp != nil:
		return place{header: i.GitHubApp.As.header()}
	case i.Query != "":
		return place{query: i.Query}
	case i.Cookie != "":
		return place{cookie: i.Cookie}
	}
	return place{header: http.CanonicalHeaderKey(i.Header)}
}

// complete returns b with the documented defaults.
func (b Basic) complete() Basic {
	if b.User == "" {
		b.User = "{username}"
	}
	if b.Password != "" {
		return b
	}
	switch user := parseFormat(b.User); {
	case len(user.names) == 0:
		b.Password = placeholder
	case !user.whole():
		b.Password = "{password}"
	}
	return b
}

// compose is what is put on requests for secret: the value of the header, or
// the whole name=value of the parameter or cookie. It refuses a value that the
// place cannot carry as it is, so that a broken secret is never sent in part,
// and an empty one never as a bare "Bearer ".
func (i Injection) compose(secret string) (string, error) {
	c, err := open(secret)
	if err != nil {
		return "", err
	}
	defer c.close()
	if i.Basic != (Basic{}) {
		return i.Basic.complete().compose(c)
	}
	format := cmp.Or(i.Format, placeholder)
	switch {
	case i.bearer:
		return c.fill("Bearer "+placeholder, fieldValue)
	case i.Query != "":
		value, err := c.fill(format, fieldValue)
		// RFC 3986, section 2.3: what is not unreserved is encoded. A + is a
		// space only to those who read the query as a form.
		return i.Query + "=" + strings.ReplaceAll(url.QueryEscape(value), "+", "%20"), err
	case i.Cookie != "":
		value, err := c.fill(format, cookieOctets)
		return i.Cookie + "=" + value, err
	}
	return c.fill(format, fieldValue)
}

// compose is RFC 7617, section 2. UTF-8 is what it recommends, and ASCII.
func (b Basic) compose(c *contents) (string, error) {
	user, err := c.fill(b.User, userID)
	if err != nil {
		return "", err
	}
	password, err := c.fill(b.Password, plainText)
	if err != nil {
		return "", err
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)), nil
}

// put sets the credential on r. It changes neither a URL nor a slice of values
// that r may share with others.
func (p place) put(r *http.Request, credential string) {
	if p.query != "" {
		u := *r.URL
		u.RawQuery = withParameter(u.RawQuery, credential)
		r.URL = &u
		return
	}
	name, values := p.header, []string{credential}
	if p.cookie != "" {
		name = "Cookie"
		values = withCookie(r.Header[name], p.cookie, credential)
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	removeAliases(r.Header, name)
	removeAliases(r.Trailer, name)
	r.Header[name] = values
}
