//! Kinds of values that settings have.

use std::{path::PathBuf, time::Duration};

/// Where the Lease of the leader is kept.
#[derive(Clone, Debug, Default)]
pub struct LeasePlace {
    /// Its namespace; without one, that of the pod or of the kubeconfig's context.
    pub namespace: Option<String>,
    /// The kubeconfig of its cluster; without one, what the environment offers.
    pub kubeconfig: Option<PathBuf>,
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

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
}
