//! The ports.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context;

/// The ports, bound.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Listeners {
    pub webhook: TcpListener,
    pub metrics: TcpListener,
    pub probes: TcpListener,
    /// The page, where it has a port of its own.
    pub dashboard: Option<TcpListener>,
}

/// Binds `host:port`; an empty host is every interface, over IPv6 too where the machine has it.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(address: &str) -> anyhow::Result<TcpListener> {
    let listener = match address.strip_prefix(':') {
        Some(port) => TcpListener::bind(format!("[::]:{port}"))
            .or_else(|_| TcpListener::bind(format!("0.0.0.0:{port}"))),
        None => TcpListener::bind(address),
    };
    let listener = listener.with_context(|| {
        format!("cannot listen on {address}; choose an address of this machine that is free")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Where a listener ended up, for port 0.
pub fn address_of(listener: &TcpListener) -> SocketAddr {
    listener
        .local_addr()
        .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
}
