package vault

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// gitHubAPI is GitHub's own; a GitHub Enterprise Server has /api/v3.
const gitHubAPI = "https://api.github.com"

// GitHubApp is for GitHub's API and git: the App's private key, which is the
// secret, never leaves. It signs a statement of ten minutes, which GitHub
// exchanges for an installation token of an hour, and that is worn.
type GitHubApp struct {
	// App is the App's id, in quotes, or its client id. Required.
	App string `yaml:"app"`
	// Installation is the id of the App's installation: the number at the end
	// of the address of its settings page. Required.
	Installation int64 `yaml:"installation"`
	// Repositories narrows the token to these, named without their owner.
	// Default: every repository of the installation.
	Repositories []string `yaml:"repositories"`
	// Permissions narrows the token to these: such as contents: read, with
	// read, write or admin. GitHub adds metadata: read. Required.
	Permissions map[string]string `yaml:"permissions"`
	// API is the base URL of GitHub's API. Default: https://api.github.com.
	API string `yaml:"api"`
	// As says how the token is worn: {basic: x-access-token} for git. Default:
	// Authorization: Bearer.
	As As `yaml:"as"`
	// Private lists the private ranges api may resolve to. Without it only
	// public addresses are dialed; loopback only when api says so.
	Private []netip.Prefix `yaml:"private"`
	// CA is a PEM file of certificate authorities for api. Default: the
	// system's.
	CA string `yaml:"ca"`
}

// levels are what a permission may be, each with all before it.
var levels = []string{"read", "write", "admin"}

func (a *GitHubApp) check(report func(path, problem string)) {
	if a.App == "" || !isWord(a.App) {
		report("github_app.app", "want the App's id, in quotes, or its client id")
	}
	if a.Installation <= 0 {
		report("github_app.installation", "want the installation's id, a number: it ends the address of the installation's settings page")
	}
	for i, name := range a.Repositories {
		if !isWord(name) {
			report(fmt.Sprintf("github_app.repositories[%d]", i), "is not a repository's name: write it without its owner")
		}
	}
	if len(a.Permissions) == 0 {
		report("github_app.permissions", "is missing: say what the token may do, as in {contents: read}")
	}
	for name, level := range a.Permissions {
		if !isWord(name) || !slices.Contains(levels, level) {
			report("github_app.permissions."+name, "want a permission of the App with read, write or admin, as in contents: read")
		}
	}
	if a.API != "" {
		checkEndpoint("github_app.api", a.API, a.Private, report)
	}
	a.As.check("github_app.as", report)
}

func isWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !isUnreserved(r) })
}

// wear makes the App's key ready. What it signs is for GitHub's API alone.
func (a *GitHubApp) wear(secret string) (worn, error) {
	key, err := parseKey(secret)
	if err != nil {
		return worn{}, err
	}
	return worn{
		shape: shapeOf("github_app", a),
		mint: func(ctx context.Context, c *http.Client) (granted, error) {
			statement, err := a.statement(key, time.Now())
			if err != nil {
				return granted{}, &mintError{NoCredential, errors.New("the App's key cannot sign")}
			}
			return a.exchange(ctx, c, statement)
		},
		values: func() []string { return nil }, // the key stays here: nobody has it to send back
	}, nil
}

// parseKey reads PEM, PKCS #1 as GitHub gives it out, or PKCS #8. Its error
// never quotes the key.
func parseKey(secret string) (*rsa.PrivateKey, error) {
	block, rest := pem.Decode([]byte(secret))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("is not one private key in PEM form, -----BEGIN and -----END and line breaks included")
	}
	defer clear(block.Bytes)
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, errors.New("is PEM of another kind than a private key without a passphrase")
	}
	found, ok := key.(*rsa.PrivateKey)
	if err != nil || !ok || found.N.BitLen() < 2048 {
		return nil, errors.New("is not an RSA key of at least 2048 bits")
	}
	return found, nil
}

