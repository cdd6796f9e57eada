package main

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/config"
)

//go:embed init_config.yaml
var initConfig string

// draft is what init knows of the configuration to be. Its methods are for the
// template.
type draft struct {
	Issuer, Audience, Tokens, Group     string
	Organization, Server, Vault         string
	Upstream, SecretName, Inject, Route string
	AuditDir, AdminSocket, Login        string
}

// question is one thing that init must know.
type question struct {
	flag, usage string
	answer      func(*draft) *string
	prompt      string              // empty: not asked, the default is good enough to begin with
	fallback    func(*draft) string // the default; nil: there is none
	optional    bool                // it may stay empty
	example     string              // stands for the answer while others are checked
	about       *regexp.Regexp      // the paths of the configuration that the answer decides
}

func always(word string) func(*draft) string { return func(*draft) string { return word } }

// questions are all of them, in the order in which they are asked. A problem is
// of the first whose about matches its path.
var questions = []question{
	{
		flag: "issuer", usage: "the `URL` of the OpenID provider: the iss of its tokens",
		prompt: "OpenID provider (its issuer URL, such as https://login.example.com)", example: "https://login.example.com",
		answer: func(d *draft) *string { return &d.Issuer }, about: regexp.MustCompile(`^issuers\[0\]\.url`),
	},
	{
		flag: "audience", usage: "what a token's `aud` must contain (default vaultspan)",
		prompt: "Audience that its tokens are for", fallback: always("vaultspan"),
		answer: func(d *draft) *string { return &d.Audience }, about: regexp.MustCompile(`^issuers\[0\]\.audience`),
	},
	{
		flag: "tokens", usage: "which `kind` of token callers send: access or id (default access)",
		fallback: always("access"),
		answer:   func(d *draft) *string { return &d.Tokens }, about: regexp.MustCompile(`^issuers\[0\]\.tokens`),
	},
	{
		flag: "group", usage: "the `name` of the group whose members may use the route",
		prompt: "Group whose members may use the route", example: "payments",
		answer: func(d *draft) *string { return &d.Group }, about: regexp.MustCompile(`^roles\..*\.members`),
	},
	{
		flag: "organization", usage: "the id of the Bitwarden organization, a `UUID`",
		prompt: "Bitwarden organization (a UUID: it is in the address of the web vault)", example: "5f1c2a77-0000-4000-8000-000000000000",
		answer: func(d *draft) *string { return &d.Organization }, about: regexp.MustCompile(`\.bitwarden\.organization`),
	},
	{
		flag: "server", usage: "`where` Bitwarden is: us, eu, or the URL of a server of your own (default us)",
		prompt: "Bitwarden server: us, eu, or the URL of your own", fallback: always("us"),
		answer: func(d *draft) *string { return &d.Server }, about: regexp.MustCompile(`\.bitwarden\.(api|identity)`),
	},
	{
		flag: "vault", usage: "the `name` of the vault, as collections begin (default prod)",
		fallback: always("prod"),
		answer:   func(d *draft) *string { return &d.Vault }, about: regexp.MustCompile(`^vaults\.`),
	},
	{
		flag: "upstream", usage: "the `URL` of the API that wants the secret",
		prompt: "API that wants the secret (a URL such as https://api.stripe.com)", example: "https://api.example.com",
		answer: func(d *draft) *string { return &d.Upstream }, about: regexp.MustCompile(`^routes\[0\]\.(upstream|private)`),
	},
	{
		flag: "secret", usage: "the secret, as `PROJECT/NAME`",
		prompt: "Secret for it, as PROJECT/NAME", example: "project/NAME",
		answer: func(d *draft) *string { return &d.SecretName }, about: regexp.MustCompile(`^routes\[0\]\.secret|\.collections`),
	},
	{
		flag: "inject", usage: "`how` the API takes it: bearer, basic, header=NAME, basic=USER, query=NAME or cookie=NAME (default bearer)",
		prompt: "How the API takes it: bearer, header=NAME, basic=USER, query=NAME or cookie=NAME", fallback: always("bearer"),
		answer: func(d *draft) *string { return &d.Inject }, about: regexp.MustCompile(`^routes\[0\]\.inject`),
	},
	{
		flag: "route", usage: "the `name` of the route: it takes what is below /NAME/ (default after the upstream)",
		prompt: "Name of the route, which takes what is below /NAME/", fallback: func(d *draft) string { return nameOf(d.Upstream) },
		answer: func(d *draft) *string { return &d.Route }, about: regexp.MustCompile(`^(routes|roles)`),
	},
	{
		flag: "login", usage: "the `client` that people log in to with a browser, by its id at the issuer (default: nobody does)",
		prompt: "Client that people log in to with a browser, by its id at the issuer (empty: nobody does)", fallback: always(""), optional: true,
		answer: func(d *draft) *string { return &d.Login }, about: regexp.MustCompile(`^issuers\[0\]\.login|^sessions`),
	},
	{
		flag: "audit-dir", usage: "the `directory` of the audit log (default audit, beside the configuration)",
		fallback: always("audit"),
		answer:   func(d *draft) *string { return &d.AuditDir }, about: regexp.MustCompile(`^audit\.`),
	},
	{
		flag: "admin-socket", usage: "the socket `file` for operators (default admin.sock, beside the configuration)",
		fallback: always("admin.sock"),
		answer:   func(d *draft) *string { return &d.AdminSocket }, about: regexp.MustCompile(`^admin\.socket`),
	},
}

