//! Webhooks and policies in front of the API server.

use super::{Family, permanent, transient};

const DISPATCH: &str = "k8s.io/apiserver:pkg/admission/plugin/webhook";

pub(super) const FAMILY: Family = Family {
    name: "admission",
    about: "admission and conversion webhooks, policies",
    rules: &[
        permanent("webhook-service-missing", &[
            r#"(failed calling webhook|conversion webhook for|failed to call webhook)[^\n]*service "[^"]*" not found"#,
        ], "a webhook outlived the service behind it", DISPATCH),
        permanent("webhook-misconfigured", &[
            r#"failed calling webhook "[^"]*":[^\n]*(received invalid webhook response|received undecodable patch|unsupported patch type|could not create admission objects|SideEffects is nil|unsupported service type|cannot route to service|no service port \d+ found|Address is not allowed|server gave HTTP response to HTTPS client|could not find the requested resource|expected webhook response|unknown object type|does not support dry run)"#,
            r#"admission webhook "[^"]*" (does not support dry run|attempted to modify)"#,
        ], "the API server cannot use the webhook as it is set up", DISPATCH),
        permanent("admission-denied", &[
            r"denied the request|denied request: |blocked due to the following polic",
r"rejected the request|admission plugin \x22?[\w./-]+\x22? failed",
            r"violates PodSecurity",
r"unable to validate against any (security context constraint|pod security policy)",
r"GKE Warden|admission(_webhook)? denied",
        ], "a policy refuses the object", DISPATCH),

        transient("denied-by-outage", &[
            // Directly behind the webhook's name: a server's own error, no text of a policy.
            concat!(r#"admission webhook "[^"]*" denied the request: (Internal error occurred: )?([\w ./'-]+: )*(Get|Post|Put|Patch|Head|Delete) "?https?://[^"\s]*"?: "#, outage!()),
            r#"admission webhook "[^"]*" denied the request: ([\w ./'-]+: )*(Operation cannot be fulfilled on [\w.]+ "[^"]*": the object has been modified|context deadline exceeded|etcdserver: |the server is currently unable to handle the request|the server was unable to return a response in the time allotted|Timeout: failed waiting for |failed waiting for \*?[\w.]+ Informer to sync|the cache is not started)"#,
            // Gatekeeper, where whom it asks did not answer.
            concat!(r#"admission webhook "[^"]*" denied the request: \[[\w.-]+\] System error calling external data provider: failed to send external data request to provider [\w.-]+: (Get|Post) "https?://[^"\s]*": "#, outage!()),
            // Kyverno, where one image of one policy could not be looked up and nothing else is said.
            concat!(r#"admission webhook "[^"]*" denied the request:\s+(resource \S+ was blocked due to the following policies|policy \S+ for resource \S+:?)\s+[\w.-]+:\s+[\w.-]+: [|'>-]*\s*(failed to verify image \S+:\s[^"]*|failed to load context: ([\w -]+: )*)(Get|Head|Post)\s+"https?://[^"\s]*":\s+"#, outage!(), r#"['"]?\s*$"#),
        ], "the webhook answered with an outage of its own", DISPATCH).exception(),
        transient("webhook-certificate", &[
            r#"(failed calling webhook "[^"]*": (failed to call webhook: )?|conversion webhook for [^:]{1,120} failed: )(Post|Get) "?https?://[^"\s]*"?: (remote error: )?(tls: [a-z ]+: )?(x509: (certificate signed by unknown authority|certificate is not valid for any names|cannot validate certificate|certificate is not standards compliant|certificate has expired or is not yet valid: current time \S+ is before)|bad certificate|unknown certificate authority)( \(possibly because of "[^"\n]*" while trying to verify candidate authority certificate "[^"\n]*"\))?"#,
        ], "the webhook's certificate was not in place yet (CA injection)", DISPATCH).exception(),
        transient("webhook-unreachable", &[
            r"failed calling (validating |mutating )?webhook|failed to call webhook",
r"conversion webhook for [^\n]*failed: (Post|Get) ",
        ], "the webhook's pods did not answer", DISPATCH),
    ],
};