// statement is a JWT that says who the App is (RFC 7519, RS256): GitHub takes
// one that began a minute ago, for clocks, and ends within ten minutes.
func (a *GitHubApp) statement(key *rsa.PrivateKey, now time.Time) (string, error) {
	encode := base64.RawURLEncoding.EncodeToString
	claims, err := json.Marshal(map[string]any{"iss": a.App, "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(9 * time.Minute).Unix()})
	if err != nil {
		return "", err
	}
	text := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	return text + "." + encode(signature), err
}

// asked is what a token is narrowed to.
type asked struct {
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions"`
}

// installationToken is GitHub's answer.
type installationToken struct {
	Token        string            `json:"token"`
	Expires      time.Time         `json:"expires_at"`
	Permissions  map[string]string `json:"permissions"`
	Selection    string            `json:"repository_selection"`
	Repositories []struct {
		Name string `json:"name"`
	} `json:"repositories"`
}

// exchange asks for a token of the installation.
func (a *GitHubApp) exchange(ctx context.Context, c *http.Client, statement string) (granted, error) {
	body, err := json.Marshal(asked{a.Repositories, a.Permissions})
	if err != nil {
		return granted{}, err
	}
	target := strings.TrimSuffix(cmp.Or(a.API, gitHubAPI), "/") + "/app/installations/" + strconv.FormatInt(a.Installation, 10) + "/access_tokens"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return granted{}, err
	}
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	r.Header.Set("Authorization", "Bearer "+statement)
	res, err := c.Do(r)
	if err != nil {
		return granted{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		return granted{}, gitHubFailure(res)
	}
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return granted{}, err
	}
	var t installationToken
	if err := json.Unmarshal(answer, &t); err != nil {
		return granted{}, err // failed says no more than that
	}
	if wider := a.wider(t); wider != "" {
		return granted{}, &mintError{NoCredential, fmt.Errorf("granted %s, which was not asked for: the token is not used", wider)}
	}
	put, err := a.As.wear(t.Token)
	if err != nil {
		return granted{}, &mintError{NoToken, fmt.Errorf("the token %w", err)}
	}
	life := time.Until(t.Expires)
	if life <= 0 {
		return granted{}, &mintError{NoToken, errors.New("the token had expired before it came, or does not say when it does: is our clock right?")}
	}
	return granted{put: put, reveal: func() string { return t.Token }, life: life}, nil
}

// wider says what a token may do beyond what was asked, as far as the answer
// says so. It names only what is in the answer's closed lists.
func (a *GitHubApp) wider(t installationToken) string {
	for _, name := range slices.Sorted(maps.Keys(t.Permissions)) {
		if name == "metadata" && t.Permissions[name] == "read" {
			continue // comes with every permission
		}
		have, want := slices.Index(levels, t.Permissions[name]), slices.Index(levels, a.Permissions[name])
		if have < 0 || have > want {
			return "a permission"
		}
	}
	if len(a.Repositories) == 0 {
		return ""
	}
	if t.Selection == "all" {
		return "all repositories"
	}
	for _, repository := range t.Repositories {
		if !slices.ContainsFunc(a.Repositories, func(name string) bool { return strings.EqualFold(name, repository.Name) }) {
			return "another repository"
		}
	}
	return ""
}

// gitHubErrors say what an operator would do about a status.
var gitHubErrors = map[int]string{
	http.StatusUnauthorized:        "it does not take the App's signature: is this the App's key, the App's id, and our clock right?",
	http.StatusForbidden:           "it does not let the App have a token: is the installation suspended?",
	http.StatusNotFound:            "it does not know the installation, or not as this App's: see installation",
	http.StatusUnprocessableEntity: "the installation has not these repositories or permissions: see repositories and permissions",
}

// gitHubFailure sorts an answer without a token, by who has to act. GitHub
// limits by 403 too.
func gitHubFailure(res *http.Response) error {
	limited := res.Header.Get("Retry-After") != "" || res.Header.Get("X-RateLimit-Remaining") == "0"
	hint, known := gitHubErrors[res.StatusCode]
	if isPassing(res.StatusCode) || limited || res.StatusCode < 300 {
		return &mintError{NoToken, fmt.Errorf("answered %d, and no token", res.StatusCode)}
	}
	if !known {
		hint = "see api"
	}
	return &mintError{NoCredential, fmt.Errorf("answered %d: %s", res.StatusCode, hint)}
}
