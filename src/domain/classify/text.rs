//! What of a message is looked at.

/// The most of a message that is looked at, in bytes: condition messages hold up to 32 KiB.
pub const HEAD_LIMIT: usize = 16 * 1024;

/// Of what is longer, so much of the end is looked at, for wrapped errors name their cause last.
const END: usize = 4 * 1024;

/// helm-controller appends up to ten log lines behind this to what it sends, never to conditions
/// (`fluxcd/helm-controller:internal/reconcile/*.go`). The tail is noise that anybody can write into.
const LOG_TAIL: &str = "Last Helm logs:";

/// What stands between several failures in one message: hashicorp/go-multierror's list, and how Helm 3
/// joins several patches.
const BETWEEN: [&str; 3] = ["\n\t* ", "\\n\\t* ", " && "];

/// What Helm itself said, without the log tail. On one line, as kubectl prints it, line breaks are
/// spaces or escaped.
pub fn head(message: &str) -> &str {
    let tails = message
        .match_indices(LOG_TAIL)
        .map(|(at, _)| &message[..at]);
    let mut own_line =
        tails.filter(|before| before.ends_with(char::is_whitespace) || before.ends_with("\\n"));
    let head = own_line.next().unwrap_or(message);
    head.trim_end_matches("\\n").trim()
}

/// The start of a head, and the end of one that is too long to be looked at as a whole.
pub(super) fn windows(head: &str) -> [&str; 2] {
    if head.len() <= HEAD_LIMIT {
        return [head, ""];
    }
    let start = head.floor_char_boundary(HEAD_LIMIT - END);
    let end = head.ceil_char_boundary(head.len() - END);
    [&head[..start], &head[end..]]
}

/// The failures a message lists, where it lists several.
pub(super) fn items(head: &str) -> impl Iterator<Item = &str> {
    BETWEEN.into_iter().flat_map(move |between| {
        let mut items = head.split(between);
        let first = items.next();
        // In front of a list stands what it is a list of.
        let introduces = first.is_some_and(|first| first.ends_with("occurred:"));
        let alone = items.clone().next().is_none();
        let first = first.filter(|_| !introduces && !alone);
        first.into_iter().chain(items)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tail_is_cut_off_in_every_form_it_is_printed_in() {
        for tail in [
            "\n\nLast Helm logs:\n\na",
            " Last Helm logs: a",
            "\\n\\nLast Helm logs:\\n\\na",
        ] {
            assert_eq!(head(&format!("said{tail}")), "said", "{tail:?}");
        }
        assert_eq!(head("on-Last Helm logs:x"), "on-Last Helm logs:x");
    }

    #[test]
    fn of_a_long_head_start_and_end_are_looked_at() {
        let long = format!("first {} last", "ä".repeat(HEAD_LIMIT));
        let [start, end] = windows(&long);
        assert!(start.starts_with("first") && end.ends_with("last"));
        assert!(start.len() + end.len() <= HEAD_LIMIT);
        assert_eq!(windows("short"), ["short", ""]);
    }

    #[test]
    fn a_list_is_taken_apart() {
        let table: [(&str, &[&str]); 4] = [
            ("a", &[]),
            (
                "hooks failed: 2 errors occurred:\n\t* a\n\t* b",
                &["a", "b"],
            ),
            (
                "cannot patch a && cannot patch b",
                &["cannot patch a", "cannot patch b"],
            ),
            ("1 error occurred:\n\t* a", &["a"]),
        ];
        for (head, listed) in table {
            assert_eq!(items(head).collect::<Vec<_>>(), listed, "{head}");
        }
    }
}
