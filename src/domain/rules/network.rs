//! Connections.

use super::{Family, transient};

pub(super) const FAMILY: Family = Family {
    name: "network",
    about: "connections, name look-ups, TLS handshakes",
    rules: &[
        transient(
            "name-lookup",
            &[
                r"[Nn]o such (host|domain)|server misbehaving",
                r"[Tt]emporary failure in name resolution",
                r"cannot unmarshal DNS message|no answer from DNS server|lame referral",
                r"invalid DNS response|[Nn]on-recoverable failure in name resolution",
                r"dial tcp: lookup ",
            ],
            "the name was temporarily not resolved",
            "Go net/dnsclient.go",
        )
        .infrastructure(),
        transient(
            "connection",
            &[
                r"connect: operation not permitted|[Cc]onnection refused",
                r"connection reset|reset by peer|broken pipe",
                r"i/o timeout",
                r"TLS handshake timeout|connection timed out",
                r"(operation|request) timed out",
                r"no route to host|host is (down|unreachable)",
                r"[Nn]etwork is (unreachable|down)",
                r"use of closed (network )?connection",
                r"connection (was )?(closed|lost|aborted)",
                r"cannot assign requested address|too many open files",
                r"actively refused|forcibly closed",
                r"failed to respond",
                r"unexpected EOF|: EOF\b|\bEOF$|server closed idle connection",
                r"transport connection broken|timeout awaiting response headers",
                r"request canceled",
                r"transport is closing|error reading from server",
                r"code = (Unavailable|Aborted) desc = ",
                r"code = ResourceExhausted desc = .*(rate|too many|retry|exhausted|limit reached)",
                r"tls: internal error",
                r"dial (tcp|udp|unix)[46]? ?\S*: (connect|lookup|operation|i/o|socket|unknown error)",
                concat!(
                    r"http2: (client conn|server sent|Transport|timeout|stream|no ",
                    r"cached|response body|request body|aborting|canceling)"
                ),
                r"sent GOAWAY|stream error: |client connection lost",
                r"[Ee]rror (while )?dialing",
                concat!(
                    r"net/http: (request canceled|TLS handshake|timeout|abort|HTTP/1\.x ",
                    r"transport)"
                ),
                r"connection is draining|received (prior )?goaway|server preface",
                r"closed the stream without|produced zero addresses",
                r"last (connection|resolver) error",
                r"persistConn|putIdleConn|readLoopPeekFail|closed response body",
                r"bad record MAC",
                r"protocol is shutdown|connection abort|endpoint is not connected",
                r"no buffer space",
                r"dropped connection|Server closed\b",
            ],
            "the network or the server failed temporarily",
            "Go net, net/http, crypto/tls, syscall",
        )
        .infrastructure(),
        transient(
            "deadline",
            &[
                r"context deadline exceeded|code = DeadlineExceeded",
                r"context\.deadlineExceededError",
                r"Client\.Timeout (exceeded|or context)",
            ],
            "a timeout, without a refusal in the message",
            "Go context, net/http",
        ),
    ],
};
