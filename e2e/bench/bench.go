// Package bench is what an end-to-end test puts around the gateway: real
// providers, a vault with planted secrets, upstreams that demand them, and a
// receiver of telemetry; and the gateway itself, as the binary its users run.
//
// All of it listens on free ports of 127.0.0.1 and ends with its context. It
// remembers every secret and token it made, so that Leaks can look for them
// wherever the gateway wrote.
package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vaultspan/vaultspan/authn/devidp"
	"github.com/vaultspan/vaultspan/e2e/dex"
	"github.com/vaultspan/vaultspan/e2e/otlp"
	"github.com/vaultspan/vaultspan/e2e/upstream"
	"github.com/vaultspan/vaultspan/vault/bwemu"
)

// Bench is everything around the gateway.
type Bench struct {
	Vault *bwemu.Emulator
	IdP   *devidp.Provider // issuer A: alice, carol, mallory, ci-deployer, agents
	Dex   *dex.Provider    // issuer B: alice (pay), carol (dev), ci-deployer
	Other *devidp.Provider // an issuer that no gateway knows
	OTLP  *otlp.Receiver
	// Upstreams by name: U1 wants Authorization: Bearer with team-dev/U1_TOKEN,
	// U2 wants X-Api-Key with team-pay/U2_KEY, U3 wants nothing.
	Upstreams map[string]*upstream.Upstream

	env      map[string]string
	secrets  map[string]*planted // by name
	org      *bwemu.Organization
	projects map[string]*bwemu.Project // by name

	mu             sync.Mutex
	tokens         []string            // issued to callers
	further        []string            // canaries of the test's own
	seen           map[string][]byte   // what callers and processes showed, by where
	values         map[string][]string // every value a secret ever had, by upstream
	granted        map[Grant]int
	skew, lifetime time.Duration // of ID tokens for people: see Clock
	refreshing     bool
}

// planted is a secret of the vault and the upstream that demands it.
type planted struct {
	secret   *bwemu.Secret
	upstream string
	prefix   string
}

