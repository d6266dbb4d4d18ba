//! What of a message is looked at.

/// The most of a message that is looked at, in bytes. Condition messages hold up to 32 KiB; what is longer
/// is never taken for a passing failure, for nobody saw all of it.
pub const HEAD_LIMIT: usize = 64 * 1024;

/// As much of a head as is looked at.
pub(super) fn bounded(head: &str) -> &str {
    &head[..head.floor_char_boundary(HEAD_LIMIT)]
}

/// The failures a message lists, where it lists several: hashicorp/go-multierror's list, in several lines
/// or in one, escaped or not; what Helm joins when it uninstalls; how Helm 3 joins patches, and Helm 4
/// lines; and what went wrong before a clean-up failed too.
pub(super) fn items(head: &str) -> impl Iterator<Item = &str> {
    let errors = after(head, "errors occurred:").map(|list| list.split("* "));
    let errors = errors.into_iter().flat_map(|items| items.skip(1));
    let deletions = after(head, "error(s): ").filter(|list| list.contains("; "));
    let deletions = deletions.into_iter().flat_map(|list| list.split("; "));
    let patches = Some(head).filter(|list| list.contains(" && "));
    let patches = patches.into_iter().flat_map(|list| list.split(" && "));
    let lines = Some(head).filter(|head| head.contains('\n'));
    let lines = lines.map(|head| head.split('\n').filter(|line| speaks_of_one(line)));
    let lines = lines.filter(|lines| lines.clone().nth(1).is_some());
    let original = ["original install error: ", "original upgrade error: "];
    let original = original.into_iter().find_map(|words| after(head, words));
    let original = original.and_then(|rest| rest.split(": unable to cleanup").next());
    errors
        .chain(deletions)
        .chain(patches)
        .chain(lines.into_iter().flatten())
        .chain(original)
}

/// How Helm 4 and drift correction begin what they say of one object among several; they join such lines.
fn speaks_of_one(line: &str) -> bool {
    let words = [
        "server-side apply failed for object",
        "conflict occurred while applying",
        "cannot patch \"",
        "Internal error occurred: ",
        " patch failure: ",
        " creation failure: ",
    ];
    words.iter().any(|words| line.contains(words))
}

fn after<'a>(head: &'a str, introduction: &str) -> Option<&'a str> {
    head.split_once(introduction).map(|(_, list)| list)
}

/// Whether a match lies between double quotes: values and names stand there, which strangers choose.
/// What programs quote of each other does not: `error on the server ("EOF")`, `desc = "EOF"`.
pub(super) fn quoted(head: &str, start: usize, end: usize) -> bool {
    let line = head[..start].rfind('\n').map_or(0, |at| at + 1);
    let before = &head[line..start];
    let mut quotes = before.match_indices('"').map(|(at, _)| at);
    let mut quotes = quotes.by_ref().filter(|at| !before[..*at].ends_with('\\'));
    let (mut opening, mut open) = (0, false);
    for at in quotes.by_ref() {
        (opening, open) = (at, !open);
    }
    let introduced = before[..opening].ends_with(['(', '=']) || before[..opening].ends_with("= ");
    open && !introduced
        && head[end..]
            .lines()
            .next()
            .is_some_and(|rest| rest.contains('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_taken_apart() {
        let table: [(&str, &[&str]); 8] = [
            ("a", &[]),
            (
                "hooks failed: 2 errors occurred:\n\t* a\n\t* b",
                &["a\n\t", "b"],
            ),
            (
                "cannot patch a && cannot patch b",
                &["cannot patch a", "cannot patch b"],
            ),
            ("1 error occurred:\n\t* a\n\n", &[]),
            ("2 errors occurred: * a * b", &["a ", "b"]),
            ("completed with 2 error(s): a; b", &["a", "b"]),
            (
                "x:\na patch failure: b\nc patch failure: d\n",
                &["a patch failure: b", "c patch failure: d"],
            ),
            (
                "cleaning up. original upgrade error: a: unable to cleanup resources: b",
                &["a"],
            ),
        ];
        for (head, listed) in table {
            assert_eq!(items(head).collect::<Vec<_>>(), listed, "{head}");
        }
    }

    #[test]
    fn what_stands_in_quotes_is_a_value_unless_a_program_speaks() {
        for (head, expected) in [
            ("invalid name \"EOF\"", true),
            ("Get \"https://x\": EOF", false),
            ("an error on the server (\"EOF\") has", false),
            ("desc = \"EOF\"", false),
            ("\"a\" and EOF", false),
            ("\"a\nEOF\"", false),
        ] {
            let start = head.find("EOF").expect("the match");
            assert_eq!(quoted(head, start, start + 3), expected, "{head}");
        }
    }
}
