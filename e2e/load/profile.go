package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	_ "embed"
)

// profilesVariable tells the profiled gateway where to listen for pprof.
const profilesVariable = "LOAD_PROFILES"

//go:embed profiled/profiled.go
var profiledSource []byte

// profiled builds the gateway with one file more, which serves profiles. No
// gateway that anyone runs has such a door.
func profiled(ctx context.Context, root, dir string) (program string, err error) {
	root, err = filepath.Abs(root)
	if err != nil {
		return "", err
	}
	source, overlay := filepath.Join(dir, "profiled.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "cmd/vaultspan/profiled.go"): source}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(source, profiledSource, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return "", err
	}
	program = filepath.Join(dir, "vaultspan")
	build := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-tags", "profiled", "-o", program, "./cmd/vaultspan")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the gateway: %w\n%s", err, out)
	}
	return program, nil
}

// profiles takes a loop's profiles from a process that has any. The function it
// returns waits until they are written.
func (s session) profiles(ctx context.Context, loop string) (written func() error, err error) {
	if s.child == nil || s.child.profiles == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(s.profile, 0o755); err != nil {
		return nil, err
	}
	kinds := map[string]string{"cpu": "profile", "allocs": "allocs", "mutex": "mutex", "block": "block"}
	results := make(chan error, len(kinds))
	for kind, page := range kinds {
		file := filepath.Join(s.profile, fmt.Sprintf("%s-%s-%s.prof", s.subject.letter, loop, kind))
		url := fmt.Sprintf("http://%s/debug/pprof/%s?seconds=%d", s.child.profiles, page, max(1, int(s.length/time.Second)))
		go func() { results <- save(ctx, url, file) }()
	}
	return func() (err error) {
		for range kinds {
			err = errors.Join(err, <-results)
		}
		return err
	}, nil
}

func save(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, res.Status, data)
	}
	return os.WriteFile(file, data, 0o644)
}
