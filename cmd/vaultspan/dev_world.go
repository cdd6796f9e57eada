package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vaultspan/vaultspan/authn/devidp"
	"github.com/vaultspan/vaultspan/vault/bwemu"
)

// Where the stand-ins are, always, so that configurations can be written against
// them.
const (
	devIssuer       = "http://127.0.0.1:7701"
	devBitwarden    = "127.0.0.1:7702"
	devOrganization = "de7de7de-0000-4000-8000-000000000000"
)

// devWorld is what "vaultspan dev" runs. Its fields and methods are for the
// guide.
type devWorld struct {
	People   []devidp.Person
	Clients  []devidp.Client
	Login    devLogin
	Secrets  []devSecret
	APIs     []devAPI
	Accounts []devAccount
}

// devSecret is a secret of the emulator.
type devSecret struct{ Project, Name string }

// value follows from the name: another process, such as the one that prints it,
// has the same.
func (s devSecret) value() string {
	sum := sha256.Sum256([]byte("vaultspan dev\x00" + s.Project + "/" + s.Name))
	return "dev-" + hex.EncodeToString(sum[:12])
}

// devLogin is the client that people log in to with a browser.
type devLogin struct {
	ID      string
	Origins []string // where the gateway may be
}

// secret is the client's.
func (l devLogin) secret() string { return devSecret{"client", l.ID}.value() }

// client is how the provider knows it.
func (l devLogin) client() devidp.Client {
	c := devidp.Client{ID: l.ID, Secret: l.secret, BackChannelLogoutURI: l.Origins[0] + "/.vaultspan/backchannel-logout"}
	for _, origin := range l.Origins {
		c.RedirectURIs = append(c.RedirectURIs, origin+"/.vaultspan/callback")
		c.PostLogoutRedirectURIs = append(c.PostLogoutRedirectURIs, origin+"/.vaultspan/signed-out")
	}
	return c
}

// devAPI is an API that demands a secret, or none.
type devAPI struct {
	Name, Address string
	Secret        devSecret
	Demands       string // for people
	handler       http.Handler
}

// devAccount is a machine account.
type devAccount struct {
	Name     string
	Projects []string
}

func newDevWorld() *devWorld {
	secret := func(project, name string) (devSecret, *keyed) {
		s, keys := devSecret{project, name}, &keyed{}
		keys.accept(s.value())
		return s, keys
	}
	payments, paymentsKeys := secret("payments", "PAYMENTS_API_KEY")
	search, searchKeys := secret("search", "SEARCH_API_KEY")
	openAI, openAIKeys := secret("llm", "OPENAI_API_KEY")
	anthropic, anthropicKeys := secret("llm", "ANTHROPIC_API_KEY")
	gemini, geminiKeys := secret("llm", "GEMINI_API_KEY")
	is := func(kind string) map[string]any { return map[string]any{"kind": kind} }
	return &devWorld{
		People: []devidp.Person{
			{Subject: "alice", Name: "Alice Ames", Email: "alice@example.com", Groups: []string{"payments"}},
			{Subject: "carol", Name: "Carol Cruz", Email: "carol@example.com", Groups: []string{"search"}},
			{Subject: "mallory", Name: "Mallory Moss", Email: "mallory@example.com"},
		},
		Clients: []devidp.Client{
			{ID: "shop", Groups: []string{"services"}, Claims: is("workload")},
			{ID: "batch", Groups: []string{"services"}, Claims: is("workload")},
			{ID: "agent-1", Groups: []string{"agents"}, Claims: is("agent")},
			{ID: "agent-2", Groups: []string{"agents"}, Claims: is("agent")},
		},
		// What init writes listens at the first.
		Login: devLogin{"vaultspan", []string{
			"http://127.0.0.1:8443", "http://localhost:8443", "https://127.0.0.1:8443", "https://localhost:8443",
		}},
		Secrets: []devSecret{payments, search, openAI, anthropic, gemini, {"telemetry", "LIGHTSTEP_ACCESS_TOKEN"}},
		APIs: []devAPI{
			{"payments", "127.0.0.1:7711", payments, "Authorization: Bearer …", paymentsAPI(paymentsKeys)},
			{"search", "127.0.0.1:7712", search, "X-Api-Key: …", searchAPI(searchKeys)},
			{"wiki", "127.0.0.1:7713", devSecret{}, "nothing", wikiAPI()},
			{"openai", "127.0.0.1:7721", openAI, "Authorization: Bearer …", llmAPI(openAIKeys)},
			{"anthropic", "127.0.0.1:7722", anthropic, "x-api-key: …", llmAPI(anthropicKeys)},
			{"gemini", "127.0.0.1:7723", gemini, "x-goog-api-key: …", geminiAPI(geminiKeys)},
		},
		Accounts: []devAccount{
			{"gateway", []string{"payments", "search", "llm", "telemetry"}},
			{"payments", []string{"payments"}}, {"search", []string{"search"}},
		},
	}
}

