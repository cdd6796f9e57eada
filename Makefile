# The two commands of the README are "make demo" and "make test".
# Prerequisites: Go, a C compiler (the Bitwarden SDK is linked with cgo) and,
# for some tests, Node. "make need-NAME" says which is missing.

export CGO_ENABLED := 1
TOOL := go tool -modfile=tools/go.mod
VERSION_LDFLAGS := -s -w

.PHONY: demo test check build build-static image vuln bench bench-micro need-go need-cc need-musl need-node

demo: build
	@bin/vaultspan demo

build: need-go need-cc
	@mkdir -p bin
	go build -trimpath -buildmode=pie -ldflags '$(VERSION_LDFLAGS)' -o bin/vaultspan ./cmd/vaultspan

# The tests of deploy run the gateway without importing it, so go test cannot know
# when their results are old.
test: need-go need-cc
	go test -race -timeout 9m ./...
	cd e2e && go test -timeout 9m ./...
	cd deploy && go test -count=1 -timeout 9m ./...

check: need-go need-cc
	@unformatted="$$(gofmt -l .)"; if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	cd e2e && go vet ./...
	cd deploy && go vet ./...
	go fix -diff ./...
	$(TOOL) staticcheck ./...
	go test -run 'TestRepo' .

# build-static makes a binary that needs nothing beside it: linked with musl, and
# position-independent. The same commit and tools make the same bytes anywhere: Go's
# build id, which hashes the builder's environment, is left out. ARCH is amd64 or
# arm64; elsewhere than on Debian, say MUSL_CC and MUSL_LIB.
ARCH ?= $(shell go env GOARCH)
STATIC ?= bin/vaultspan-linux-$(ARCH)
MUSL_amd64 := x86_64-linux-musl
MUSL_arm64 := aarch64-linux-musl
MUSL_CC ?= $(MUSL_$(ARCH))-gcc
MUSL_LIB ?= /usr/lib/$(MUSL_$(ARCH))
# What -static-pie means to gcc; musl-gcc's specs do not know it. rcrt1.o is the
# start of a program that relocates itself; -z text leaves no code writable. musl
# gives threads 128 KiB of stack: the SDK, whose calls run there, gets 2 MiB.
STATIC_PIE = -static -nostartfiles -Wl,-pie,--no-dynamic-linker,-z,text,-z,stack-size=2097152,--build-id=none \
	$(MUSL_LIB)/rcrt1.o $(MUSL_LIB)/crti.o $(MUSL_LIB)/crtn.o

build-static: need-go need-musl
	GOOS=linux GOARCH=$(ARCH) GOAMD64=v1 GOARM64=v8.0 GOFLAGS=-mod=readonly \
	CC='$(MUSL_CC)' CGO_CFLAGS='-O2 -g' CGO_LDFLAGS='-O2 -g' \
	go build -trimpath -buildvcs=true -buildmode=pie -tags netgo,osusergo \
		-ldflags '$(VERSION_LDFLAGS) -buildid= -linkmode external -extldflags "$(strip $(STATIC_PIE))"' -o $(STATIC) ./cmd/vaultspan

# image runs the Dockerfile without a Docker engine, as root, and writes an OCI
# layout. This machine's Go and musl stand for the first stage, unless IMAGE_FLAGS
# is empty: then that stage installs them, on Debian, and for both IMAGE_ARCHS.
IMAGE ?= bin/vaultspan-image.tar
IMAGE_ARCHS ?= $(ARCH)
IMAGE_FLAGS ?= -host toolchain

image: need-go
	@mkdir -p $(dir $(IMAGE))
	go run -C tools ./image -o $(abspath $(IMAGE)) -archs '$(IMAGE_ARCHS)' $(IMAGE_FLAGS) \
		-cache /go/pkg/mod=$(shell go env GOMODCACHE) -cache /root/.cache/go-build=$(shell go env GOCACHE) $(CURDIR)

# bench compares what a request costs with proxies that do less, and prints one
# table; SECONDS=2 is a first impression, BENCH_FLAGS=-help lists the rest.
SECONDS ?= 10
BENCH_FLAGS ?=

bench: build
	cd e2e && go build -o ../bin/load ./load
	@bin/load -seconds $(SECONDS) $(BENCH_FLAGS)

# bench-micro measures the steps of a request by themselves, for benchstat.
BENCH_COUNT ?= 6

bench-micro: need-go need-cc
	go test -run '^$$' -count $(BENCH_COUNT) -bench '^Benchmark(Bearer|Hit|Miss|Lease|Intent)$$' ./authn ./policy ./vault ./audit
	cd e2e && go test -run '^$$' -count $(BENCH_COUNT) -bench '^BenchmarkSpanTree$$' ./load

vuln: need-go
	$(TOOL) govulncheck ./...

need-go:
	@command -v go >/dev/null || { echo "vaultspan is built with Go 1.26 or later: see go.dev/doc/install, or install Debian's golang"; exit 1; }

need-cc:
	@command -v $${CC:-cc} >/dev/null || { echo "the Bitwarden SDK needs a C compiler: apt-get install gcc libc6-dev"; exit 1; }

need-musl:
	@command -v '$(MUSL_CC)' >/dev/null && test -e '$(MUSL_LIB)/rcrt1.o' || { \
		echo "a static build for $(ARCH) needs musl: $(MUSL_CC), and rcrt1.o in $(MUSL_LIB)"; \
		echo "  Debian, for its own architecture:  apt-get install musl-tools"; \
		echo "  Debian, for another:               dpkg --add-architecture arm64 && apt-get update && apt-get install gcc-aarch64-linux-gnu musl-dev:arm64"; \
		echo "  elsewhere:                         make build-static MUSL_CC=musl-gcc MUSL_LIB=/usr/lib/musl/lib"; exit 1; }

need-node:
	@command -v node >/dev/null || { echo "this test drives a Node client: apt-get install nodejs npm"; exit 1; }
