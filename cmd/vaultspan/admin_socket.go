package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vaultspan/vaultspan/config"
)

// operators serves what whoever reaches the admin listener must not see: names
// of secrets are metadata. The file system says who may ask: see listenSocket.
func (s *server) operators(i *instance) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /secrets", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, secretsOf(i.serving.Load())) })
	mux.HandleFunc("GET /sessions", func(w http.ResponseWriter, r *http.Request) { listSessions(w, r, i.serving.Load().sessions) })
	mux.HandleFunc("DELETE /sessions", func(w http.ResponseWriter, r *http.Request) { revokeSessions(w, r, i.serving.Load().sessions) })
	return mux
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	encoder.Encode(v)
}

// listenSocket listens on a Unix socket that the user of this process, and root,
// alone may connect to. What a crash left there is replaced; another gateway's
// is not, and neither is a file of another kind. Closing the listener removes
// the file.
func listenSocket(path string) (net.Listener, error) {
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("the directory %s must be there, and be one that only operators can change: make it (mode 0700)", filepath.Dir(path))
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is there and is no socket: nothing is overwritten, choose another path or move it away", path)
	default:
		if err := removeStale(path); err != nil {
			return nil, err
		}
	}
	// On Linux the mode that the descriptor has is the one that the file is made
	// with, so that there is no moment in which others may connect. Elsewhere it
	// fails, and the mode follows a moment later.
	settings := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) })
	}}
	listener, err := settings.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// removeStale removes a socket that nobody listens on.
func removeStale(path string) error {
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		return errors.Join(fmt.Errorf("%s: another process listens there: end it, or choose another path", path), conn.Close())
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return err
}

// adminSocket is where the gateway of a configuration talks to operators.
// Problems elsewhere in the file do not matter: the gateway may serve an older,
// good one.
func adminSocket(path string, getenv func(string) string) (string, error) {
	cfg, err := config.Load(path, getenv)
	switch {
	case cfg == nil:
		return "", fmt.Errorf("the socket is not known, give --socket: %w", err)
	case cfg.Admin.Socket == "":
		return "", fmt.Errorf("%s names no admin.socket: add one, as in admin: {socket: admin.sock}, and restart the gateway", path)
	}
	return cfg.Admin.Socket, nil
}

// askGateway asks the gateway that listens on a socket, and returns its answer.
func askGateway(ctx context.Context, socket, method, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}).RoundTrip(request)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no socket %s: the gateway is not running, or was started without this admin.socket", socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("nobody listens on %s: the gateway is not running", socket)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s is for the gateway's user: run this as that user, such as with sudo -u vaultspan: %w", socket, fs.ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("asking the gateway on %s: %w", socket, cmp.Or(context.Cause(ctx), err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the gateway's answer: %w", err)
	case response.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("the gateway on %s does not know %s: it is older than this program, or not a gateway", socket, path)
	case response.StatusCode == http.StatusServiceUnavailable && strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain"):
		return nil, fmt.Errorf("the gateway could not do that: %s", strings.TrimSpace(string(body)))
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the gateway on %s answers with status %d", socket, response.StatusCode)
	}
	return body, nil
}
