//! Kinds of values that settings have.

use std::{path::PathBuf, time::Duration};

use tracing::level_filters::LevelFilter;

use crate::domain::string_enum;

/// Where the Lease of the leader is kept.
#[derive(Clone, Debug, Default)]
pub struct LeasePlace {
    /// Its namespace; without one, that of the pod or of the kubeconfig's context.
    pub namespace: Option<String>,
    /// The kubeconfig of its cluster; without one, what the environment offers.
    pub kubeconfig: Option<PathBuf>,
}

/// Where the page and its API are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DashboardPort {
    /// On the port of `/metrics`.
    Metrics,
    /// On a port of its own.
    At(String),
    /// Nowhere.
    Off,
}

/// How failures are found without an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepMode {
    /// All the time.
    Watch,
    /// All of them, again and again.
    Every(Duration),
    /// Never: alerts are all there is.
    Off,
}

/// The files of the webhook's certificate and its key, as cert-manager and `kubernetes.io/tls` Secrets
/// keep them.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, then those between it and the root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Where this is configured, for people.
    pub place: String,
}

string_enum! {
    /// The least severe level that is logged.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
    LogLevel {
        /// Errors.
        Error = "error",
        /// And warnings.
        Warn = "warn",
        /// And what is done to releases.
        Info = "info",
        /// And each refused alert.
        Debug = "debug",
        /// And the lines of libraries.
        Trace = "trace",
    }
}

string_enum! {
    /// The format of log lines.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
    LogFormat {
        /// One JSON object a line.
        Json = "json",
        /// For people.
        Text = "text",
    }
}

string_enum! {
    /// Where log lines go.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
    LogOutput {
        /// Standard error.
        Stderr = "stderr",
        /// Standard output.
        Stdout = "stdout",
    }
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}
