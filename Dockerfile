# syntax=docker/dockerfile:1

# Alpine's Rust links statically, so that the binary runs on nothing.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev
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
FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="helmreboot" \
      org.opencontainers.image.description="Heals Flux HelmReleases that failed for a passing reason" \
      org.opencontainers.image.source="https://github.com/helmreboot/helmreboot" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /src/target/release/helmreboot /usr/local/bin/helmreboot
USER 65532:65532
EXPOSE 9292 8080 8081
ENTRYPOINT ["/usr/local/bin/helmreboot"]
CMD ["serve"]
