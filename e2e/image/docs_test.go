package image_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/vaultspan/vaultspan/e2e/bench"
)

// guide is docs/container.md.
func guide(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "docs", "container.md"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// snippets are the YAML of the guide, in its order: the configuration, Compose,
// Kubernetes.
func snippets(t *testing.T) [][]byte {
	t.Helper()
	var found [][]byte
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(guide(t), -1) {
		found = append(found, m[1])
	}
	if len(found) != 3 {
		t.Fatalf("docs/container.md has %d pieces of YAML", len(found))
	}
	return found
}

func TestTheConfigurationOfTheGuideIsRightInTheImage(t *testing.T) {
	image := theImage(t)
	etc, secrets := t.TempDir(), t.TempDir()
	box := start(t, image, mount{etc, "/etc/vaultspan", false}, mount{secrets, "/run/secrets", true}, mount{t.TempDir(), "/var/lib/vaultspan/audit", true})
	if err := os.Chown(secrets, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	if out, err := box.do(t.Context(), "audit", "keygen", "gw.example.com/audit", "--out", "/run/secrets/audit.key"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	certificate(t, filepath.Join(secrets, "tls.crt"), filepath.Join(secrets, "tls.key"))
	const token = "0.ec2c1d46-6a4b-4751-a310-af9601317f2d.C2IgxjjLF7qSshsbwe8JGcbM075YXw:X8vbvA0bduihIDe/qrzIQQ=="
	for name, text := range map[string][]byte{filepath.Join(etc, "vaultspan.yaml"): snippets(t)[0], filepath.Join(secrets, "bws-prod"): []byte(token)} {
		if err := errors.Join(os.WriteFile(name, text, 0o400), os.Chown(name, 65532, 65532)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := box.do(t.Context(), "check", "--config", "/etc/vaultspan/vaultspan.yaml")
	if err != nil || bytes.Contains([]byte(out), []byte("warning")) {
		t.Errorf("check: %v: %s", err, out)
	}
}

// certificate writes a certificate of its own and its key, for the image's user.
func certificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	c, err := bench.NewCertificate("gw.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string][]byte{certFile: c.PEM, keyFile: c.Key} {
		if err := errors.Join(os.WriteFile(file, text, 0o400), os.Chown(file, 65532, 65532)); err != nil {
			t.Fatal(err)
		}
	}
}

// at walks into decoded YAML: a name of a mapping, or an index of a list.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			v = v.(map[string]any)[step]
		case int:
			v = v.([]any)[step]
		}
		if v == nil {
			t.Fatalf("the guide has nothing at %v", path)
		}
	}
	return v
}

func TestComposeAndKubernetesOfTheGuideFitTheImage(t *testing.T) {
	image := theImage(t)
	var compose any
	if err := yaml.Unmarshal(snippets(t)[1], &compose); err != nil {
		t.Fatalf("Compose: %v", err)
	}
	service := at(t, compose, "services", "vaultspan")
	same(t, "read_only", at(t, service, "read_only"), true)
	same(t, "cap_drop", at(t, service, "cap_drop"), []any{"ALL"})
	for volume := range image.Config.Volumes {
		if !slices.Contains(at(t, service, "volumes").([]any), any("audit:"+volume)) {
			t.Errorf("Compose mounts nothing at %s", volume)
		}
	}
	var objects []any
	for in := yaml.NewDecoder(bytes.NewReader(snippets(t)[2])); ; {
		var object any
		if err := in.Decode(&object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("Kubernetes: %v", err)
		}
		objects = append(objects, object)
	}
	pod := at(t, objects, 0, "spec", "template", "spec")
	same(t, "runAsNonRoot", at(t, pod, "securityContext", "runAsNonRoot"), true)
	same(t, "fsGroup", fmt.Sprintf("%v:%[1]v", at(t, pod, "securityContext", "fsGroup")), image.Config.User)
	container := at(t, pod, "containers", 0)
	same(t, "readOnlyRootFilesystem", at(t, container, "securityContext", "readOnlyRootFilesystem"), true)
	var check []any
	for _, word := range image.Config.Healthcheck.Test[1:] {
		check = append(check, word)
	}
	same(t, "livenessProbe", at(t, container, "livenessProbe", "exec", "command"), check)
	same(t, "readinessProbe", at(t, container, "readinessProbe", "exec", "command"), append(check, "--ready"))
	same(t, "the volumes' names", at(t, objects, 0, "spec", "volumeClaimTemplates", 0, "metadata", "name"), at(t, container, "volumeMounts", 2, "name"))
	same(t, "selector", at(t, objects, 1, "spec", "selector"), at(t, objects, 0, "spec", "template", "metadata", "labels"))
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}
