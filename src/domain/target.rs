//! Whom a message names: the webhook, registry, host or kind of object that failures may have in common.

use std::fmt;

string_enum! {
    /// What sort of thing a message names.
    Sort {
        /// An admission or conversion webhook, by its name.
        Webhook = "webhook",
        /// A host that serves OCI artifacts.
        Registry = "registry",
        /// Any other host, by name or address.
        Host = "host",
        /// A kind of Kubernetes objects.
        Kind = "kind",
    }
}

/// What a message names first; `webhook cert-manager.io` for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// What it is.
    pub sort: Sort,
    /// Its name, as long as the message has it. [`fmt::Display`] bounds it.
    name: &'a str,
}

/// The most of a name that is shown, in characters.
const LONGEST: usize = 80;

/// The text before a name, and what ends it. The first that occurs counts: a webhook's name says more
/// than its host, and a host more than the object that could not be read from it.
const MARKERS: [(Sort, &str, &str); 18] = [
    (Sort::Webhook, "webhook \"", "\""),
    (Sort::Webhook, "conversion webhook for ", " ,:"),
    (Sort::Registry, "oci://", "\"' "),
    (Sort::Host, "://", "\"' ,)"),
    (Sort::Host, "dial tcp: lookup ", " "),
    (Sort::Host, "dial tcp ", " "),
    (Sort::Host, "dial tcp4 ", " "),
    (Sort::Host, "dial tcp6 ", " "),
    (Sort::Host, "->", " "),
    (Sort::Kind, "waiting for: [", "/ "),
    (Sort::Kind, "stalled resources: [", "/ "),
    (Sort::Kind, "status for ", "/ "),
    (Sort::Kind, "with kind ", ": "),
    (Sort::Kind, "Kind=", ":; \""),
    (Sort::Kind, "for kind \"", "\""),
    (Sort::Kind, "not ready, name: ", "\n"),
    (Sort::Kind, "resource ", "/"),
    (Sort::Kind, "cannot be handled as a ", ": "),
];

/// The text after an object's name, if its kind is before it.
const REFUSALS: [&str; 3] = ["\" is invalid", "\" is forbidden", "\" already exists"];

impl<'a> Target<'a> {
    /// The target that a message names, if there is one.
    pub fn of(message: &'a str) -> Option<Self> {
        MARKERS
            .into_iter()
            .find_map(|(sort, marker, ends)| {
                let (_, rest) = message.split_once(marker)?;
                let spaced = matches!(sort, Sort::Host | Sort::Registry);
                let ends = |end: char| ends.contains(end) || (spaced && end.is_whitespace());
                let name = rest.split(ends).next()?;
                match sort {
                    Sort::Webhook => named(sort, name),
                    Sort::Registry | Sort::Host => {
                        let (host, path) = host(name)?;
                        let serves = path.starts_with("/v2/");
                        named(if serves { Sort::Registry } else { sort }, host)
                    }
                    Sort::Kind => {
                        // Helm 4.0 names the object before its kind.
                        let kind = name.split_once(", kind: ").map_or(name, |(_, kind)| kind);
                        kind_of(kind.split(',').next()?)
                    }
                }
            })
            .or_else(|| {
                REFUSALS
                    .into_iter()
                    .find_map(|refusal| refused(message, refusal))
            })
    }
}

fn named(sort: Sort, name: &str) -> Option<Target<'_>> {
    (!name.is_empty()).then_some(Target { sort, name })
}

/// The host of an address, and the path after it. A URL with a password has it before the @, and
/// a port adds nothing.
fn host(address: &str) -> Option<(&str, &str)> {
    let address = address.rsplit('@').next()?;
    let end = address.find(['/', '?', '#']).unwrap_or(address.len());
    let (authority, path) = address.split_at(end);
    let bare = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => authority.split(':').next()?,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    let bare = bare.trim_end_matches('.');
    bare.bytes().all(plain).then_some((bare, path))
}

/// `StatefulSet.apps` or `StatefulSet`; nothing that is more than a word.
fn kind_of(word: &str) -> Option<Target<'_>> {
    let kind = word.split('.').next()?;
    let plain = kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| named(Sort::Kind, kind)).flatten()
}

/// `Deployment.apps "web" is invalid`.
fn refused<'a>(message: &'a str, refusal: &str) -> Option<Target<'a>> {
    let (before, _) = message.split_once(refusal)?;
    let (before, _) = before.rsplit_once(" \"")?;
    kind_of(before.rsplit(char::is_whitespace).next()?)
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.sort.as_str())?;
        let clean = self.name.chars().filter(char::is_ascii_graphic);
        clean
            .take(LONGEST)
            .try_for_each(|char| fmt::Write::write_char(f, char))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_whom_failures_share() {
        for (message, named) in [
            (
                "failed calling webhook \"policy.io\": failed to call webhook: Post \"https://10.0.0.1/x\": EOF",
                "webhook policy.io",
            ),
            (
                "admission webhook \"a.b\" denied the request: no",
                "webhook a.b",
            ),
            (
                "conversion webhook for cert-manager.io/v1, Kind=Certificate failed: x",
                "webhook cert-manager.io/v1",
            ),
            (
                "Get \"https://user:secret@registry.example:5000/v2/\": EOF",
                "registry registry.example",
            ),
            ("failed to get 'oci://ghcr.io/a/b:1': x", "registry ghcr.io"),
            ("Get \"https://[fd00::1]:443/version\": EOF", "host fd00::1"),
            (
                "GET http://source-controller.flux-system.svc.cluster.local./x giving up",
                "host source-controller.flux-system.svc.cluster.local",
            ),
            (
                "dial tcp: lookup charts.example on 10.0.0.10:53: no such host",
                "host charts.example",
            ),
            (
                "dial tcp 10.1.2.3:443: connect: connection refused",
                "host 10.1.2.3",
            ),
            ("dial tcp [fd00::1]:443: i/o timeout", "host fd00::1"),
            (
                "timeout waiting for: [Deployment/apps/web status: 'InProgress']",
                "kind Deployment",
            ),
            (
                "cannot patch \"a\" with kind Job: Job.batch \"a\" is invalid: spec",
                "kind Job",
            ),
            (
                "failed for object a/b apps/v1, Kind=StatefulSet: x",
                "kind StatefulSet",
            ),
            (
                "no matches for kind \"Widget\" in version \"a/v1\"",
                "kind Widget",
            ),
            (
                "resource not ready, name: api, kind: Deployment, status: InProgress",
                "kind Deployment",
            ),
            (
                "StatefulSet.apps \"loki\" is invalid: spec: Forbidden",
                "kind StatefulSet",
            ),
            (
                "failed to create: pods \"a\" is forbidden: exceeded quota",
                "kind pods",
            ),
        ] {
            let target = Target::of(message).map(|target| target.to_string());
            assert_eq!(target.as_deref(), Some(named), "{message}");
        }
        for message in [
            "context deadline exceeded",
            "://",
            "webhook \"\"",
            "\" is invalid",
        ] {
            assert_eq!(Target::of(message), None, "{message}");
        }
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let long = format!("webhook \"{}\u{1b}[31m\"", "x".repeat(9000));
        let shown = Target::of(&long).expect("a subject").to_string();
        assert!(shown.len() <= LONGEST + "registry ".len() && shown.is_ascii());
    }
}