// Start starts everything but the gateway. Files that hold secrets go to
// secretsDir, which must be outside of what is scanned for leaks.
func Start(ctx context.Context, secretsDir string) (*Bench, error) {
	b := &Bench{
		Vault: bwemu.New(), Upstreams: map[string]*upstream.Upstream{}, secrets: map[string]*planted{},
		values: map[string][]string{},
	}
	var err error
	if err = b.startIdP(ctx); err != nil {
		return nil, err
	}
	if b.Other, err = devidp.Start(ctx, devidp.Config{}); err != nil {
		return nil, err
	}
	b.Dex, err = dex.Start(ctx, dex.Config{
		People:    map[string][]string{"alice": {"pay"}, "carol": {"dev"}}, // the other way round
		Workloads: map[string][]string{"ci-deployer": {"ci"}},
	})
	if err != nil {
		return nil, err
	}
	if b.OTLP, err = otlp.Start(ctx); err != nil {
		return nil, err
	}
	for name, header := range map[string]string{"U1": "Authorization", "U2": "X-Api-Key", "U3": ""} {
		if b.Upstreams[name], err = upstream.Start(ctx, header); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(b.plant(ctx, secretsDir), b.plantPeople(secretsDir)); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return b, nil
}

// plant fills the vault, and says where everything is.
func (b *Bench) plant(ctx context.Context, secretsDir string) error {
	server, err := b.Vault.Start(ctx)
	if err != nil {
		return err
	}
	org := b.Vault.AddOrganization()
	dev, pay := org.AddProject("team-dev"), org.AddProject("team-pay")
	b.org, b.projects = org, map[string]*bwemu.Project{"team-dev": dev, "team-pay": pay}
	b.secrets["U1_TOKEN"] = &planted{upstream: "U1", prefix: "Bearer "}
	b.secrets["U2_KEY"] = &planted{upstream: "U2"}
	for name, project := range map[string]*bwemu.Project{"U1_TOKEN": dev, "U2_KEY": pay} {
		value := "CANARY-" + b.secrets[name].upstream + "-" + rand.Text()
		b.secrets[name].secret = org.AddSecret(name, value, "a note", project)
		b.accept(name, value)
	}
	unbound := "CANARY-UNBOUND-" + rand.Text() // in the vault, of no route
	org.AddSecret("UNBOUND", unbound, "", dev)
	b.Plant(unbound)

	// Two machine accounts that read the same, with two tokens each, to change from
	// one to the other.
	gateway, next := org.AddAccount("gateway", dev, pay), org.AddAccount("gateway-next", dev, pay)
	for file, account := range map[string]*bwemu.Account{
		"bws-token": gateway, "bws-token-renewed": gateway.AddToken("gateway-renewed"), "bws-token-next": next, "bws-token-next-renewed": next.AddToken("gateway-next-renewed"),
	} {
		token := account.AccessToken()
		_, rest, _ := strings.Cut(token, ".")
		_, rest, _ = strings.Cut(rest, ".")
		clientSecret, seed, _ := strings.Cut(rest, ":")
		b.Plant(clientSecret, seed)
		if err := os.WriteFile(filepath.Join(secretsDir, file), []byte(token+"\n"), 0o600); err != nil {
			return err
		}
	}
	b.env = map[string]string{
		"SECRETS": secretsDir, "BW_ORG": org.ID, "BW_API": server.API, "BW_IDENTITY": server.Identity, "BW_ADMIN": server.Admin,
		"IDP": b.IdP.Issuer(), "OTHER_IDP": b.Other.Issuer(), "DEX": b.Dex.Issuer(), "OTLP_GRPC": b.OTLP.GRPC, "OTLP_HTTP": b.OTLP.HTTP,
	}
	for name, u := range b.Upstreams {
		b.env[name], b.env[name+"_HOST"] = u.URL, strings.TrimPrefix(u.URL, "http://")
	}
	return nil
}

// Env says where everything is: SECRETS is the directory with bws-token, the
// vault's access token, bws-token-renewed, another of the same machine account, and
// bws-token-next and bws-token-next-renewed, those of another; BW_ORG, BW_API, BW_IDENTITY and BW_ADMIN are the vault;
// IDP and DEX the issuers; OTLP_GRPC and OTLP_HTTP the receiver; U1, U2 and U3
// the upstreams, and U1_HOST and so on their host:port.
func (b *Bench) Env() map[string]string { return maps.Clone(b.env) }

// Rotate gives a secret another value, which its upstream accepts from now on
// beside the old one.
func (b *Bench) Rotate(name, value string) error {
	p, ok := b.secrets[name]
	if !ok {
		return fmt.Errorf("no secret %s on the bench", name)
	}
	b.accept(name, value)
	p.secret.Rotate(value)
	return nil
}

// Annotate gives a secret another note.
func (b *Bench) Annotate(name, note string) error {
	p, ok := b.secrets[name]
	if !ok {
		return fmt.Errorf("no secret %s on the bench", name)
	}
	p.secret.Annotate(note)
	return nil
}

// AddSecret puts one more secret into a project, of no upstream.
func (b *Bench) AddSecret(project, name, value string) error {
	p := b.projects[project]
	if p == nil {
		return fmt.Errorf("no project %s on the bench", project)
	}
	b.org.AddSecret(name, value, "", p)
	b.Plant(value)
	return nil
}

func (b *Bench) accept(name, value string) {
	p := b.secrets[name]
	b.Upstreams[p.upstream].Accept(p.prefix + value)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.values[p.upstream] = append(b.values[p.upstream], value)
}

// Token gets a caller's token: of a person or workload at the issuer A, of one at
// Dex ("dex:alice") or at the issuer that nobody knows ("other:alice"), of an
// agent acting for a person ("agent-1 for alice"), or one of a person that has
// expired ("expired:alice").
func (b *Bench) Token(ctx context.Context, who string) (token string, err error) {
	agent, person, acting := strings.Cut(who, " for ")
	kind, name, special := strings.Cut(who, ":")
	switch {
	case acting:
		token, err = b.IdP.ActingToken(ctx, agent, person)
	case !special:
		token, err = b.IdP.Token(ctx, who)
	case kind == "dex":
		token, err = b.Dex.Token(ctx, name)
	case kind == "other":
		token, err = b.Other.Token(ctx, name)
	case kind == "expired":
		token, err = b.expired(name)
	default:
		err = fmt.Errorf("no tokens of kind %s on the bench", kind)
	}
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = append(b.tokens, token)
	return token, nil
}

// expired is a token that is good but for its age.
func (b *Bench) expired(person string) (string, error) {
	claims, now := b.IdP.Claims(person), time.Now()
	claims["iat"], claims["nbf"], claims["exp"] = now.Add(-2*time.Hour).Unix(), now.Add(-2*time.Hour).Unix(), now.Add(-time.Hour).Unix()
	return b.IdP.Mint(claims, nil)
}
