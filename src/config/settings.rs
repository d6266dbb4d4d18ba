//! Every setting with one value. Settings of the process have a flag and an environment variable; policy and limits are
//! only in the file. Flags, `--help`, the reader and the tables of docs/configuration.md use these lists.

/// One setting with a single value.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The flag, without dashes, and the environment variable; `None` for a setting that exists only in the file.
    pub process: Option<(&'static str, &'static str)>,
    /// Dotted path in the file; `None` for a setting that does not exist there.
    pub path: Option<&'static str>,
    /// The value if none is given; empty for none.
    pub default: &'static str,
    /// One line for `--help` and the documents.
    pub help: &'static str,
}

impl Setting {
    /// The flag, without dashes.
    pub fn flag(&self) -> Option<&'static str> {
        self.process.map(|(flag, _)| flag)
    }

    /// The environment variable.
    pub fn env(&self) -> Option<&'static str> {
        self.process.map(|(_, env)| env)
    }
}

macro_rules! process_settings {
    ($($name:ident = $flag:literal, $env:literal, $path:expr, $default:literal, $help:literal;)+) => {
        $(#[doc = $help] pub const $name: Setting =
            Setting { process: Some(($flag, $env)), path: $path, default: $default, help: $help };)+
        /// Settings of the process, in the order of `--help`.
        pub const PROCESS: &[Setting] = &[$($name),+];
    };
}

macro_rules! file_settings {
    ($($name:ident = $path:literal, $default:literal, $help:literal;)+) => {
        $(#[doc = $help] pub const $name: Setting =
            Setting { process: None, path: Some($path), default: $default, help: $help };)+
        /// Settings that exist only in the file.
        pub const FILE: &[Setting] = &[$($name),+];
    };
}

process_settings! {
    CONFIG = "config", "HELMREBOOT_CONFIG", None, "", "YAML file with the settings below, the settings that exist only in the file, and clusters, policies and rules";
    WEBHOOK_BIND_ADDRESS = "webhook-bind-address", "WEBHOOK_BIND_ADDRESS", Some("webhookBindAddress"), ":9292", "address of the webhook";
    TLS_CERT_FILE = "tls-cert-file", "HELMREBOOT_TLS_CERT_FILE", Some("tls.certFile"), "", "PEM file with the certificate chain of the webhook, which then accepts only HTTPS; re-read when it changes";
    TLS_KEY_FILE = "tls-key-file", "HELMREBOOT_TLS_KEY_FILE", Some("tls.keyFile"), "", "PEM file with the key of that certificate";
    METRICS_BIND_ADDRESS = "metrics-bind-address", "METRICS_BIND_ADDRESS", Some("metricsBindAddress"), ":8080", "address of /metrics";
    HEALTH_PROBE_BIND_ADDRESS = "health-probe-bind-address", "HEALTH_PROBE_BIND_ADDRESS", Some("healthProbeBindAddress"), ":8081", "address of /healthz and /readyz";
    CLUSTER_NAME = "cluster-name", "HELMREBOOT_CLUSTER", Some("clusterName"), "default", "name of the only cluster, if the file lists none";
    TOKEN_FILE = "token-file", "HELMREBOOT_TOKEN_FILE", Some("tokenFile"), "", "file with the key of the only cluster; re-read when it changes";
    KUBECONFIG = "kubeconfig", "HELMREBOOT_KUBECONFIG", Some("kubeconfig"), "", "kubeconfig of the only cluster; default: KUBECONFIG, ~/.kube/config or the service account";
    CONTEXT = "context", "HELMREBOOT_CONTEXT", Some("context"), "", "context in that kubeconfig; default: its current context";
    INSECURE_KUBECONFIG_EXEC = "insecure-kubeconfig-exec", "INSECURE_KUBECONFIG_EXEC", Some("insecureKubeconfigExec"), "false", "allow kubeconfigs that run a program to log in";
    INSECURE_KUBECONFIG_TLS = "insecure-kubeconfig-tls", "INSECURE_KUBECONFIG_TLS", Some("insecureKubeconfigTls"), "false", "allow kubeconfigs that do not verify the API server";
    MODE = "mode", "HELMREBOOT_MODE", Some("mode"), "act", "act, or observe: decide and report, but write nothing";
    PAUSE_FILE = "pause-file", "HELMREBOOT_PAUSE_FILE", Some("pauseFile"), "", "while this file exists, nothing is written; checked every second";
    SWEEP = "sweep", "HELMREBOOT_SWEEP", Some("sweep"), "watch", "how failures without an alert are found: watch, a list at an interval such as 10m, or off";
    SWEEP_NAMESPACES = "sweep-namespaces", "HELMREBOOT_SWEEP_NAMESPACES", Some("sweepNamespaces"), "", "comma-separated namespaces to watch; default: all namespaces";
    LEADER_ELECT = "leader-elect", "LEADER_ELECT", Some("leaderElect"), "false", "elect a leader among the replicas; only the leader runs the watcher, all replicas accept alerts";
    LEADER_ELECTION_NAMESPACE = "leader-election-namespace", "LEADER_ELECTION_NAMESPACE", Some("leaderElectionNamespace"), "", "namespace of the Lease; default: that of the pod or the context";
    LEADER_ELECTION_KUBECONFIG = "leader-election-kubeconfig", "LEADER_ELECTION_KUBECONFIG", Some("leaderElectionKubeconfig"), "", "kubeconfig of the cluster with the Lease";
    LOG_LEVEL = "log-level", "LOG_LEVEL", Some("logLevel"), "info", "error, warn, info, debug or trace";
    LOG_FORMAT = "log-format", "LOG_FORMAT", Some("logFormat"), "json", "json or text";
    LOG_OUTPUT = "log-output", "LOG_OUTPUT", Some("logOutput"), "stderr", "stderr or stdout";
}

