//! The list `rules`.

use serde::Deserialize;

#[cfg(test)]
use super::text::schema;
use crate::domain::{classify::Class, ledger::Action};

/// An entry of `rules`. A field that is absent keeps the value of the built-in rule of that name.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RuleEntry {
    /// up to 63 lower-case letters, digits and -; the name of a built-in rule changes that rule
    pub(crate) name: String,
    /// a regular expression
    pub(crate) pattern: Option<String>,
    /// several regular expressions
    pub(crate) patterns: Option<Vec<String>>,
    /// apply only with these reasons; without patterns, match every message with them
    pub(crate) reasons: Option<Vec<String>>,
    /// transient (default), permanent or benign
    pub(crate) class: Option<Class>,
    /// true: inside of its match, no other rule counts
    pub(crate) exception: Option<bool>,
    /// reset or force, where that differs from the policy
    pub(crate) action: Option<Action>,
    /// share of the limit of the policy, at most 100%; 0% means no restart
    #[serde(default)]
    #[cfg_attr(test, schemars(schema_with = "schema::text_or_number"))]
    pub(crate) budget: Option<String>,
    /// true: the cause is outside of the release
    pub(crate) infrastructure: Option<bool>,
    /// one line of at most 200 characters, for people
    pub(crate) description: Option<String>,
    /// false disables the rule
    pub(crate) enabled: Option<bool>,
}
