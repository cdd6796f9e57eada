// Package config reads vaultspan.yaml into checked values.
//
// It reports every problem at once, each with its line and what to do about it,
// and it refuses whatever could mean something other than what was written:
// unknown keys, keys given twice, anchors and aliases, a second document, a
// number where a word is meant, an empty list, a reference to nothing. A Config
// that Load returns without an error needs no further check.
//
// Secrets are never in the file. A secret field says where its value is:
//
//	access_token: "${file:bws-prod}"   # relative to vaultspan.yaml; one final newline is not part of it
//	access_token: "${env:BWS_TOKEN}"
//
// The value is behind a func, so no way of printing a Config shows it, and no
// problem quotes a value that may be a secret in the wrong place. What the files
// say is trusted: who can write them is the operator.
package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn"
	"github.com/vaultspan/vaultspan/authn/assertion"
	"github.com/vaultspan/vaultspan/authn/session"
	"github.com/vaultspan/vaultspan/policy"
	"github.com/vaultspan/vaultspan/proxy"
	"github.com/vaultspan/vaultspan/telemetry"
	"github.com/vaultspan/vaultspan/vault"
)

// Config is vaultspan.yaml. File names in it are relative to the file's
// directory, and absolute once loaded.
type Config struct {
	// Listen is where callers connect: host:port. Default: 127.0.0.1:8443.
	Listen string `yaml:"listen"`
	// URL is how callers reach us: scheme://host[:port]. It is never taken from
	// a request. Required unless listen is a loopback address; then the default
	// is listen's own.
	URL string `yaml:"url"`
	// TLS is the certificate callers see. Without it the listener speaks plain
	// HTTP/1.1, on loopback only.
	TLS TLS `yaml:"tls"`
	// InsecurePlaintextListen lets a listener without TLS be reached from beyond
	// loopback, for when something in front ends TLS. Tokens then travel in the
	// clear between the two. Default: false.
	InsecurePlaintextListen bool `yaml:"insecure_plaintext_listen"`
	// TrustedProxies are the peers whose X-Forwarded-For is believed. Default:
	// none.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// Admin is what operators reach: health, metrics, and a socket.
	Admin Admin `yaml:"admin"`
	// ShutdownGrace is how long requests under way may take to end after a
	// signal; then they are cut. Default: 30s.
	ShutdownGrace time.Duration `yaml:"shutdown_grace"`

	// Issuers are the OpenID providers whose tokens are accepted. Required
	// unless every route is open to anyone.
	Issuers []authn.IssuerConfig `yaml:"issuers"`
	// Sessions is how people who log in with a browser stay logged in, on routes
	// that say session: true.
	Sessions session.Config `yaml:"sessions"`
	// Assertions is how upstreams are told who is calling, on routes that say
	// assertion: true.
	Assertions assertion.Config `yaml:"assertions"`
	// Vaults are the machine accounts, one for each environment, by the name
	// that collections begin with.
	Vaults map[string]vault.Config `yaml:"vaults"`
	// FingerprintKey keys the fingerprints of secrets' versions: at least 16
	// random bytes, as openssl rand -hex 32 writes them, apart from audit.key.
	// Default: a random key for each start, so that fingerprints can be compared
	// only until a restart.
	FingerprintKey func() string `yaml:"fingerprint_key"`
	// Roles is the RBAC table.
	Roles map[string]policy.Role `yaml:"roles"`
	// Policy names the operator's own Rego modules.
	Policy policy.Config `yaml:"policy"`
	// Routes say which requests go where, wearing which credential. Required.
	Routes []proxy.Route `yaml:"routes"`
	// Audit is the evidence. Required.
	Audit audit.Config `yaml:"audit"`
	// Telemetry is where traces, metrics and logs go.
	Telemetry telemetry.Config `yaml:"telemetry"`

	files    []string
	warnings Problems
	doc      func() *document // behind a func: a document holds the text of the file
}

// TLS is a certificate and its key, PEM files. They are read again when they
// change.
type TLS struct {
	// Cert is the file of the certificate chain.
	Cert string `yaml:"cert"`
	// Key is the file of the private key.
	Key string `yaml:"key"`
}

// Admin is the listener for health and metrics, which asks nobody who they are,
// and the socket for operators.
type Admin struct {
	// Listen is its address. Default: 127.0.0.1:9443.
	Listen string `yaml:"listen"`
	// InsecureListen lets it be reached from beyond loopback: anyone there can
	// read metrics and readiness, in plaintext. Default: false.
	InsecureListen bool `yaml:"insecure_listen"`
	// Socket is a Unix socket for what only operators may see and do, with vaultspan
	// secrets status and vaultspan sessions: whoever may open the file, which is the gateway's
	// user alone (mode 0600). Its directory must be there. Default: none.
	Socket string `yaml:"socket"`
}

// Files lists every file the configuration was made of, to watch. A file that
// is missing is listed too.
func (c *Config) Files() []string { return c.files }

// Warnings are what works, but should be looked at.
func (c *Config) Warnings() Problems { return c.warnings }

// Problem is a problem at a path of this configuration, such as
// vaults.prod.bitwarden, found after it was loaded.
func (c *Config) Problem(path, text string) Problems {
	return Problems{c.doc().revealed(c.doc().problem(path, text))}
}

// maxFile is the most that vaultspan.yaml may hold.
const maxFile = 1 << 20

// Load reads the file at path, and what it names, and checks all of it. The
// error is Problems, all of them. Beside it stands what could be read, for
// further checks, or nil if that is nothing; it must not be served.
func Load(path string, getenv func(string) string) (*Config, error) {
	doc := &document{file: path, places: make(map[string]place)}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, Problems{{File: path, Text: "cannot be found: " + err.Error()}}
	}
	text, err := readFile(absolute, maxFile)
	if err != nil {
		p := Problem{File: path, Text: err.Error()}
		if errors.Is(err, errAbsent) {
			p.Hint = `name it with --config, or begin one with "vaultspan init"`
		}
		return nil, Problems{p}
	}
	root := doc.parse(text)
	if root == nil {
		return nil, doc.problems.sorted()
	}
	d := decoder{document: doc, dir: filepath.Dir(absolute), getenv: getenv, secretFiles: make(map[string]string)}
	c := &Config{doc: func() *document { return doc }, files: []string{absolute}}
	d.decode(root, reflect.ValueOf(c).Elem(), "")
	c.files = append(c.files, d.files...)
	c.complete(d.dir)
	c.check(d.secretFiles)
	slices.Sort(c.files)
	c.files = slices.Compact(c.files)
	for _, w := range append(d.warnings, c.advise()...) {
		c.warnings = append(c.warnings, doc.revealed(w))
	}
	if len(doc.problems) == 0 {
		return c, nil
	}
	for i, p := range doc.problems {
		doc.problems[i] = doc.revealed(p)
	}
	return c, doc.problems.sorted()
}

var errAbsent = errors.New("the file does not exist")

// readFile reads a regular file of at most limit bytes. Anything else, such as
// a pipe, could block or have no end. The error does not repeat the name.
func readFile(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errAbsent
	case err != nil:
		return nil, errors.New("cannot be read: " + reason(err))
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Size() > limit:
		return nil, errors.New("the file is too large")
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, errors.New("cannot be read: " + reason(err))
	}
	return text, nil
}

// reason is the cause of a file system error without the name.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
