//! The configuration file. serde checks the names and the types of its fields, and reports the first error of that
//! kind. The other modules check the values, and report all errors.
//!
//! The JSON Schema of these types is the schema of the value `config` of the chart.

use std::path::Path;

use serde::Deserialize;
use serde_saphyr::Error;

use super::{
    Fault,
    kinds::{LogFormat, LogLevel, LogOutput},
};
use crate::{blocking, domain::policy::Mode};

mod clusters;
mod limits;
mod links;
mod policies;
mod rules;
mod text;
pub(super) use clusters::{ClusterEntry, KeyEntry};
pub(super) use limits::LimitsSection;
pub(super) use links::LinkEntry;
pub(super) use policies::{BackoffSection, PolicyEntry, PolicySection, UnknownClass};
pub(super) use rules::RuleEntry;
#[cfg(test)]
use text::schema;
use text::{Names, or_default};

/// The longest file, in bytes. A ConfigMap holds 1 MiB.
const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// All of the file.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct File {
    // The settings of the process; `settings::PROCESS` describes them.
    pub(super) webhook_bind_address: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) tls: TlsSection,
    pub(super) metrics_bind_address: Option<String>,
    #[cfg_attr(test, schemars(schema_with = "schema::text_or_off"))]
    pub(super) dashboard_bind_address: Option<String>,
    pub(super) health_probe_bind_address: Option<String>,
    #[cfg_attr(test, schemars(regex(pattern = super::parse::CLUSTER_NAME), length(max = 63)))]
    pub(super) cluster_name: Option<String>,
    pub(super) token_file: Option<String>,
    pub(super) kubeconfig: Option<String>,
    pub(super) context: Option<String>,
    pub(super) insecure_kubeconfig_exec: Option<bool>,
    pub(super) insecure_kubeconfig_tls: Option<bool>,
    pub(super) mode: Option<Mode>,
    pub(super) events_addr: Option<String>,
    pub(super) kubernetes_events: Option<bool>,
    pub(super) pause_file: Option<String>,
    #[cfg_attr(test, schemars(schema_with = "schema::text_or_off"))]
    pub(super) sweep: Option<String>,
    #[cfg_attr(test, schemars(schema_with = "schema::names"))]
    pub(super) sweep_namespaces: Option<Names>,
    pub(super) leader_elect: Option<bool>,
    pub(super) leader_election_namespace: Option<String>,
    pub(super) leader_election_kubeconfig: Option<String>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) log_output: Option<LogOutput>,

    /// releases that wait for their first reconcile, for each cluster; more alerts are answered with 503
    pub(super) queue_capacity: Option<usize>,
    /// open connections to the webhook; at this number the oldest connection without a signed alert is closed
    pub(super) max_connections: Option<usize>,
    /// time after which an idle connection is closed; longer than the idle timeout of a load balancer
    pub(super) keep_alive: Option<String>,
    /// time in which alerts are still accepted after SIGTERM, at most 15s
    pub(super) shutdown_delay: Option<String>,
    /// maximum age of an event
    pub(super) max_event_age: Option<String>,
    /// how far the timestamp of an event may be in the future
    pub(super) max_event_ahead: Option<String>,

    /// the policy for all releases
    #[serde(deserialize_with = "or_default")]
    pub(super) policy: PolicySection,
    /// the limits of each cluster
    #[serde(deserialize_with = "or_default")]
    pub(super) limits: LimitsSection,
    /// policies for the releases that they match; the first that matches a release is used
    #[serde(deserialize_with = "or_default")]
    pub(super) policies: Vec<PolicyEntry>,
    /// the clusters; without a list, one cluster is served
    #[serde(deserialize_with = "or_default")]
    pub(super) clusters: Vec<ClusterEntry>,
    /// links on the page of each release, for example to Grafana and to the Flux Web UI
    #[serde(deserialize_with = "or_default")]
    pub(super) dashboard_links: Vec<LinkEntry>,
    /// rules of your own, and changes of built-in rules
    #[serde(deserialize_with = "or_default")]
    pub(super) rules: Vec<RuleEntry>,
}

/// The certificate of the webhook.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct TlsSection {
    pub(super) cert_file: Option<String>,
    pub(super) key_file: Option<String>,
}

