//! The settings of the process. Each has a flag, an environment variable, and, apart from `--config`, a field in the
//! file. Flags, `--help`, the reader and the table of docs/configuration.md use this list. Policies, limits, clusters and
//! rules are only in the file.

/// One setting of the process.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The flag, without dashes.
    pub flag: &'static str,
    /// The environment variable.
    pub env: &'static str,
    /// Dotted path in the file; `None` for a setting that does not exist there.
    pub path: Option<&'static str>,
    /// The value if none is given; empty for none.
    pub default: &'static str,
    /// One line for `--help` and the documents.
    pub help: &'static str,
}

macro_rules! process_settings {
    ($($name:ident = $flag:literal, $env:literal, $path:expr, $default:literal, $help:literal;)+) => {
        $(#[doc = $help] pub const $name: Setting =
            Setting { flag: $flag, env: $env, path: $path, default: $default, help: $help };)+
        /// All of them, in the order of `--help`.
        pub const PROCESS: &[Setting] = &[$($name),+];
    };
}

process_settings! {
    CONFIG = "config", "HELMREBOOT_CONFIG", None, "", "YAML file with all settings";
    WEBHOOK_BIND_ADDRESS = "webhook-bind-address", "WEBHOOK_BIND_ADDRESS", Some("webhookBindAddress"), ":9292", "address of the webhook";
    TLS_CERT_FILE = "tls-cert-file", "HELMREBOOT_TLS_CERT_FILE", Some("tls.certFile"), "", "PEM file with the certificate of the webhook";
    TLS_KEY_FILE = "tls-key-file", "HELMREBOOT_TLS_KEY_FILE", Some("tls.keyFile"), "", "PEM file with the key of that certificate";
    METRICS_BIND_ADDRESS = "metrics-bind-address", "METRICS_BIND_ADDRESS", Some("metricsBindAddress"), ":8080", "address of /metrics";
    DASHBOARD_BIND_ADDRESS = "dashboard-bind-address", "HELMREBOOT_DASHBOARD_BIND_ADDRESS", Some("dashboardBindAddress"), "metrics", "address of the page, metrics or off";
    HEALTH_PROBE_BIND_ADDRESS = "health-probe-bind-address", "HEALTH_PROBE_BIND_ADDRESS", Some("healthProbeBindAddress"), ":8081", "address of /healthz and /readyz";
    CLUSTER_NAME = "cluster-name", "HELMREBOOT_CLUSTER", Some("clusterName"), "default", "name of the only cluster";
    TOKEN_FILE = "token-file", "HELMREBOOT_TOKEN_FILE", Some("tokenFile"), "", "file with the key of the only cluster";
    KUBECONFIG = "kubeconfig", "HELMREBOOT_KUBECONFIG", Some("kubeconfig"), "", "kubeconfig file";
    CONTEXT = "context", "HELMREBOOT_CONTEXT", Some("context"), "", "context in that kubeconfig";
    INSECURE_KUBECONFIG_EXEC = "insecure-kubeconfig-exec", "INSECURE_KUBECONFIG_EXEC", Some("insecureKubeconfigExec"), "false", "allow kubeconfigs with exec plugins";
    INSECURE_KUBECONFIG_TLS = "insecure-kubeconfig-tls", "INSECURE_KUBECONFIG_TLS", Some("insecureKubeconfigTls"), "false", "allow kubeconfigs without TLS checks";
    MODE = "mode", "HELMREBOOT_MODE", Some("mode"), "act", "act, or observe: write nothing";
    EVENTS_ADDR = "events-addr", "EVENTS_ADDR", Some("eventsAddr"), "", "URL of notification-controller, for Flux events";
    KUBERNETES_EVENTS = "kubernetes-events", "HELMREBOOT_KUBERNETES_EVENTS", Some("kubernetesEvents"), "true", "create Kubernetes Events on HelmReleases";
    PAUSE_FILE = "pause-file", "HELMREBOOT_PAUSE_FILE", Some("pauseFile"), "", "while this file exists, nothing is written";
    SWEEP = "sweep", "HELMREBOOT_SWEEP", Some("sweep"), "watch", "watch, an interval such as 10m, or off";
    SWEEP_NAMESPACES = "sweep-namespaces", "HELMREBOOT_SWEEP_NAMESPACES", Some("sweepNamespaces"), "", "namespaces to watch, with commas between them";
    LEADER_ELECT = "leader-elect", "LEADER_ELECT", Some("leaderElect"), "false", "elect a leader; only it restarts";
    LEADER_ELECTION_NAMESPACE = "leader-election-namespace", "LEADER_ELECTION_NAMESPACE", Some("leaderElectionNamespace"), "", "namespace of the Lease";
    LEADER_ELECTION_KUBECONFIG = "leader-election-kubeconfig", "LEADER_ELECTION_KUBECONFIG", Some("leaderElectionKubeconfig"), "", "kubeconfig of the cluster with the Lease";
    LOG_LEVEL = "log-level", "LOG_LEVEL", Some("logLevel"), "info", "error, warn, info, debug or trace";
    LOG_FORMAT = "log-format", "LOG_FORMAT", Some("logFormat"), "json", "json or text";
    LOG_OUTPUT = "log-output", "LOG_OUTPUT", Some("logOutput"), "stderr", "stderr or stdout";
}

/// The variable that holds the key of the only cluster. There is no flag for it: other users of the machine can read
/// command lines.
pub const TOKEN_ENV: &str = "HELMREBOOT_TOKEN";
