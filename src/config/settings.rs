//! Every setting, once: the flag, the environment variable, the place in the YAML file, the default
//! and the help text. Flags, `--help`, the reader and the README's table all come from here.

/// One setting with a single value.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Long flag, without dashes.
    pub flag: &'static str,
    /// Environment variable.
    pub env: &'static str,
    /// Dotted path in the file; `None` where the file cannot say it.
    pub path: Option<&'static str>,
    /// The value where none is given; empty for none at all.
    pub default: &'static str,
    /// One line for `--help` and the README.
    pub help: &'static str,
}

macro_rules! settings {
    ($($name:ident = $flag:literal, $env:literal, $path:expr, $default:literal, $help:literal;)+) => {
        $(#[doc = $help] pub const $name: Setting =
            Setting { flag: $flag, env: $env, path: $path, default: $default, help: $help };)+
        /// All of them, in the order people read them.
        pub const ALL: &[Setting] = &[$($name),+];
    };
}

settings! {
    CONFIG = "config", "HELMREBOOT_CONFIG", None, "", "YAML file with any of the settings below, and with clusters, policies and rules";
    WEBHOOK_BIND_ADDRESS = "webhook-bind-address", "WEBHOOK_BIND_ADDRESS", Some("webhookBindAddress"), ":9292", "where alerts come in";
    TLS_CERT_FILE = "tls-cert-file", "HELMREBOOT_TLS_CERT_FILE", Some("tls.certFile"), "", "PEM file with the webhook's certificate and what leads to its root; with it alerts come over HTTPS only, re-read when it changes";
    TLS_KEY_FILE = "tls-key-file", "HELMREBOOT_TLS_KEY_FILE", Some("tls.keyFile"), "", "PEM file with the key of that certificate";
    METRICS_BIND_ADDRESS = "metrics-bind-address", "METRICS_BIND_ADDRESS", Some("metricsBindAddress"), ":8080", "where /metrics is served";
    HEALTH_PROBE_BIND_ADDRESS = "health-probe-bind-address", "HEALTH_PROBE_BIND_ADDRESS", Some("healthProbeBindAddress"), ":8081", "where /healthz and /readyz are answered";
    CLUSTER_NAME = "cluster-name", "HELMREBOOT_CLUSTER", Some("clusterName"), "default", "name of the only cluster, where the file lists none; alerts that carry metadata.cluster must carry this";
    TOKEN_FILE = "token-file", "HELMREBOOT_TOKEN_FILE", Some("tokenFile"), "", "file with the only cluster's key, re-read when it changes; HELMREBOOT_TOKEN holds a key itself";
    KUBECONFIG = "kubeconfig", "HELMREBOOT_KUBECONFIG", Some("kubeconfig"), "", "kubeconfig of the only cluster; without it KUBECONFIG, ~/.kube/config or the service account";
    CONTEXT = "context", "HELMREBOOT_CONTEXT", Some("context"), "", "context in that kubeconfig, instead of the current one";
    INSECURE_KUBECONFIG_EXEC = "insecure-kubeconfig-exec", "INSECURE_KUBECONFIG_EXEC", Some("insecureKubeconfigExec"), "false", "allow kubeconfigs that run a program to log in";
    INSECURE_KUBECONFIG_TLS = "insecure-kubeconfig-tls", "INSECURE_KUBECONFIG_TLS", Some("insecureKubeconfigTls"), "false", "allow kubeconfigs that do not check the API server's certificate";
    MODE = "mode", "HELMREBOOT_MODE", Some("mode"), "act", "act, or observe: decide and report everything, write nothing";
    PAUSE_FILE = "pause-file", "HELMREBOOT_PAUSE_FILE", Some("pauseFile"), "", "while this file exists, nothing is written; looked for every second";
    SWEEP = "sweep", "HELMREBOOT_SWEEP", Some("sweep"), "watch", "how failures are found that no alert announced: watch, an interval such as 10m, or off";
    SWEEP_NAMESPACES = "sweep-namespaces", "HELMREBOOT_SWEEP_NAMESPACES", Some("sweepNamespaces"), "", "the namespaces the sweep looks at, with commas between them, where it may not look at all";
    ENABLED = "enabled", "HELMREBOOT_ENABLED", Some("policy.enabled"), "true", "false keeps helmreboot away, as for a policy in the file";
    LIMIT = "limit", "HELMREBOOT_LIMIT", Some("policy.limit"), "5", "restarts for one configuration of a release; 0 for none at all";
    BACKOFF_DURATION = "backoff-duration", "HELMREBOOT_BACKOFF_DURATION", Some("policy.backoff.duration"), "1m", "wait after the first restart";
    BACKOFF_FACTOR = "backoff-factor", "HELMREBOOT_BACKOFF_FACTOR", Some("policy.backoff.factor"), "2", "by how much each further wait is longer";
    BACKOFF_MAX_DURATION = "backoff-max-duration", "HELMREBOOT_BACKOFF_MAX_DURATION", Some("policy.backoff.maxDuration"), "1h", "the longest wait";
    JITTER = "jitter", "HELMREBOOT_JITTER", Some("policy.jitter"), "10%", "share by which a wait may be longer, so that releases do not return together";
    SLOW_LANE = "slow-lane", "HELMREBOOT_SLOW_LANE", Some("policy.slowLane"), "6h", "after the limit, one more restart each time this has gone by, or off";
    ACTION = "action", "HELMREBOOT_ACTION", Some("policy.action"), "reset", "how a stalled release is restarted: reset, or force for one forced upgrade";
    UNKNOWN = "unknown", "HELMREBOOT_UNKNOWN", Some("policy.unknown"), "permanent", "what a cause that no rule knows counts as: permanent or transient";
    AFTER_ROLLBACK = "after-rollback", "HELMREBOOT_AFTER_ROLLBACK", Some("policy.afterRollback"), "infrastructure", "restart once after Flux rolled back, which deploys the failed version again: never, infrastructure (only for causes outside of the release) or always";
    AFTER_UNINSTALL = "after-uninstall", "HELMREBOOT_AFTER_UNINSTALL", Some("policy.afterUninstall"), "infrastructure", "restart once after Flux uninstalled, which installs the failed version again: never, infrastructure (only for causes outside of the release) or always";
    ALLOW_AFTER_ROLLBACK = "allow-after-rollback", "HELMREBOOT_ALLOW_AFTER_ROLLBACK", Some("policy.allow.afterRollback"), "true", "let the annotation helmreboot.io/after-rollback ask for more than that";
    ALLOW_LIMIT = "allow-limit", "HELMREBOOT_ALLOW_LIMIT", Some("policy.allow.limit"), "0", "the highest limit the annotation helmreboot.io/limit may ask for, where that is more than the limit";
    LEGACY_ANNOTATION = "legacy-annotation", "HELMREBOOT_LEGACY_ANNOTATION", Some("policy.legacyAnnotation"), "true", "also write fluxcd.io/reconcileAt, as the first helmreboot did";
    STORM_THRESHOLD = "storm-threshold", "HELMREBOOT_STORM_THRESHOLD", Some("storm.threshold"), "5", "so many releases failing for one cause within the window are a storm: one is tried at first";
    STORM_WINDOW = "storm-window", "HELMREBOOT_STORM_WINDOW", Some("storm.window"), "5m", "the window for that";
    STORM_WAIT = "storm-wait", "HELMREBOOT_STORM_WAIT", Some("storm.wait"), "1m", "wait after a try that failed; doubles up to an hour";
    RATE = "rate", "HELMREBOOT_RATE", Some("storm.ratePerMinute"), "30", "restarts a minute in one cluster";
    BURST = "burst", "HELMREBOOT_BURST", Some("storm.burst"), "10", "restarts at once in one cluster after a quiet time";
    IN_FLIGHT = "in-flight", "HELMREBOOT_IN_FLIGHT", Some("storm.inFlight"), "20", "restarts in one cluster whose end has not been seen";
    QUEUE_CAPACITY = "queue-capacity", "HELMREBOOT_QUEUE_CAPACITY", Some("queueCapacity"), "4096", "releases that may wait for their first look, for each cluster; more are answered 503";
    MAX_CONNECTIONS = "max-connections", "HELMREBOOT_MAX_CONNECTIONS", Some("maxConnections"), "1024", "connections that may be open at the webhook, fewer if the limit of open files is too low; beyond that, the oldest connection that has not brought a signed alert is closed for the new one";
    KEEP_ALIVE = "keep-alive", "HELMREBOOT_KEEP_ALIVE", Some("keepAlive"), "75s", "how long an idle connection stays open; set it higher than the idle timeout of a load balancer in front";
    SHUTDOWN_DELAY = "shutdown-delay", "HELMREBOOT_SHUTDOWN_DELAY", Some("shutdownDelay"), "5s", "how long alerts are still accepted after SIGTERM, until load balancers send them elsewhere; at most 15s";
    MAX_EVENT_AGE = "max-event-age", "HELMREBOOT_MAX_EVENT_AGE", Some("maxEventAge"), "15m", "the oldest event that is taken";
    MAX_EVENT_AHEAD = "max-event-ahead", "HELMREBOOT_MAX_EVENT_AHEAD", Some("maxEventAhead"), "5m", "how far an event's clock may be ahead";
    LEADER_ELECT = "leader-elect", "LEADER_ELECT", Some("leaderElect"), "false", "of several replicas, one sweeps; all take alerts and act on them, and none acts twice";
    LEADER_ELECTION_NAMESPACE = "leader-election-namespace", "LEADER_ELECTION_NAMESPACE", Some("leaderElectionNamespace"), "", "namespace of the Lease; default: the namespace of the pod, or of the context in the kubeconfig";
    LEADER_ELECTION_KUBECONFIG = "leader-election-kubeconfig", "LEADER_ELECTION_KUBECONFIG", Some("leaderElectionKubeconfig"), "", "kubeconfig of the cluster that keeps the Lease; default: the service account, KUBECONFIG or ~/.kube/config";
    LOG_LEVEL = "log-level", "LOG_LEVEL", Some("logLevel"), "info", "error, warn, info, debug or trace";
    LOG_FORMAT = "log-format", "LOG_FORMAT", Some("logFormat"), "json", "json or text";
    LOG_OUTPUT = "log-output", "LOG_OUTPUT", Some("logOutput"), "stderr", "stderr or stdout";
}

/// The variable that holds the only cluster's key itself. There is no flag: command lines are public.
pub const TOKEN_ENV: &str = "HELMREBOOT_TOKEN";
