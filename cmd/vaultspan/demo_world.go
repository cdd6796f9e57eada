package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	_ "embed"

	"github.com/vaultspan/vaultspan/audit"
	"github.com/vaultspan/vaultspan/authn/devidp"
	"github.com/vaultspan/vaultspan/config"
	"github.com/vaultspan/vaultspan/vault/bwemu"
)

//go:embed demo_config.yaml
var demoConfig string

//go:embed demo_guide.txt
var demoGuide string

// demoClient is the client that people log in to.
const demoClient = "vaultspan"

// world is everything around the gateway that an operator would bring: an
// OpenID provider, a secret manager and upstreams, all on loopback.
type world struct {
	Listen, Admin string // where the gateway will listen

	Issuer      string // of the OpenID provider
	loginSecret string // of the client that people log in to

	API, Identity, Organization string // of the secret manager
	accessToken                 string

	Payments, LLM, Wiki string // base URLs of the upstreams
	Control             string // base URL that rotates the secret

	auditPrivate, AuditPublic string

	secret    *bwemu.Secret
	payments  *keyed
	listeners []net.Listener
	stop      context.CancelFunc
}

// newWorld starts the surroundings. They end with ctx or with close.
func newWorld(ctx context.Context) (_ *world, err error) {
	w := &world{}
	ctx, w.stop = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.Listen, err = freeAddress(); err != nil {
		return nil, err
	}
	if w.Admin, err = freeAddress(); err != nil {
		return nil, err
	}
	people, clients := devidp.Cast()
	login := devLogin{demoClient, []string{"http://" + w.Listen}}
	clients = slices.DeleteFunc(clients, func(c devidp.Client) bool { return c.ID == demoClient })
	provider, err := devidp.Start(ctx, devidp.Config{People: people, Clients: append(clients, login.client())})
	if err != nil {
		return nil, err
	}
	w.loginSecret = login.secret()
	w.Issuer = provider.Issuer()

	emulator := bwemu.New()
	organization := emulator.AddOrganization()
	payments, llm := organization.AddProject("payments"), organization.AddProject("llm")
	paymentsKey, llmKey := "pay_"+rand.Text(), "sk-"+rand.Text()
	note := "The key of the payments API.\n\nvaultspan: {owner: payments team, max_age: 90d, expires: " + time.Now().AddDate(1, 0, 0).Format(time.DateOnly) + "}"
	w.secret = organization.AddSecret("PAYMENTS_API_KEY", paymentsKey, note, payments)
	organization.AddSecret("LLM_API_KEY", llmKey, "", llm)
	w.accessToken = organization.AddAccount("vaultspan", payments, llm).AccessToken()
	w.Organization = organization.ID
	server, err := emulator.Start(ctx)
	if err != nil {
		return nil, err
	}
	w.API, w.Identity = server.API, server.Identity

	w.payments = &keyed{}
	w.payments.accept(paymentsKey)
	llmKeys := &keyed{}
	llmKeys.accept(llmKey)
	for url, handler := range map[*string]http.Handler{
		&w.Payments: paymentsAPI(w.payments), &w.LLM: llmAPI(llmKeys), &w.Wiki: wikiAPI(), &w.Control: http.HandlerFunc(w.rotate),
	} {
		if *url, err = w.serve(handler); err != nil {
			return nil, err
		}
	}
	w.auditPrivate, w.AuditPublic, err = audit.Keygen("vaultspan-demo")
	return w, err
}

// serve starts an upstream on loopback.
func (w *world) serve(handler http.Handler) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	w.listeners = append(w.listeners, listener)
	go (&http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}).Serve(listener) // until close
	return "http://" + listener.Addr().String(), nil
}

func (w *world) close() {
	w.stop()
	for _, listener := range w.listeners {
		listener.Close()
	}
}

// rotate gives the payments secret a new value, in the secret manager and at
// the upstream, which takes the two newest.
func (w *world) rotate(out http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/rotate" {
		http.Error(out, "want POST /rotate", http.StatusNotFound)
		return
	}
	value := "pay_" + rand.Text()
	w.payments.accept(value)
	w.secret.Rotate(value)
	fmt.Fprintln(out, "rotated PAYMENTS_API_KEY; the gateway will know within 2 s")
}

// writeConfig writes what an operator would: the configuration and the files
// that hold its secrets.
func (w *world) writeConfig(dir string) (string, error) {
	text, err := w.fill(demoConfig, w)
	path := filepath.Join(dir, "vaultspan.yaml")
	return path, errors.Join(err,
		os.WriteFile(path, []byte(text), 0o600),
		os.WriteFile(filepath.Join(dir, "bws.token"), []byte(w.accessToken+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "audit.key"), []byte(w.auditPrivate+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "audit.pub"), []byte(w.AuditPublic+"\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "fingerprint.key"), []byte(rand.Text()+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "login.secret"), []byte(w.loginSecret+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "session.key"), []byte(randomKey()+"\n"), 0o600),
	)
}

// guide is what the demo prints first.
func (w *world) guide(cfg *config.Config, dir string) (string, error) {
	return w.fill(demoGuide, map[string]string{
		"Gateway": "http://" + cfg.Listen, "Admin": "http://" + cfg.Admin.Listen, "Issuer": w.Issuer,
		"Control": w.Control, "Dir": dir, "Vaultspan": self(),
	})
}

func (w *world) fill(text string, data any) (string, error) {
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, data)
	return out.String(), err
}

// freeAddress finds a loopback port that nobody uses now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
