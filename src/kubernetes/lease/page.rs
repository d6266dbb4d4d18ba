//! Where the page of the leader is. The Lease says it, so that standbys can pass requests on.

use std::net::SocketAddr;

use super::LeaseObject;

/// The annotation of the Lease with IP address and port of the leader's page.
const PAGE: &str = "helmreboot.io/dashboard";

/// Where the page of the holder is, if the Lease says so.
pub(super) fn announced(lease: &LeaseObject) -> Option<SocketAddr> {
    let annotations = lease.metadata.annotations.as_ref()?;
    annotations.get(PAGE)?.parse().ok()
}

/// Writes where the page of this replica is.
pub(super) fn announce(lease: &mut LeaseObject, page: Option<SocketAddr>) {
    let annotations = lease.metadata.annotations.get_or_insert_default();
    match page {
        Some(page) => drop(annotations.insert(PAGE.into(), page.to_string())),
        None => drop(annotations.remove(PAGE)),
    }
}
