# One static binary and the CA bundle; no shell, no package manager, no state.
#
#   docker build -t dtrotate .
#   docker run --read-only --cap-drop=ALL --security-opt=no-new-privileges -v ./dtrotate:/etc/dtrotate:ro dtrotate
#
# The folder `dtrotate` holds dtrotate.toml and the credential files that it names, readable by user 65532.

# By its digest the same image builds the same program:
#
#   docker build --build-arg RUST_IMAGE="$(docker image inspect --format '{{index .RepoDigests 0}}' rust:1-bookworm)" -t dtrotate .
ARG RUST_IMAGE=rust:1-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# Static glibc. --target is given also for the machine's own platform: without it the flag would reach build scripts and
# procedural macros, which cannot be static.
# An allocator for arm64 must be built for the largest pages that a kernel may have.
RUN target="$(rustc --print host-tuple)" \
 && case "$target" in aarch64-*) export JEMALLOC_SYS_WITH_LG_PAGE=16 ;; esac \
 && RUSTFLAGS='-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs' cargo build --release --locked --bin dtrotate --target "$target" \
 && install -D "target/$target/release/dtrotate" /out/usr/bin/dtrotate \
 && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt

FROM scratch
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dtrotate" \
      org.opencontainers.image.description="Rotates Dynatrace tokens on cron schedules and keeps the current value in HashiCorp Vault or OpenBao" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/ /
# A number, so that Kubernetes can prove runAsNonRoot.
USER 65532:65532
# Health and metrics, reachable from outside the container. The status page is not unless DTROTATE_OPS__DETAILS=always: through a
# published port nobody comes from loopback.
ENV DTROTATE_OPS__LISTEN=0.0.0.0:9780
EXPOSE 9780
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["/usr/bin/dtrotate", "health"]
ENTRYPOINT ["/usr/bin/dtrotate"]
CMD ["run"]
