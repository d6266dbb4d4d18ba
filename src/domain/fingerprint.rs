//! What a failure has in common with others: the rule that names the cause, and whom the message names.

use std::{fmt, sync::Arc};

/// Releases with the same fingerprint are likely to fail, and to heal, together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(Arc<str>);

/// The most of a name that is kept, in characters.
const LONGEST: usize = 80;

/// What stands before a name that many messages share. The first that occurs counts: a webhook's name
/// says more than the host behind it.
const MARKERS: [(&str, &str); 6] = [
    ("calling webhook \"", "\""),
    ("://", "/?\" "),
    ("dial tcp: lookup ", " :"),
    ("dial tcp ", " :"),
    ("lookup ", " :"),
    ("waiting for: [", "/"),
];

impl Fingerprint {
    /// The fingerprint of a message that `rule` fired on.
    pub fn of(rule: &str, message: &str) -> Self {
        match subject(message) {
            Some(subject) => Self(format!("{rule} {subject}").into()),
            None => Self(rule.into()),
        }
    }
}

/// The webhook, host or class of objects a message names.
fn subject(message: &str) -> Option<String> {
    let found = MARKERS.iter().find_map(|(marker, ends)| {
        let (_, rest) = message.split_once(marker)?;
        let name = rest.split(|end: char| ends.contains(end)).next()?;
        // Whoever logs in by URL has a secret before the @, and a port adds nothing.
        let name = name.rsplit('@').next()?.split(':').next()?;
        (!name.is_empty()).then_some(name)
    })?;
    let clean = found.chars().filter(|c| c.is_ascii_graphic());
    Some(clean.take(LONGEST).collect())
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_names_whom_the_failures_share() {
        for (message, named) in [
            (
                "Internal error occurred: failed calling webhook \"policy.io\": Post \"https://10.0.0.1/x\": EOF",
                "r policy.io",
            ),
            (
                "Get \"https://user:secret@registry.example:5000/v2/\": EOF",
                "r registry.example",
            ),
            (
                "Get \"https://registry.example/v2/\": dial tcp: lookup registry.example on 10.0.0.10:53: no such host",
                "r registry.example",
            ),
            (
                "dial tcp 10.1.2.3:443: connect: connection refused",
                "r 10.1.2.3",
            ),
            (
                "timeout waiting for: [Deployment/apps/web status: 'InProgress']",
                "r Deployment",
            ),
            ("context deadline exceeded", "r"),
            ("://", "r"),
        ] {
            assert_eq!(
                Fingerprint::of("r", message).to_string(),
                named,
                "{message}"
            );
        }
    }

    #[test]
    fn a_fingerprint_is_bounded() {
        let long = format!("https://{}/", "x".repeat(9000));
        assert!(Fingerprint::of("r", &long).to_string().len() <= LONGEST + 2);
    }
}
