# The two commands of the README are "make demo" and "make test".
# Prerequisites: Go, a C compiler (the Bitwarden SDK is linked with cgo) and,
# for some tests, Node. "make need-NAME" says which is missing.

export CGO_ENABLED := 1
TOOL := go tool -modfile=tools/go.mod
VERSION_LDFLAGS := -s -w

.PHONY: demo test check build vuln bench need-go need-cc need-node

demo: build
	@bin/vaultspan demo

build: need-go need-cc
	@mkdir -p bin
	go build -trimpath -buildmode=pie -ldflags '$(VERSION_LDFLAGS)' -o bin/vaultspan ./cmd/vaultspan

test: need-go need-cc
	go test -race -timeout 9m ./...
	cd e2e && go test -timeout 9m ./...

check: need-go need-cc
	@unformatted="$$(gofmt -l .)"; if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	cd e2e && go vet ./...
	go fix -diff ./...
	$(TOOL) staticcheck ./...
	go test -run 'TestRepo' .

vuln: need-go
	$(TOOL) govulncheck ./...

need-go:
	@command -v go >/dev/null || { echo "vaultspan is built with Go 1.26 or later: see go.dev/doc/install, or install Debian's golang"; exit 1; }

need-cc:
	@command -v $${CC:-cc} >/dev/null || { echo "the Bitwarden SDK needs a C compiler: apt-get install gcc libc6-dev"; exit 1; }

need-node:
	@command -v node >/dev/null || { echo "this test drives a Node client: apt-get install nodejs npm"; exit 1; }
