//! The built-in rules: one row a family of failures.
//!
//! Who speaks, what failed, and would the very same request succeed later? A row names the family, not
//! a message. Patterns see the head of the message, in linear time, with `.` matching line breaks.

words! {
    /// What a failure is worth.
    Class {
        /// No failed release, or Flux retries by itself.
        Benign = "benign",
        /// Somebody must change something first.
        Permanent = "permanent",
        /// Retrying the same release unchanged has a fair chance.
        Transient = "transient",
        /// No rule fired.
        Unknown = "unknown",
    }
}

/// A row of the rule table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Kebab-case name; what metrics, logs and the `cause` annotation show.
    pub name: &'static str,
    /// What a match means.
    pub class: Class,
    /// A linear-time regular expression over the head of the message.
    pub pattern: &'static str,
    /// One line for people.
    pub why: &'static str,
}

const fn benign(name: &'static str, pattern: &'static str, why: &'static str) -> Rule {
    Rule {
        name,
        class: Class::Benign,
        pattern,
        why,
    }
}
const fn permanent(name: &'static str, pattern: &'static str, why: &'static str) -> Rule {
    Rule {
        name,
        class: Class::Permanent,
        pattern,
        why,
    }
}
const fn transient(name: &'static str, pattern: &'static str, why: &'static str) -> Rule {
    Rule {
        name,
        class: Class::Transient,
        pattern,
        why,
    }
}