func (w *devWorld) Issuer() string       { return devIssuer }
func (w *devWorld) Bitwarden() string    { return "http://" + devBitwarden }
func (w *devWorld) Organization() string { return devOrganization }
func (w *devWorld) Vaultspan() string    { return self() }

// vault fills an emulator, and returns its machine accounts by name.
func (w *devWorld) vault() (*bwemu.Emulator, map[string]*bwemu.Account) {
	emulator := bwemu.New()
	organization := emulator.AddFixedOrganization(devOrganization)
	projects := map[string]*bwemu.Project{}
	for _, s := range w.Secrets {
		if projects[s.Project] == nil {
			projects[s.Project] = organization.AddProject(s.Project)
		}
		organization.AddSecret(s.Name, s.value(), "", projects[s.Project])
	}
	accounts := map[string]*bwemu.Account{}
	for _, a := range w.Accounts {
		var reads []*bwemu.Project
		for _, name := range a.Projects {
			reads = append(reads, projects[name])
		}
		accounts[a.Name] = organization.AddAccount(a.Name, reads...)
	}
	return emulator, accounts
}

func (w *devWorld) accessToken(account string) (string, error) {
	_, accounts := w.vault()
	if a := accounts[account]; a != nil {
		return a.AccessToken(), nil
	}
	var names []string
	for _, a := range w.Accounts {
		names = append(names, a.Name)
	}
	return "", fmt.Errorf("no machine account %s: there is %s", account, strings.Join(names, ", "))
}

// serve listens everywhere or nowhere, until ctx ends. What fails later goes to
// failed.
func (w *devWorld) serve(ctx context.Context, failed chan<- error) error {
	emulator, _ := w.vault()
	provider, err := devidp.New(devidp.Config{Issuer: devIssuer, People: w.People, Clients: append(w.Clients, w.Login.client())})
	if err != nil {
		return err
	}
	handlers := map[string]http.Handler{strings.TrimPrefix(devIssuer, "http://"): provider, devBitwarden: emulator}
	for _, api := range w.APIs {
		handlers[api.Address] = api.handler
	}
	var listeners []net.Listener
	closeAll := func() {
		for _, l := range listeners {
			l.Close()
		}
	}
	for address := range handlers {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			closeAll()
			return err
		}
		listeners = append(listeners, listener)
	}
	context.AfterFunc(ctx, closeAll)
	for _, listener := range listeners {
		server := &http.Server{Handler: handlers[listener.Addr().String()], ReadHeaderTimeout: 10 * time.Second}
		go func() {
			if err := server.Serve(listener); !errors.Is(err, net.ErrClosed) {
				select {
				case failed <- err:
				default:
				}
			}
		}()
	}
	return nil
}

// Groups is for the guide.
func (w *devWorld) Groups(groups []string) string {
	return "[" + strings.Join(slices.Sorted(slices.Values(groups)), ", ") + "]"
}
