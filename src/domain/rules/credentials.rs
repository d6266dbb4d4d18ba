//! Certificates, log-ins and rights outside the cluster.

use super::{Family, permanent, transient};

pub(super) const FAMILY: Family = Family {
    name: "credentials",
    about: "certificates, log-ins and rights",
    rules: &[
        permanent(
            "certificate",
            &[
                r"x509: ",
                concat!(
                    r"certificate (signed by unknown authority|has expired|is not ",
                    r"trusted|verify failed)"
                ),
                concat!(
                    r"tls: (bad certificate|unknown certificate|expired cert|revoked cert|certificate required|",
                    r"failed to (verify|parse)|first record does not look like|",
                    r"unsupported|no supported|protocol version|no application protocol|",
                    r"unrecognized name|handshake failure|private key)"
                ),
                r"self[- ]signed certificate|server gave HTTP response to HTTPS client",
            ],
            "the other side's certificate is not trusted",
            "Go crypto/x509, crypto/tls",
        ),
        permanent(
            "decryption",
            &[
                r"no (key could|master key was able to) decrypt",
                r"no identity matched any of the recipients|age: no identities specified",
                r"[Ee]rror getting data key: 0 successful groups required",
                r"sops metadata not found|MAC mismatch\. File has",
            ],
            "there is no key for this file",
            "getsops/sops",
        ),
        permanent(
            "unauthorized",
            &[
                r"asked for the client to provide credentials",
                r"must be logged in to the server|status code \[[^\]]*\]: 40[13]\b|InvalidIdentityToken",
                r"No OpenIDConnect provider|ssh: unable to authenticate",
                r"knownhosts: key",
                r": Unauthorized\b",
                r"\x22: (Forbidden|Proxy Authentication Required|Method Not Allowed)",
                r"\bunauthorized: |\x22unauthorized\x22",
                r"\b(401|403|407)[ :]+(Unauthorized|Forbidden|Proxy)",
                r"status(es)?( code)?:? (from \S+ request )?(401|403)\b",
                r"credentials? not found",
                r"no basic auth credentials|[Aa]uthentication (is )?(required|failed)",
                r"insufficient_scope|access (to the resource )?(is |was )?denied",
                r"(^|: )denied: ",
                r"pull access denied",
                r"AccessDenied|Access Denied|not authorized to perform",
                r"PERMISSION_DENIED",
                r"[Pp]ermission \S+ denied|ExpiredToken",
                r"security token .* (is invalid|expired)",
                r"InvalidClientTokenId|UnrecognizedClient|SignatureDoesNotMatch",
                r"AADSTS[1-8]\d+",
                r"AADSTS90002|invalid_(grant|client|token)|[Tt]oken (has |is )?expired",
                r"incorrect username or password",
                r"(invalid|wrong|bad) (username|credentials|password|token)",
                r"no valid credential",
                concat!(
                    r"no EC2 IMDS role found, operation error ec2imds: GetMetadata, ",
                    r"(http response error StatusCode: 40\d|request canceled)"
                ),
                r"could not find default credentials|HTTP 40[13]\b",
                r"code = (PermissionDenied|Unauthenticated)",
            ],
            "credentials or rights have to be changed first",
            "registries and clouds",
        ),
        transient(
            "log-in-unanswered",
            &[concat!(
                r"authentication failed\.?[^\n]*\n(POST|GET) https://\S+\s+-+\s+RESPONSE ",
                r"(429|50\d)\b"
            )],
            "the log-in service was overloaded or unavailable",
            "Azure/azure-sdk-for-go:sdk/azidentity/errors.go",
        )
        .infrastructure()
        .exception(),
        transient(
            "limited-by-refusal",
            &[
                r"\b403 [\w ()]{0,40}[Rr]ate [Ll]imit",
                r"Throttling(Exception)?: Rate exceeded(\s|\\n|\\t)+status code: 400\b",
            ],
            "a forge or cloud that answers 400 or 403 when it means: too many requests",
            "GitHub, AWS",
        )
        .infrastructure()
        .exception(),
    ],
};
