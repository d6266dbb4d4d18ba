//! Which cluster a request claims to speak for. The claim only picks the keys that the signature is
//! verified with, so that a sender without the key of a cluster cannot send alerts for it.

use std::borrow::Cow;

use http::request::Parts;
use memchr::memmem;
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
/// grows with the body. A name with escapes is not the name of a cluster, and is not read.
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
pub(super) struct Path<'a> {
    /// The cluster that it names, or nothing.
    cluster: Cow<'a, str>,
}

impl<'a> Path<'a> {
    /// Reads a path as Flux users write it: with slashes too many, and with percent-encoding.
    pub(super) fn of(path: &'a str) -> Option<Self> {
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
fn decoded(segment: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy()
}

pub(super) fn of<'a>(path: &'a Path<'a>, parts: &'a Parts, body: &'a [u8]) -> Claim<'a> {
    let path = &*path.cluster;
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

/// The end of the keys of [`CLUSTER_KEYS`], and the begin of a value. Quotes inside of a JSON string are escaped, so that
/// these bytes are the end of a key.
const KEY_END: &[u8] = b"cluster\":\"";

/// The value of the only key of [`CLUSTER_KEYS`], found without parsing the body twice.
/// `None` if there is another key with the same end, or a value with escapes: then the body is parsed.
fn only_one(body: &[u8]) -> Option<&str> {
    let at = memmem::find(body, KEY_END)?;
    let (before, value) = (&body[..at], &body[at + KEY_END.len()..]);
    if memmem::find(value, KEY_END).is_some() {
        return None;
    }
    let is_key = CLUSTER_KEYS.iter().any(|key| {
        let prefix = key.strip_suffix("cluster").unwrap_or_default();
        let begin = before.strip_suffix(prefix.as_bytes());
        begin.is_some_and(|begin| begin.ends_with(b"\""))
    });
    let end = memchr::memchr2(b'"', b'\\', value).filter(|end| is_key && value[*end] == b'"')?;
    std::str::from_utf8(&value[..end]).ok()
}

fn in_body(body: &[u8]) -> Option<&str> {
    const {
        assert!(
            CLUSTER_KEYS.len() == 3,
            "Peek reads the same keys as Event::cluster"
        )
    };
    if let Some(name) = only_one(body) {
        return Some(name);
    }
    let metadata = serde_json::from_slice::<Peek<'_>>(body).ok()?.metadata?;
    metadata
        .cluster
        .or(metadata.event_cluster)
        .or(metadata.helm_cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> Option<String> {
        let metadata = serde_json::from_str::<Peek<'_>>(body).ok()?.metadata?;
        let name = metadata.cluster.or(metadata.event_cluster);
        name.or(metadata.helm_cluster).map(str::to_owned)
    }

    #[test]
    fn the_name_that_is_found_is_the_one_that_parsing_finds() {
        for (body, found) in [
            (r#"{"metadata":{"cluster":"a","revision":"1"}}"#, Some("a")),
            (
                r#"{"metadata":{"helm.toolkit.fluxcd.io/cluster":"a"}}"#,
                Some("a"),
            ),
            (
                r#"{"message":"\"cluster\":\"b\"","metadata":{"cluster":"a"}}"#,
                Some("a"),
            ),
            (
                r#"{"message":"cluster\":\"b","metadata":{"cluster": "a"}}"#,
                Some("a"),
            ),
            (
                r#"{"metadata":{"my-cluster":"b","cluster":"a"}}"#,
                Some("a"),
            ),
            (r#"{"metadata":{"my-cluster":"b"}}"#, None),
            (r#"{"metadata":{"cluster":""}}"#, Some("")),
            (r#"{"metadata":{"cluster":"a\u0062"}}"#, None),
            (r#"{"metadata":{"cluster":"a"#, None),
            (r#"{"metadata":{"cluster":"#, None),
            ("{}", None),
        ] {
            assert_eq!(in_body(body.as_bytes()), found, "{body}");
            if found.is_some() {
                assert_eq!(parsed(body).as_deref(), found, "{body}");
            }
        }
    }
}
