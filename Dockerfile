# syntax=docker/dockerfile:1

# Alpine's Rust links statically, so that the binary runs on nothing.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin helmreboot && \
    cp target/release/helmreboot /helmreboot

# Certificates and a user; no shell, no libraries.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /helmreboot /helmreboot
USER 65532:65532
EXPOSE 9292 8080 8081
ENTRYPOINT ["/helmreboot"]
CMD ["serve"]
