//! What a failure has in common with others: the rule that names the cause, and whom the message names.

use std::{fmt, sync::Arc};

use super::target::Target;

/// Releases with the same fingerprint are likely to fail, and to recover, together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(Arc<str>);

impl Fingerprint {
    /// The fingerprint of a message that `rule` fired on. As long as a rule's name and a bounded target.
    pub fn of(rule: &str, message: &str) -> Self {
        match Target::of(message) {
            Some(target) => Self(format!("{rule} {target}").into()),
            None => Self(rule.into()),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