impl File {
    /// Reads a file. An empty one has no settings.
    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        let place = path.display().to_string();
        let bytes = blocking::contents(path, FILE_LIMIT).map_err(|error| Fault {
            place: place.clone(),
            problem: format!("cannot read the file: {error}; write the path of a YAML file"),
        })?;
        let mut field = String::new();
        let options = serde_saphyr::options! {
            // Text around the error may contain a secret.
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_depth: 64,
                // A thousand clusters may share one list.
                enforce_alias_anchor_ratio: false,
            },
        };
        let parsed =
            serde_saphyr::with_deserializer_from_slice_with_options(&bytes, options, |yaml| {
                serde_path_to_error::deserialize(yaml).map_err(|error| {
                    field = error.path().to_string();
                    error.into_inner()
                })
            });
        parsed.map(Option::unwrap_or_default).map_err(|error| {
            let error = without_alias(&error);
            let line = error.location().map(|location| location.line());
            let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
            let field = known_part(&field, error);
            let colon = if field.is_empty() { "" } else { ": " };
            Fault {
                place: format!("{place}{colon}{field}{line}"),
                problem: problem(error),
            }
        })
    }
}

/// The error itself, where an alias leads to the value.
fn without_alias(error: &Error) -> &Error {
    match error {
        Error::AliasError { error, .. } => without_alias(error),
        error => error,
    }
}

/// The path of a field. A name that is no name of a field is shown only if it looks like one: it may be a key.
fn known_part<'a>(path: &'a str, error: &Error) -> &'a str {
    let path = path.strip_suffix('?').unwrap_or(path);
    let path = path.strip_suffix('.').unwrap_or(path);
    let Error::SerdeUnknownField { field, .. } = error else {
        return path;
    };
    let plain = field.len() <= 40 && field.bytes().all(|byte| byte.is_ascii_alphabetic());
    if plain {
        return path;
    }
    let section = path.strip_suffix(&**field).unwrap_or_default();
    section.strip_suffix('.').unwrap_or(section)
}

/// What to write instead. Values that are in the file are not repeated: one may be a key.
fn problem(error: &Error) -> String {
    let one_of = |expected: &[&str]| format!("expected one of {}", expected.join(", "));
    match error {
        Error::SerdeUnknownField { expected, .. } => {
            format!("there is no such field; {}", one_of(expected))
        }
        Error::SerdeUnknownVariant { expected, .. } => one_of(expected),
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. }
            if expected.starts_with("a list") =>
        {
            format!("expected {expected}")
        }
        Error::InvalidScalar { ty: "boolean", .. } | Error::InvalidBooleanStrict { .. } => {
            "expected true or false".into()
        }
        Error::InvalidScalar { ty, .. } if ty.starts_with('u') => {
            "expected a whole number of at most 9 digits, without a sign; there is no value for endless".into()
        }
        Error::InvalidScalar { .. } => "expected a number".into(),
        Error::Unexpected { expected, .. } => match *expected {
            "mapping start" => "expected a mapping; write `name: value` lines".into(),
            "sequence start" => "expected a list; write `- ` lines".into(),
            _ => "expected a single value".into(),
        },
        Error::SerdeInvalidType { .. }
        | Error::SerdeInvalidValue { .. }
        | Error::TaggedEnumMismatch { .. }
        | Error::ExpectedStringKeyForExternallyTaggedEnum { .. } => {
            "has the wrong type; see docs/configuration.md for what to write".into()
        }
        Error::ExternallyTaggedEnumExpectedScalarOrMapping { .. } => {
            "expected a single value".into()
        }
        Error::NullIntoString { .. } => "is empty; write a value, or remove it".into(),
        Error::InvalidUtf8Input => "the file is not UTF-8; save it as UTF-8".into(),
        Error::Budget { .. } => {
            "the file is too large, or nested too deeply; use fewer levels and aliases".into()
        }
        Error::SerdeMissingField { field, .. } => format!("{field} is missing"),
        Error::DuplicateMappingKey { key, .. } => {
            let plain = |key: &&str| key.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let key = key.as_deref().filter(plain).unwrap_or("a field");
            format!("{key} is set twice; keep one")
        }
        Error::MultipleDocuments { .. } => "the file has several YAML documents; keep one".into(),
        Error::ExternalMessage { msg, .. } => {
            let msg = msg.lines().next().unwrap_or_default();
            format!("is not YAML: {msg}")
        }
        // The texts of other errors contain values of the file, or names of Rust types.
        _ => "is not YAML that can be read; check the indentation, the quotes and the tags".into(),
    }
}

#[cfg(test)]
mod tests;
