//! Which cluster a request claims to speak for. The claim only picks the keys that the signature is
//! verified with, so that a sender without the key of a cluster cannot send alerts for it.

use http::request::Parts;
use serde::Deserialize;

use super::{CLUSTER_HEADER, DEFAULT_CLUSTER, PATH};
use crate::domain::alert::CLUSTER_KEYS;

/// A claim that nothing has been checked of.
pub(super) struct Claim<'a> {
    /// Path, else header, else `metadata.cluster`, else `default`.
    pub(super) cluster: &'a str,
    /// Path and header both name one, and not the same.
    pub(super) contradicted: bool,
}

/// The one part of an unverified body that is read. Borrows, so that nothing is allocated that
/// grows with what a stranger sent; a name with escapes in it is no cluster's and reads as none.
#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow, default)]
    metadata: Option<PeekMetadata<'a>>,
}

#[derive(Deserialize)]
struct PeekMetadata<'a> {
    #[serde(borrow, default)]
    cluster: Option<&'a str>,
    #[serde(borrow, default, rename = "event.toolkit.fluxcd.io/cluster")]
    event_cluster: Option<&'a str>,
    #[serde(borrow, default, rename = "helm.toolkit.fluxcd.io/cluster")]
    helm_cluster: Option<&'a str>,
}

/// The path of a request to the webhook.
pub(super) struct Path {
    /// The cluster that it names, or nothing.
    cluster: String,
}

impl Path {
    /// Reads a path as Flux users write it: with slashes too many, and with percent-encoding.
    pub(super) fn of(path: &str) -> Option<Self> {
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        let webhook = segments.next().map(decoded)?;
        if webhook != PATH.trim_start_matches('/') {
            return None;
        }
        let cluster = segments.next().map(decoded).unwrap_or_default();
        segments.next().is_none().then_some(Self { cluster })
    }
}

/// What is not UTF-8 becomes the name of no cluster.
fn decoded(segment: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(segment);
    decoded.decode_utf8_lossy().into_owned()
}

pub(super) fn of<'a>(path: &'a Path, parts: &'a Parts, body: &'a [u8]) -> Claim<'a> {
    let path = path.cluster.as_str();
    let header = parts
        .headers
        .get(CLUSTER_HEADER)
        .map(|value| value.to_str().unwrap_or("\u{fffd}"));
    let contradicted = !path.is_empty() && header.is_some_and(|header| header != path);
    let named = Some(path).filter(|path| !path.is_empty()).or(header);
    let cluster = named.or_else(|| in_body(body)).unwrap_or(DEFAULT_CLUSTER);
    Claim {
        cluster,
        contradicted,
    }
}

fn in_body(body: &[u8]) -> Option<&str> {
    const {
        assert!(
            CLUSTER_KEYS.len() == 3,
            "Peek reads the same keys as Event::cluster"
        )
    };
    let metadata = serde_json::from_slice::<Peek<'_>>(body).ok()?.metadata?;
    metadata
        .cluster
        .or(metadata.event_cluster)
        .or(metadata.helm_cluster)
}