// nameOf is a short name for an upstream: stripe for https://api.stripe.com.
func nameOf(upstream string) string {
	u, err := url.Parse(upstream)
	if err != nil {
		return "api"
	}
	labels := strings.Split(u.Hostname(), ".")
	if _, err := netip.ParseAddr(u.Hostname()); err == nil || len(labels) < 2 {
		return "api"
	}
	return labels[len(labels)-2]
}

// complete finds an answer to every question: a flag, a person, or the default.
// Flags are judged first, so that nobody answers in vain.
func (p *program) complete(ctx context.Context, d *draft, in *terminal, ask bool) error {
	var wrong, missing []string
	for _, q := range questions {
		if given := *q.answer(d); given != "" {
			if err := d.judge(q, given); err != nil {
				wrong = append(wrong, fmt.Sprintf("--%s: %v", q.flag, err))
			}
		} else if !ask && q.fallback == nil {
			missing = append(missing, "--"+q.flag)
		}
	}
	if len(missing) > 0 {
		wrong = append(wrong, "there is nobody to ask for "+strings.Join(missing, ", ")+": give them as flags, or run this on a terminal")
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "\n"))
	}
	for _, q := range questions {
		answer := q.answer(d)
		if *answer != "" {
			continue
		}
		fallback := ""
		if q.fallback != nil {
			fallback = q.fallback(d)
		}
		if !ask || q.prompt == "" {
			*answer = fallback
			continue
		}
		given, err := in.ask(ctx, asking{text: q.prompt, fallback: fallback, check: func(given string) error { return d.judge(q, given) }})
		if err != nil {
			return err
		}
		*answer = given
	}
	return nil
}

// judge says what is wrong with an answer, whatever the others will be: it looks
// for problems of a configuration in which examples stand for them.
func (d *draft) judge(of question, answer string) error {
	switch {
	case answer == "" && of.optional:
		return nil
	case answer == "":
		return errors.New("this has no default")
	}
	whole := *d
	for _, q := range questions {
		if a := q.answer(&whole); *a == "" {
			*a = q.example
			if q.fallback != nil {
				*a = q.fallback(&whole)
			}
		}
	}
	*of.answer(&whole) = answer
	problems, err := whole.problems()
	if err != nil {
		return err
	}
	for _, p := range slices.Backward(problems) { // what stands last says it best: a route after its roles
		i := slices.IndexFunc(questions, func(q question) bool { return q.about.MatchString(p.Path) })
		switch {
		case i >= 0 && questions[i].flag != of.flag:
		case p.Hint != "":
			return fmt.Errorf("%s: %s", p.Text, p.Hint)
		default:
			return errors.New(p.Text)
		}
	}
	return nil
}

