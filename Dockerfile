# Alpine's Rust links statically, so that the binary runs on nothing. Bases are pinned; Dependabot moves the pins.
FROM rust:1.95-alpine@sha256:606fd313a0f49743ee2a7bd49a0914bab7deedb12791f3a846a34a4711db7ed2 AS build
# The SBOM covers this stage too: Cargo.lock is here, and not in the image.
ARG BUILDKIT_SBOM_SCAN_STAGE=true
WORKDIR /src
# The dependencies first: this layer is built anew only when they change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches tests/it && echo 'fn main() {}' | tee src/main.rs benches/classify.rs benches/webhook.rs tests/simulate.rs && \
    touch src/lib.rs tests/it/main.rs && \
    cargo build --release --locked --bin helmreboot
COPY src src
# Cargo goes by the time of files, and these may be older than the stand-ins.
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin helmreboot

# Certificates and a user; no shell, no libraries.
FROM gcr.io/distroless/static-debian13:nonroot@sha256:e2e927ec666bae08560abb3c55d0659eceabb657f56b6782ab500a9fc7f555e3
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="helmreboot" \
      org.opencontainers.image.description="Restarts Flux HelmReleases that failed for a transient cause" \
      org.opencontainers.image.source="https://github.com/helmreboot/helmreboot" \
      org.opencontainers.image.url="https://github.com/helmreboot/helmreboot" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /src/target/release/helmreboot /usr/local/bin/helmreboot
USER 65532:65532
EXPOSE 9292 8080 8081
ENTRYPOINT ["/usr/local/bin/helmreboot"]
CMD ["serve"]
