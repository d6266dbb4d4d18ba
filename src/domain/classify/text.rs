//! The part of a message that rules see.

use std::ops::Range;

/// The most of a message that rules see, in bytes. Condition messages hold up to 32 KiB; what is longer
/// is never transient, because rules did not see all of it.
pub const HEAD_LIMIT: usize = 64 * 1024;

/// The part of a head that rules see.
pub(super) fn bounded(head: &str) -> &str {
    &head[..head.floor_char_boundary(HEAD_LIMIT)]
}

/// The failures a message lists, where it lists several: hashicorp/go-multierror's list, in several lines
/// or in one, escaped or not; what Helm joins when it uninstalls; how Helm 3 joins patches, and Helm 4
/// lines; and what went wrong before a clean-up failed too. `head` is in lower case.
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
        "internal error occurred: ",
        " patch failure: ",
        " creation failure: ",
    ];
    words.iter().any(|words| line.contains(words))
}

/// A message in lower case, with the names that helm-controller's own words give replaced: a release may be called
/// `throttled`. Places in it are places in `text` too.
pub(super) fn without_names(text: &str) -> String {
    let mut lower = text.to_ascii_lowercase();
    let begins = [
        "helm install failed for release ",
        "helm upgrade failed for release ",
        "helm test failed for release ",
        "helm uninstall failed for release ",
        "helm uninstall remediation for release ",
        "helm rollback to previous release ",
    ];
    let Some(begin) = begins.into_iter().find(|begin| lower.starts_with(begin)) else {
        return lower;
    };
    let release = mask_name(&mut lower, begin.len());
    if lower[release..].starts_with(" with chart ") {
        mask_name(&mut lower, release + " with chart ".len());
    }
    lower
}

/// Replaces the name that begins at `start`. Where it ends.
fn mask_name(text: &mut String, start: usize) -> usize {
    let length = text[start..].find([' ', ':']).unwrap_or(0);
    text.replace_range(start..start + length, &"_".repeat(length));
    start + length
}

/// Whether a message ends inside quotes or brackets, or with a colon or the like. Then the cause may have been cut off.
pub(super) fn is_cut(head: &str) -> bool {
    let head = head.trim_end();
    let count = |wanted: char| head.matches(wanted).count();
    let open = |opening, closing| count(opening) > count(closing);
    let announces = head.ends_with([':', ',', '=', '&', '(', '[', '{']);
    // The API server ends so, where an object has gone (`k8s.io/apiserver:pkg/storage/errors.go`).
    announces && !head.ends_with("uid in object meta:")
        || ends_inside_quotes(head)
        || open('[', ']')
        || open('(', ')')
        || open('{', '}')
}

/// Whether the last double quote opens, and none before it was left open.
fn ends_inside_quotes(head: &str) -> bool {
    let plain: Vec<usize> = head
        .match_indices('"')
        .map(|(at, _)| at)
        .filter(|at| !head[..*at].ends_with('\\'))
        .collect();
    let Some(last) = plain.last().filter(|_| !plain.len().is_multiple_of(2)) else {
        return false;
    };
    let before = head[..*last].chars().next_back();
    before.is_none_or(|before| before.is_whitespace() || "([{=:".contains(before))
}

fn after<'a>(head: &'a str, introduction: &str) -> Option<&'a str> {
    head.split_once(introduction).map(|(_, list)| list)
}

/// Where the double quotes and the line breaks of a text are. Found once for a text, so that asking about
/// many matches costs no more than their number. All offsets are bytes: a match of a bytes pattern may
/// begin or end inside a character.
pub(super) struct Quotes<'a> {
    text: &'a [u8],
    /// All double quotes.
    all: Vec<usize>,
    /// Those that no backslash precedes.
    plain: Vec<usize>,
    lines: Vec<usize>,
}

impl<'a> Quotes<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let text = text.as_bytes();
        let places = |wanted: u8| {
            let bytes = text.iter().enumerate();
            bytes.filter_map(move |(at, byte)| (*byte == wanted).then_some(at))
        };
        let all: Vec<_> = places(b'"').collect();
        let escaped = |at: &usize| text[..*at].ends_with(b"\\");
        Self {
            text,
            plain: all.iter().copied().filter(|at| !escaped(at)).collect(),
            lines: places(b'\n').collect(),
            all,
        }
    }

    /// Whether a match lies between double quotes: values and names are written there, which people
    /// outside choose. What programs quote of each other does not count: `error on the server ("EOF")`,
    /// `desc = "EOF"`.
    pub(super) fn around(&self, span: &Range<usize>) -> bool {
        let breaks = self.lines.partition_point(|at| *at < span.start);
        let line = breaks.checked_sub(1).map_or(0, |last| self.lines[last] + 1);
        let first = self.plain.partition_point(|at| *at < line);
        let before = self.plain.partition_point(|at| *at < span.start);
        if (before - first).is_multiple_of(2) {
            return false;
        }
        let opening = &self.text[line..self.plain[before - 1]];
        let introduced = [&b"("[..], b"=", b"= "];
        if introduced.iter().any(|words| opening.ends_with(words)) {
            return false;
        }
        let next = self.lines.partition_point(|at| *at < span.end);
        let end = self.lines.get(next).copied().unwrap_or(self.text.len());
        let closing = self.all.partition_point(|at| *at < span.end);
        self.all.get(closing).is_some_and(|at| *at < end)
    }
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
            let quotes = Quotes::of(head);
            assert_eq!(quotes.around(&(start..start + 3)), expected, "{head}");
        }
    }

    #[test]
    fn a_match_that_ends_inside_a_character_is_judged_like_any_other() {
        let head = "\"quota exceeded\u{2026}\"";
        let quotes = Quotes::of(head);
        for start in 0..head.len() {
            for end in start..=head.len() {
                quotes.around(&(start..end));
            }
        }
        assert!(quotes.around(&(1..16)));
    }
}
