//! What Flux says of a failure, in a condition or in an event.

/// What Flux says of a failure, without a log tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureText<'a> {
    /// CamelCase reason; empty where it is not known.
    pub reason: &'a str,
    /// For people, and for the classifier.
    pub message: &'a str,
}

impl<'a> FailureText<'a> {
    /// What an event says: unlike conditions, events end in a log tail, which is cut off here.
    pub fn by_event(reason: &'a str, message: &'a str) -> Self {
        Self {
            reason,
            message: head(message),
        }
    }
}

/// The message of an event whose reason is not known.
impl<'a> From<&'a str> for FailureText<'a> {
    fn from(message: &'a str) -> Self {
        Self::by_event("", message)
    }
}

/// helm-controller appends up to ten log lines after this to what it sends, never to conditions
/// (`fluxcd/helm-controller:internal/reconcile/*.go`). Any program whose output is logged can write into the tail.
const LOG_TAIL: &str = "\n\nLast Helm logs:\n\n";

/// The same from a program that writes CRLF.
const LOG_TAIL_CRLF: &str = "\r\n\r\nLast Helm logs:\r\n";

/// What Helm itself said, without the log tail of an event.
pub fn head(message: &str) -> &str {
    let head = message.split(LOG_TAIL).next().unwrap_or_default();
    let head = head.split(LOG_TAIL_CRLF).next().unwrap_or_default();
    // A tail of no lines at all.
    head.strip_suffix(LOG_TAIL.trim_end())
        .unwrap_or(head)
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tail_is_cut_off_and_nothing_else() {
        for (message, said) in [
            ("said\n\nLast Helm logs:\n\na", "said"),
            ("said\n\nLast Helm logs:\n\n", "said"),
            ("said\r\n\r\nLast Helm logs:\r\n\r\na", "said"),
            ("a Last Helm logs: b", "a Last Helm logs: b"),
        ] {
            assert_eq!(head(message), said);
        }
    }
}