file_settings! {
    ENABLED = "policy.enabled", "true", "whether releases are restarted at all";
    LIMIT = "policy.limit", "5", "restarts for each configuration of a release, from 0 to 100";
    BACKOFF_DURATION = "policy.backoff.duration", "1m", "wait after the first restart";
    BACKOFF_FACTOR = "policy.backoff.factor", "2", "factor between one wait and the next, from 1 to 10";
    BACKOFF_MAX_DURATION = "policy.backoff.maxDuration", "1h", "the longest wait";
    JITTER = "policy.jitter", "10%", "random share that is added to each wait, so that releases are not restarted at the same time";
    SLOW_LANE = "policy.slowLane", "6h", "interval of further restarts after the limit is reached, or off";
    ACTION = "policy.action", "reset", "how a Stalled release is restarted: reset (resetAt) or force (forceAt, one forced upgrade)";
    UNKNOWN = "policy.unknown", "permanent", "class of a failure that no rule matches: permanent or transient";
    AFTER_ROLLBACK = "policy.afterRollback", "infrastructure", "restart once after Flux rolled back, which deploys the failed version again: never, infrastructure (only if infrastructure is the cause) or always";
    AFTER_UNINSTALL = "policy.afterUninstall", "infrastructure", "restart once after Flux uninstalled, which installs the failed version again: never, infrastructure (only if infrastructure is the cause) or always";
    ALLOW_AFTER_ROLLBACK = "policy.allow.afterRollback", "true", "whether the annotation helmreboot.io/after-rollback may allow more than afterRollback";
    LEGACY_ANNOTATION = "policy.legacyAnnotation", "true", "also write fluxcd.io/reconcileAt, as the first HelmReboot did";
    RATE = "limits.ratePerMinute", "30", "restarts per minute in one cluster";
    BURST = "limits.burst", "10", "restarts that one cluster may have at once before ratePerMinute applies";
    IN_FLIGHT = "limits.inFlight", "20", "concurrent restarts in one cluster: those whose outcome is not known";
    BREAKER_THRESHOLD = "limits.breakerThreshold", "5", "releases that fail for the same cause within breakerWindow open the circuit breaker";
    BREAKER_WINDOW = "limits.breakerWindow", "5m", "time in which these failures are counted";
    BREAKER_WAIT = "limits.breakerWait", "1m", "wait after a restart that failed while the breaker is open; it doubles up to 1h";
    QUEUE_CAPACITY = "queueCapacity", "4096", "releases that wait for their first reconcile, for each cluster; more alerts are answered with 503";
    MAX_CONNECTIONS = "maxConnections", "1024", "open connections to the webhook; at this number the oldest connection without a signed alert is closed";
    KEEP_ALIVE = "keepAlive", "75s", "time after which an idle connection is closed; longer than the idle timeout of a load balancer";
    SHUTDOWN_DELAY = "shutdownDelay", "5s", "time in which alerts are still accepted after SIGTERM, at most 15s";
    MAX_EVENT_AGE = "maxEventAge", "15m", "maximum age of an event";
    MAX_EVENT_AHEAD = "maxEventAhead", "5m", "how far the timestamp of an event may be in the future";
}

/// The variable that holds the key of the only cluster. There is no flag for it: other users of the machine can read
/// command lines.
pub const TOKEN_ENV: &str = "HELMREBOOT_TOKEN";
