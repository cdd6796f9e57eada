# The gateway alone, on nothing: no shell, no libraries, no user but its own.
#
#   docker build -t vaultspan .
#   docker buildx build --platform linux/amd64,linux/arm64 -t vaultspan .
#
# The compiler runs on the building machine whatever the platform asked for. How
# to run the image is in docs/container.md. Without a Docker engine: make image.

ARG GO=golang:1.26-bookworm

FROM --platform=$BUILDPLATFORM ${GO} AS toolchain
ARG BUILDARCH
ARG TARGETARCH
RUN set -e; \
    case $TARGETARCH in \
        $BUILDARCH) gcc=gcc ;; \
        amd64) gcc=gcc-x86-64-linux-gnu ;; \
        arm64) gcc=gcc-aarch64-linux-gnu ;; \
        *) echo "Bitwarden's SDK has no library for $TARGETARCH" >&2; exit 1 ;; \
    esac; \
    dpkg --add-architecture $TARGETARCH; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates git make $gcc musl-dev:$TARGETARCH; \
    rm -rf /var/lib/apt/lists/*

FROM toolchain AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    make build-static ARCH=$TARGETARCH STATIC=/out/vaultspan
RUN set -e; \
    mkdir -p /out/root/etc/ssl/certs /out/root/etc/vaultspan /out/root/var/lib/vaultspan /out/root/licenses; \
    install -m 0755 /out/vaultspan /out/root/vaultspan; \
    install -m 0644 LICENSE /out/root/licenses/LICENSE; \
    install -m 0644 /etc/ssl/certs/ca-certificates.crt /out/root/etc/ssl/certs/; \
    echo 'vaultspan:x:65532:65532::/:/nonexistent' >/out/root/etc/passwd; \
    echo 'vaultspan:x:65532:' >/out/root/etc/group; \
    mkdir -m 0700 /out/audit

FROM scratch
COPY --from=build /out/root /
COPY --from=build --chown=65532:65532 /out/audit /var/lib/vaultspan/audit
ARG REVISION
LABEL org.opencontainers.image.title="vaultspan" \
      org.opencontainers.image.description="An identity-aware proxy that lends credentials without giving them away" \
      org.opencontainers.image.source="https://github.com/vaultspan/vaultspan" \
      org.opencontainers.image.documentation="https://github.com/vaultspan/vaultspan/blob/main/docs/container.md" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-Bitwarden-SDK" \
      com.github.vaultspan.notice="Contains Bitwarden's SDK, github.com/bitwarden/sdk-go, under a licence of its own that restricts offering what is built with it to third parties. Read it before you distribute this image."
USER 65532:65532
WORKDIR /
EXPOSE 8443
VOLUME /var/lib/vaultspan/audit
STOPSIGNAL SIGTERM
# Whether the process serves, not whether an issuer or a vault is down: a restart
# would lose the secrets held, and mend neither.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["/vaultspan", "health", "--config", "/etc/vaultspan/vaultspan.yaml"]
ENTRYPOINT ["/vaultspan"]
CMD ["serve", "--config", "/etc/vaultspan/vaultspan.yaml"]
