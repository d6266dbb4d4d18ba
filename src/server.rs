//! HTTP: who may ask what, and what they are answered. Never sees Kubernetes.

use std::{io, net::TcpListener, time::Duration};

use axum::Router;
use axum_server::{
    Handle,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper_util::rt::TokioTimer;

use connections::Connections;

pub mod admin;
pub mod connections;
pub mod tls;

/// How long a client may take to send its request line and headers: port scanners and slow attackers
/// hold a connection no longer than that.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes of request line and headers; beyond that hyper answers 431 by itself.
/// notification-controller sends less than 1 KiB.
const HEADER_LIMIT: usize = 8 * 1024;

/// Serves `router` on an already bound listener until `handle` says stop; with `tls`, over nothing else. A
/// connection without a request stays open for `keep_alive`.
///
/// # Errors
/// The listener breaks.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    handle: Handle<std::net::SocketAddr>,
    tls: Option<RustlsConfig>,
    connections: Connections,
    keep_alive: Duration,
) -> io::Result<()> {
    let mut server = axum_server::from_tcp(listener)?
        // Flux speaks HTTP/1.1, and the limits below are limits of it.
        .http1_only()
        .handle(handle)
        .first_request_timeout(HEADER_TIMEOUT);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        // hyper waits no longer than this for the next request of a connection; the first has its own limit.
        .header_read_timeout(keep_alive)
        .max_buf_size(HEADER_LIMIT);
    let service = router.into_make_service();
    match tls {
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(tls)
                .handshake_timeout(HEADER_TIMEOUT)
                .acceptor(connections);
            server.acceptor(acceptor).serve(service).await
        }
        None => server.acceptor(connections).serve(service).await,
    }
}
