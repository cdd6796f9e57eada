package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/vaultspan/vaultspan/authn/devidp"
	"github.com/vaultspan/vaultspan/vault/bwemu"
)

// roleSets is how many different sets of groups, each with several of the
// configuration's roles, the tokens have.
const roleSets = 100

// world is what stands around the subjects, for all rounds the same.
type world struct {
	dir        string
	upstream   *process
	address    string // of the upstream
	credential string // what the upstream wants
	warm       [][]byte
	cold       [][]byte

	issuer       *devidp.Provider
	server       *bwemu.Server
	organization string
	collector    string // URL
}

// newWorld starts an issuer, a vault and a collector in this process, an
// upstream in one of its own, and signs the tokens. All of it ends with ctx.
func newWorld(ctx context.Context, dir string, algorithm string, tokens int) (*world, error) {
	w := &world{dir: dir, credential: "up-" + rand.Text()}
	var err error
	w.issuer, err = devidp.Start(ctx, devidp.Config{Algorithm: jose.SignatureAlgorithm(algorithm), Lifetime: 12 * time.Hour})
	if err != nil {
		return nil, err
	}
	emulator := bwemu.New()
	organization := emulator.AddOrganization()
	project := organization.AddProject("bench")
	organization.AddSecret("UPSTREAM_KEY", w.credential, "", project)
	account := organization.AddAccount("gateway", project).AccessToken()
	if w.server, err = emulator.Start(ctx); err != nil {
		return nil, err
	}
	w.organization = organization.ID
	for file, secret := range map[string]string{"bws.token": account, "fingerprint.key": rand.Text()} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(secret+"\n"), 0o600); err != nil {
			return nil, err
		}
	}
	if w.collector, err = collect(ctx); err != nil {
		return nil, err
	}
	if w.warm, err = w.requests("warm", roleSets); err != nil {
		return nil, err
	}
	if w.cold, err = w.requests("cold", tokens); err != nil {
		return nil, err
	}
	if w.address, err = freeAddress(); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log := filepath.Join(dir, "upstream.log")
	w.upstream, err = start(ctx, log, self, []string{credentialVariable + "=" + w.credential}, roleUpstream, w.address, "")
	if err != nil {
		return nil, err
	}
	return w, w.upstream.ready(ctx, listening(w.address))
}

// collect takes all telemetry and keeps none.
func collect(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf") // an empty message: all was taken
	})}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.Serve(listener)
	return "http://" + listener.Addr().String(), nil
}

// requests are n requests as bytes, each with a token of a caller of its own.
func (w *world) requests(who string, n int) ([][]byte, error) {
	made := make([][]byte, n)
	errs := make([]error, runtime.GOMAXPROCS(0))
	var signing sync.WaitGroup
	for worker := range errs {
		signing.Go(func() {
			for i := worker; i < n && errs[worker] == nil; i += len(errs) {
				made[i], errs[worker] = w.request(fmt.Sprintf("%s-%06d", who, i), i%roleSets)
			}
		})
	}
	signing.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return made, nil
}

// request is one request of a caller who has a set of roles.
func (w *world) request(subject string, set int) ([]byte, error) {
	claims := w.issuer.Claims(subject)
	claims["email"], claims["email_verified"] = subject+"@example.com", true
	claims["groups"] = []string{"everyone", group(set), group(set + 1), group(set * 7), "office-berlin"}
	token, err := w.issuer.Mint(claims, nil)
	return asking(token), err
}

// group is one of the groups that the configuration's roles are for.
func group(n int) string { return fmt.Sprintf("group-%d", n%roleSets) }

// asking is a request with a bearer token or credential.
func asking(bearer string) []byte {
	return []byte("GET /bench/v1/things?page=2 HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load/1\r\nAccept: application/json\r\n" +
		"Authorization: Bearer " + bearer + "\r\n\r\n")
}
