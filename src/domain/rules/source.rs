//! Where charts come from: repositories and registries.

use super::{Family, permanent, transient};

const SOURCE: &str = "fluxcd/source-controller:internal/helm";
const REGISTRY: &str =
    "distribution/distribution:registry/api/v2/errors.go, oras-go, net/http status texts";

pub(super) const FAMILY: Family = Family {
    name: "source",
    about: "chart repositories and registries",
    rules: &[
        permanent(
            "chart-missing",
            &[
                r"\b(404|410) (Not Found|Gone)|status( code)?:? (404|410)\b|HTTP 404\b",
                r"chart with version matching|no chart (name|version) found",
                r"no chart version found",
                r"no values file found|(MANIFEST|NAME|BLOB)_UNKNOWN",
                r"(manifest|name|blob) unknown",
                r"repository (name )?(is )?not (found|known)",
                r"not found in \S+ (index|repository)",
                r"no such file or directory",
                concat!(
                    r"(could not locate|no) .{0,80}(version|tags?|chart) (matching|",
                    r"found|available)"
                ),
                r"unable to locate any tags|couldn't find (tag|remote ref)",
                r"could not locate a version",
                r"has no downloadable URLs| : (404|410)\b|no match found for semver",
                r"[Nn]o tags found",
                r"failed to (get|fetch|download|pull|resolve) [^\n]*: not found\b",
            ],
            "the chart or version does not exist",
            REGISTRY,
        ),
        permanent(
            "source-settings",
            &[
                r"stopped after \d+ redirects",
                r"(unsupported|missing) protocol scheme|scheme \S+ not supported",
                r"not a valid chart repository([^ ]|$)",
                r"(invalid|malformed) (Helm )?(repository )?(URL|url|reference)",
                r"invalid reference",
                r"first path segment in URL|authentication secret",
                r"(failed to|could not) get (authentication|auth|certificate|TLS) ",
                r"minimum number of descriptors|no API version specified",
                r"(with|unsupported|unknown) media ?type|media type '",
                r"looks like .* (html|HTML)|: object required\b",
            ],
            "the source is not set up as its server needs it",
            SOURCE,
        ),
        permanent(
            "request-refused",
            &[
                concat!(
                    r"\b(400 Bad Request|402 Payment Required|405 Method Not Allowed|",
                    r"406 Not Acceptable|412 Precondition Failed|415 Unsupported Media ",
                    r"Type|422 Unprocessable|451 Unavailable For Legal|501 Not ",
                    r"Implemented)"
                ),
                r"status(es)?( code)?:? (400|402|405|406|412|415|422|451|501)\b",
            ],
            "the server refuses the request as it is",
            "Go net/http status texts",
        )
        .fallback(),
        permanent(
            "chart-verification",
            &[
                r"no (matching )?(signatures?|attestations?)( were)? found",
                r"no matching signatures",
                r"signature (verification failed|mismatch|is invalid)",
                r"provenance (data|file)",
                r"not signed",
            ],
            "the chart's signature does not verify",
            "sigstore/cosign, notaryproject/notation",
        ),
        permanent(
            "verification-failed",
            &[r"verification error|failed to verify|\bcosign|\bnotation\b"],
            "the chart's signature was not verified",
            "sigstore/cosign, notaryproject/notation",
        )
        .fallback(),
        permanent(
            "log-in-failed",
            &[
                concat!(
                    r"failed to (log ?in|authenticate|authorize|refresh cached ",
                    r"credentials)"
                ),
                concat!(
                    r"failed to (get|retrieve) (credential|authorization token|access ",
                    r"token)"
                ),
                r"[Uu]nable to retrieve credentials|cannot fetch token",
                r"failed to acquire a token",
            ],
            "the log-in failed, and the message does not mention an outage",
            "registries and clouds",
        )
        .fallback(),
        transient(
            "refused-for-now",
            &[concat!(
                r"status code (429|50[0-4]): (denied|unauthorized|forbidden|not ",
                r"found): "
            )],
            "the status says for now, whatever the registry says beside it",
            REGISTRY,
        )
        .infrastructure()
        .exception(),
        transient(
            "registry-overloaded",
            &[
                r#"\]\[50\d\]|"code": ?50\d\b|upstream request timeout"#,
                concat!(
                    r"\b(408|425|429|5\d\d) (Request|Too|Internal|Bad|Service|Gateway|",
                    r"Web|Origin|Insufficient|Unknown)"
                ),
                r"status( ?[cC]ode)?[:=]? ?(from \S+ request: )?(408|425|429|5\d\d)\b",
                r"HTTP( status)?[: ](408|425|429|5\d\d)\b",
                r"(Service|service) (Temporarily )?(Unavailable|unavailable)",
                r"Bad Gateway",
                r"Gateway Time-?out|Internal Server Error",
                r"giving up after \d+ attempt|[Ee]rror 5\d\d\b",
                r" : (429|5\d\d)\b|unexpected status( code)? \S+: (408|429|5\d\d)\b",
                r"read only mode",
                r"[Dd]ata limit exceeded|blob upload (unknown|invalid)",
                r"failed commit on ref",
                r"unexpected commit digest( \S+, expected \S+)?",
                r"failed size validation|status code \[[^\]]*\]: (429|5\d\d)|TOO_MANY_REQUEST",
                r"temporarily_unavailable|is in GC|IDPCommunicationError",
                r"AADSTS(90033|50196|90013)",
            ],
            "the registry or repository was overloaded or unavailable",
            REGISTRY,
        )
        .infrastructure(),
        transient(
            "throttled",
            &[
                r"toomanyrequests|TOOMANYREQUESTS|[Tt]oo [Mm]any [Rr]equests",
                r"pull rate limit",
                r"[Rr]ate [Ll]imit(ed|s)?\b|[Rr]ate exceeded(\s+status code: 400)?",
                r"reduce your request rate|(been|was|is|being) throttled|throttled (by|request)",
                concat!(
                    r"(^|[:(=]\s*|code[ :]+|[Ee]rror )(Throttl(ing|ed)(Exception)?|RequestLimitExceeded|",
                    r"SlowDown|ServerBusy|TooManyRequests(Exception)?)\b"
                ),
                r"RESOURCE_EXHAUSTED|[Qq]uota exceeded for quota (metric|group)",
                r"ServerBusyException",
            ],
            "too many requests for now",
            "registries and clouds",
        )
        .infrastructure(),
    ],
};
