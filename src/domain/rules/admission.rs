//! Webhooks and policies in front of the API server.

use super::{Family, permanent, transient};

const DISPATCH: &str = "k8s.io/apiserver:pkg/admission/plugin/webhook";

/// What a webhook tried before it failed, in the words of programs.
macro_rules! lookup {
    () => {
        concat!(
            "((failed to|unable to|could not|error) (get|getting|list|listing|fetch|fetching|look up|",
            "looking up|retrieve|retrieving|create|creating|update|updating|call|calling|watch) ",
            r#"([\w./"-]+ ?){0,6}: )*"#
        )
    };
}

pub(super) const FAMILY: Family = Family {
    name: "admission",
    about: "admission and conversion webhooks, policies",
    rules: &[
        permanent(
            "webhook-service-missing",
            &[concat!(
                r"(failed calling webhook|conversion webhook for|failed to call ",
                r#"webhook)[^\n]*(service "[^"]*" not found|no service port \d+ found)"#
            )],
            "a webhook outlived the service behind it",
            DISPATCH,
        ),
        permanent(
            "webhook-misconfigured",
            &[
                concat!(
                    r#"failed calling webhook "[^"]*":[^\n]*(expected response\.uid|does "#,
                    r"not accept|returned no (converted )?objects|converting \(|",
                    r"received invalid webhook ",
                    r"response|received undecodable patch|unsupported patch type|could ",
                    r"not create admission objects|SideEffects is nil|unsupported ",
                    r"service type|cannot route to service|no service port \d+ found|",
                    r"Address is not allowed|server gave HTTP response to HTTPS client|",
                    r"could not find the requested resource|expected webhook response|",
                    r"unknown object type|does not support dry run)"
                ),
                concat!(
                    r#"admission webhook "[^"]*" (does not support dry run|attempted to "#,
                    r"modify)"
                ),
            ],
            "the API server cannot use the webhook as it is set up",
            DISPATCH,
        ),
        permanent(
            "admission-denied",
            &[
                r"denied the request|denied request: ",
                r"blocked due to the following polic",
                r"rejected the request",
                r"violates PodSecurity",
                concat!(
                    r"unable to validate against any (security context constraint|pod ",
                    r"security policy)"
                ),
                r"GKE Warden|admission(_webhook)? denied",
            ],
            "a policy refuses the object",
            DISPATCH,
        ),
        transient(
            "denied-by-outage",
            &[
                // Directly behind the webhook's name, and to the end: a server's own error, no text of a policy.
                concat!(
                    r#"admission webhook "[\w.-]+" denied the request: (Internal error "#,
                    r"occurred: )?",
                    lookup!(),
                    r#"(Get|Post|Put|Patch|Head|Delete) "?https?://[^"\s]*"?: "#,
                    outage!(),
                    end!()
                ),
                concat!(
                    r#"admission webhook "[\w.-]+" denied the request: (Internal error "#,
                    r"occurred: )?",
                    lookup!(),
                    r#"(Operation cannot be fulfilled on [\w.]+ "[\w.-]+": the object "#,
                    r"has been ",
                    "modified; please apply your changes to the latest version and try again",
                    "|context deadline exceeded|etcdserver: request timed out",
                    "|the server is currently unable to handle the request",
                    "|the server was unable to return a response in the time allotted[^:]*",
                    r"|(Timeout: )?failed waiting for \*?[\w.]+ Informer to sync",
                    "|the cache is not started, can not read objects)",
                    end!()
                ),
                // A cloud's SDK behind a webhook.
                concat!(
                    r#"admission webhook "[\w.-]+" denied the request: operation error [\w ]+: \w+, "#,
                    r"(exceeded maximum number of attempts, \d+, )?https response error ",
                    r"StatusCode: (429|50\d), RequestID: [\w-]*, api error \w+: [\w .]*",
                    end!()
                ),
                concat!(
                    r#"admission webhook "[\w.-]+" denied the request: mutation policy [\w.-]+ "#,
                    r"error: (failed to apply policy [\w.-]+ rules \[[\w.-]+: )?failed to ",
                    r"load context: (failed to fetch image descriptor: \S+: |failed to ",
                    r"fetch data for APICall: (failed to execute HTTP request for ",
                    r"APICall [\w.-]+: )?)?",
                    r#"(Get|Head|Post) "https?://[^"\s]*": "#,
                    outage!(),
                    r"\]?",
                    end!()
                ),
                // Gatekeeper, where whom it asks did not answer.
                concat!(
                    r#"admission webhook "[\w.-]+" denied the request: \[[\w.-]+\] "#,
                    r"System error calling ",
                    "external data provider: failed to send external data request to provider ",
                    r#"[\w.-]+: (Get|Post) "https?://[^"\s]*": "#,
                    outage!(),
                    end!()
                ),
                // Kyverno, where one look-up of one policy failed and nothing else is said.
                concat!(
                    r#"admission webhook "[\w.-]+" denied the request:\s+(resource \S+ "#,
                    r"was blocked due to the following policies|",
                    r"policy \S+ for resource \S+:?)\s+[\w.-]+:\s+[\w.-]+: ",
                    r"[|'>-]*\s*(failed to verify image \S+:\s+([\w.\[\]]+: )*|failed ",
                    r"to load context: ",
                    r"(failed to fetch data for APICall: )?(failed to execute HTTP ",
                    r"request for APICall ",
                    r#"[\w.-]+: )?)(Get|Head|Post)\s+"https?://[^"\s]*":\s+"#,
                    outage!(),
                    r#"['"]?\s*$"#
                ),
            ],
            "the webhook answered with an outage of its own",
            DISPATCH,
        )
        .infrastructure()
        .exception(),
        transient(
            "webhook-certificate",
            &[concat!(
                r#"(failed calling webhook "[^"]*": (failed to call webhook: )?|"#,
                r"conversion webhook for [^:]{1,120} failed: )(Post|Get) ",
                r#""?https?://[^"\s]*"?: (remote error: )?(tls: [a-z ]+: )?(x509: "#,
                r"(certificate signed by unknown authority|certificate is not valid ",
                r"for any names|certificate is valid for [\w., *-]+, not [\w.-]+|",
 r"cannot validate certificate|certificate is not ",
                r"standards compliant|certificate has expired or is not yet valid: ",
                r"current time \S+ is before)|bad certificate|unknown certificate ",
                r#"authority)( \(possibly because of "[^"\n]*" while trying to "#,
                r#"verify candidate authority certificate "[^"\n]*"\))?"#
            )],
            "the webhook's certificate was not in place yet (CA injection)",
            DISPATCH,
        )
        .infrastructure()
        .exception(),
        transient(
            "webhook-unreachable",
            &[
                r"REST client: unable to load root certificates: unable to parse bytes as PEM block",
                // With what did not answer: the words before it also begin permanent failures.
                concat!(
                    r"(failed calling (validating |mutating )?webhook|failed to call webhook|",
                    r"conversion webhook for [^\n]*failed: (Post|Get) ).*(",
                    outage!(),
                    "|no endpoints available|endpoints \"[^\"]*\" not found|an error on the server|",
                    "the server is currently unable to handle the request|",
                    "the server was unable to return a response in the time allotted|",
                    "bad status from|[Pp]roxy error from|error trying to reach service|",
                    "error dialing backend|[Nn]o agent available|tls: internal error)"
                ),
            ],
            "the webhook's pods did not answer",
            DISPATCH,
        )
        .infrastructure(),
    ],
};