/// All built-in rules. Within a class, the first that matches names the verdict.
///
/// Benign rules are anchored to what helm-controller itself writes first, so that no text from a chart
/// can reach them.
#[rustfmt::skip]
pub const BUILT_IN: &[Rule] = &[
    benign("drift", r"^Cluster state of release \S+ has (drifted|been corrected)", "a notice about drift; no release failed"),
    benign("health-check-canceled", r"^(New reconciliation triggered by|Health checks canceled due to) ", "Flux itself starts the next reconciliation"),
    benign("dependency", r"^(dependency '[^']+' is not ready|unable to get '[^']+' dependency)", "Flux waits for the dependency by itself"),
    benign("source-pending", r"^[A-Za-z]+ '[^']+' is not ready: (does not have an artifact|latest generation of object has not been reconciled)", "Flux waits for the source by itself"),
    benign("progress", r"^Running '[a-z]+' action with timeout of ", "Flux is at work"),
    benign("succeeded", r"^Helm ((install|upgrade|uninstall|test) succeeded for release |(rollback to previous|uninstall remediation for) release \S+ with chart \S+ succeeded$)", "an action that went well"),
    benign("awaiting-tests", r"^Helm release \S+ with chart \S+ is awaiting tests", "Flux runs the tests next"),
    benign("unlocked", r"^Unlocked Helm release ", "Flux removed a stale lock by itself"),

    permanent("failed-object", r"status: '?Failed\b|failed early due to stalled resources", "an object says that it failed for good (kstatus)"),
    permanent("hook-job-failed", r"BackoffLimitExceeded|\bpod \S+ failed\b", "a hook's job spent its own retries"),
    permanent("admission-denied", r#"admission webhook "[^"]*" denied the request|ValidatingAdmissionPolicy .{0,200}denied request"#, "a policy refuses the object"),
    permanent("immutable-field", r"field is immutable|updates to statefulset spec for fields other than", "Kubernetes never changes this field in place"),
    permanent("invalid-object", r#""[^"]*" is invalid:"#, "the API server refuses the object as written"),
    permanent("typed-patch", r"field not declared in schema|failed to create typed patch object|unknown field ", "the manifest does not fit the API's schema"),
    permanent("forbidden", r#"is forbidden: |\(Forbidden\)|cannot (get|list|watch|create|update|patch|delete) resource "#, "rights or quota have to be changed first"),
    permanent("unauthorized", r"asked for the client to provide credentials|credential not found|\b401 Unauthorized|\b403 Forbidden|authentication required|insufficient_scope", "credentials have to be changed first"),
    permanent("field-conflict", r"Apply failed with \d+ conflict", "another field manager owns the field"),
    permanent("too-large", r"Too long: |status code 413|Request entity too large", "the release does not fit into its storage"),
    permanent("values-schema", r"values don't meet the specifications of the schema", "the values do not fit the chart's schema"),
    permanent("template", r"execution error at \(|\btemplate: [^ ]+:\d+:\d+|parse error (on|at) |nil pointer evaluating|while running post render", "the chart does not render with these values"),
    permanent("yaml", r"error converting YAML to JSON|cannot unmarshal |mapping values are not allowed|cannot be handled as a ", "the text is not the object it should be"),
    permanent("missing-kind", r"no matches for kind ", "the API kind is not installed; somebody has to install it"),
    permanent("adoption", r"invalid ownership metadata|cannot re-use a name that is still in use", "the object or name belongs to another release"),
    permanent("helm-storage", r"has no deployed releases|release: not found|with status 'uninstalling'", "Helm's own record needs repair"),
    permanent("invalid-operation", r"invalid operation: ", "the chosen options exclude each other"),
    permanent("rollback-target-missing", r"missing target release for rollback", "there is no revision to go back to"),
    permanent("webhook-service-missing", r#"failed calling webhook .{0,600}service "[^"]*" not found"#, "a webhook outlived the service behind it"),
    permanent("values-reference", r#"^could not resolve .{0,300} chart values reference .{0,300}(key not found|" not found)"#, "the referenced values do not exist"),
    permanent("kubeconfig", r"^KubeConfig secret ", "the kubeconfig Secret is incomplete"),
    permanent("cross-namespace", r"^cross-namespace references are not allowed", "Flux is told not to follow such references"),
    permanent("terminal-configuration", r"^Reconciliation failed terminally", "Flux itself calls it final"),
    permanent("chart-missing", r"\b404 Not Found|chart with version matching|no chart (name|version) found|no values file found|manifest unknown", "the chart or version does not exist"),
    permanent("chart-verification", r"verification error|no matching signatures", "the chart's signature does not verify"),
    permanent("registry-certificate", r"(chart pull error|failed to (download|fetch|get)|Could not load chart).{0,600}x509: ", "the registry's certificate is not trusted"),
    permanent("gave-up-without-cause", r"retries exhausted|^Failed to [a-z]+ after \d+ attempt", "says that Flux stopped, and not why"),

    transient("wait-timeout", r"timeout waiting for: \[|timed out waiting for |not ready[.,] .{0,200}status: '?(InProgress|Unknown)", "a slow start: the objects were still on their way (helm-controller >= 1.5, kstatus)"),
    transient("webhook-unreachable", r#"failed calling webhook|conversion webhook for \S+ .{0,100}failed: Post"#, "the webhook's pods did not answer"),
    transient("job-deadline", r"failed: DeadlineExceeded", "a hook's job was cut off by its deadline"),
    transient("hook-race", r#"Hook \S+ \S+ failed: .{0,100}secrets "[^"]*" already exists"#, "hooks of two runs met; a plain retry passes"),
    transient("rate-limiter", r"client rate limiter Wait returned an error|would exceed context deadline", "the client held itself back until time was up"),
    transient("etcd", r"etcdserver: ", "etcd was slow or changed its leader"),
    transient("api-overloaded", r"has received too many requests|currently unable to handle the request|unable to return a response in the time allotted|Kubernetes cluster unreachable|Informer to sync", "the API server was overloaded or away"),
    transient("object-modified", r"the object has been modified; please apply your changes", "two writers met (409); the next try reads anew"),
    transient("helm-lock", r"another operation \(install/upgrade/rollback\) is in progress", "Flux unlocks it on the next try (helm-controller >= 0.37)"),
    transient("registry-overloaded", r"\b429 Too Many Requests|\b50[0234] (Internal Server Error|Bad Gateway|Service Unavailable|Gateway Time-?out)|giving up after \d+ attempt|toomanyrequests", "the registry or repository was overloaded or away"),
    transient("artifact-race", r"computed digest doesn't match", "the artifact was replaced while it was read"),
    transient("connection", r"connection refused|connection reset|broken pipe|i/o timeout|TLS handshake timeout|client connection lost|sent GOAWAY|stream error: |unexpected EOF|: EOF\b|no route to host|network is unreachable|no such host|server misbehaving", "the network or the peer failed for a moment (Go net, net/http)"),
    transient("deadline", r"context deadline exceeded", "time ran out before anybody said no"),
    transient("canceled", r"context canceled", "the controller was stopped in the middle"),
];