// problems are those of the configuration, beside keys of no meaning.
func (d *draft) problems() (_ config.Problems, err error) {
	dir, err := os.MkdirTemp("", "vaultspan-init-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	text, err := d.text()
	if err != nil {
		return nil, err
	}
	private, _, err := audit.Keygen("draft")
	if err != nil {
		return nil, err
	}
	token := "0.00000000-0000-4000-8000-000000000000.draft:" + base64.StdEncoding.EncodeToString(make([]byte, 16))
	for name, text := range map[string]string{
		"vaultspan.yaml": text, "audit.key": private, "fingerprint.key": randomKey(), d.TokenFile(): token,
		"session.key": randomKey(), loginSecret: "draft",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	_, err = config.Load(filepath.Join(dir, "vaultspan.yaml"), nil)
	problems, _ := errors.AsType[config.Problems](err)
	return problems, nil
}

// text is the configuration.
func (d *draft) text() (string, error) {
	t, err := template.New("").Funcs(template.FuncMap{"q": quote}).Option("missingkey=error").Parse(initConfig)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, d)
	return out.String(), err
}

var plain = regexp.MustCompile(`^([A-Za-z/][A-Za-z0-9_./-]*|https?://[A-Za-z0-9_./:-]*[A-Za-z0-9_/-])$`)

// quote is a word as YAML reads it back.
func quote(word string) (string, error) {
	if plain.MatchString(word) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(word)) {
		return word, nil
	}
	text, err := json.Marshal(word) // which YAML reads too
	return string(text), err
}

// API is the base URL of Bitwarden's API, if it is not the default.
func (d *draft) API() string { return d.service("api") }

// Identity is that of its identity service.
func (d *draft) Identity() string { return d.service("identity") }

func (d *draft) service(name string) string {
	switch d.Server {
	case "us":
		return ""
	case "eu":
		return "https://" + name + ".bitwarden.eu"
	}
	return strings.TrimSuffix(d.Server, "/") + "/" + name
}

// TokenFile is where the access token is.
func (d *draft) TokenFile() string { return "bws-" + filepath.Base(d.Vault) }

// loginSecret is where the secret of the client is that people log in to.
const loginSecret = "login.secret"

// LoginSecret is how the configuration says so.
func (d *draft) LoginSecret() string { return "${file:" + loginSecret + "}" }

// TokenRef is how the configuration says so.
func (d *draft) TokenRef() string { return "${file:" + d.TokenFile() + "}" }

// Secret is the reference vault/collection/name; the vault may be left out.
func (d *draft) Secret() string {
	if strings.Count(d.SecretName, "/") == 1 {
		return d.Vault + "/" + d.SecretName
	}
	return d.SecretName
}

// Collection is the secret's.
func (d *draft) Collection() string {
	if i := strings.LastIndex(d.Secret(), "/"); i > 0 {
		return d.Secret()[:i]
	}
	return d.Secret()
}

// Role is who may use the route.
func (d *draft) Role() string { return d.Route + "-users" }

// Match is the route's pattern.
func (d *draft) Match() string { return "/" + d.Route + "/" }

// Strip is what the upstream does not see.
func (d *draft) Strip() string { return "/" + d.Route }

// Worn is the value of inject.
func (d *draft) Worn() (string, error) {
	kind, name, named := strings.Cut(d.Inject, "=")
	if !named || !slices.Contains([]string{"header", "basic", "query", "cookie"}, kind) {
		return quote(d.Inject)
	}
	name, err := quote(name)
	if kind == "basic" {
		name = "{user: " + name + "}"
	}
	return "{" + kind + ": " + name + "}", err
}

// origin names the audit log, as no other is named.
func (d *draft) origin() string {
	host, err := os.Hostname()
	if err != nil || strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" {
		host = "vaultspan"
	}
	return cmp.Or(host, "vaultspan") + "/" + strings.ToLower(rand.Text()[:8])
}
