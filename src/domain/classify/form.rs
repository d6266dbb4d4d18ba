//! One form for all messages: logs, terminals, web pages and YAML change the form of a message, and the same words
//! must get the same verdict.

use std::{borrow::Cow, ops::Range};

use smallvec::{SmallVec, smallvec};

/// Widths at which lines are wrapped, in characters. Longer lines are those of the message itself.
const WIDTHS: Range<usize> = 30..133;

/// The ways to read a message, the likeliest first. There are two where a line break may be inside of a word or
/// between two words.
pub(super) fn readings(message: &str) -> SmallVec<[Cow<'_, str>; 2]> {
    let text = plain(message);
    if !text.contains('\n') {
        return smallvec![text];
    }
    let lines: Vec<&str> = text.lines().filter(|line| !is_warning(line)).collect();
    let wrapped = Wrapped::of(&lines);
    if !wrapped.is_likely() {
        return smallvec![Cow::Owned(lines.join("\n"))];
    }
    let (words, folded) = (wrapped.join(" "), wrapped.join(""));
    // Lines that are broken between words hardly ever have all the same length.
    if wrapped.full < wrapped.breaks || words == folded {
        smallvec![Cow::Owned(words)]
    } else if wrapped.full > 2 {
        smallvec![Cow::Owned(folded)]
    } else {
        smallvec![Cow::Owned(words), Cow::Owned(folded)]
    }
}

/// Characters and escapes in the form in which controllers write them.
fn plain(message: &str) -> Cow<'_, str> {
    let unusual = |byte: u8| matches!(byte, b'\x1b' | b'\r' | b'&') || !byte.is_ascii();
    if !message.bytes().any(unusual) && !message.contains("\\u00") {
        return Cow::Borrowed(message);
    }
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        rest = match first {
            '\x1b' => behind_escape(behind),
            '&' | '\\' => {
                let decoded = ESCAPES.iter().find(|(escape, _)| rest.starts_with(escape));
                out.push(decoded.map_or(first, |(_, character)| *character));
                decoded.map_or(behind, |(escape, _)| &rest[escape.len()..])
            }
            '\r' => {
                out.push('\n');
                behind.strip_prefix('\n').unwrap_or(behind)
            }
            '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => behind,
            _ => {
                out.push(match first {
                    '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' => ' ',
                    '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}' => '"',
                    '\u{2018}'..='\u{201b}' | '\u{2039}' | '\u{203a}' => '\'',
                    other => other,
                });
                behind
            }
        };
    }
    Cow::Owned(out)
}

/// Escapes of HTML, and those of JSON as Go writes them (`encoding/json`, `SetEscapeHTML`).
const ESCAPES: [(&str, char); 14] = [
    ("&quot;", '"'),
    ("&#34;", '"'),
    ("&#x22;", '"'),
    ("&#39;", '\''),
    ("&#x27;", '\''),
    ("&apos;", '\''),
    ("&lt;", '<'),
    ("&gt;", '>'),
    ("&nbsp;", ' '),
    ("&#160;", ' '),
    ("&amp;", '&'),
    ("\\u003c", '<'),
    ("\\u003e", '>'),
    ("\\u0026", '&'),
];

/// What follows an escape sequence of a terminal (ECMA-48), whose first character was read.
fn behind_escape(rest: &str) -> &str {
    let is_final = |character: char| ('@'..='~').contains(&character);
    match rest.strip_prefix('[') {
        Some(sequence) => sequence
            .find(is_final)
            .map_or("", |end| &sequence[end + 1..]),
        None => rest,
    }
}

/// A line that Helm writes while it merges values (`helm/helm:pkg/chart/common/util/coalesce.go`), or a warning of
/// the API server that client-go logs. No line of this kind says why a release failed.
fn is_warning(line: &str) -> bool {
    let line = line.trim_start();
    let dated = line.trim_start_matches(|character: char| {
        character.is_ascii_digit() || matches!(character, '/' | ':' | ' ' | '.')
    });
    ["coalesce.go:", "table.go:", "values.go:"]
        .iter()
        .any(|file| dated.starts_with(file) && dated.contains(": warning: "))
        || dated.len() < line.len() && dated.starts_with("warning: ")
        || line.starts_with('W') && line.contains(" warnings.go:")
}

/// Lines that something wrapped at a width.
struct Wrapped<'a> {
    lines: &'a [&'a str],
    /// The length of the longest line, in characters. A word that is longer has a line of its own.
    width: usize,
    /// Line breaks that were not in the message.
    breaks: usize,
    /// Those of them behind a line of full width.
    full: usize,
    /// Line breaks of the message itself, between lines that are not empty.
    own: usize,
}

impl<'a> Wrapped<'a> {
    fn of(lines: &'a [&'a str]) -> Self {
        let several = |line: &&&str| line.trim().contains(' ');
        let length = |line: &&str| line.chars().count();
        let width = lines.iter().filter(several).map(length).max();
        let width = width.or_else(|| lines.iter().map(length).max());
        let mut wrapped = Self {
            lines,
            width: width.unwrap_or_default(),
            breaks: 0,
            full: 0,
            own: 0,
        };
        if WIDTHS.contains(&wrapped.width) {
            for pair in lines.windows(2) {
                if wrapped.is_break(pair[0], pair[1]) {
                    wrapped.breaks += 1;
                    wrapped.full += usize::from(pair[0].chars().count() == wrapped.width);
                } else if pair.iter().all(|line| !line.trim().is_empty()) {
                    wrapped.own += 1;
                }
            }
        }
        wrapped
    }

    /// Behind the longest line, every break looks like one that was not in the message.
    fn is_likely(&self) -> bool {
        self.breaks > 0 && self.breaks >= self.own
    }

    /// Whether `line` was broken because the first word of `next` did not fit. A list goes on in a line of its
    /// own, and so does a new paragraph.
    fn is_break(&self, line: &str, next: &str) -> bool {
        let begins = next.trim_start();
        let listed = ["* ", "- ", "| ", "+ "]
            .iter()
            .any(|sign| begins.starts_with(sign));
        let Some(word) = begins.split(' ').next().filter(|word| !word.is_empty()) else {
            return false;
        };
        let length = line.chars().count();
        let too_long = length + 1 + word.chars().count() > self.width;
        !line.trim().is_empty() && too_long && !listed
    }

    /// Without those breaks: `joint` takes the place of one behind a full line, and a space that of any other.
    fn join(&self, joint: &str) -> String {
        let mut out = String::new();
        let mut lines = self.lines.iter().peekable();
        while let Some(line) = lines.next() {
            out.push_str(line);
            let Some(next) = lines.peek() else {
                break;
            };
            out.push_str(match self.is_break(line, next) {
                false => "\n",
                true if line.chars().count() != self.width => " ",
                true if is_inside_an_address(line) => "",
                true => joint,
            });
        }
        out
    }
}

/// Whether a full line ends inside an address, which may be longer than a line.
fn is_inside_an_address(line: &str) -> bool {
    let last = line.rsplit(' ').next().unwrap_or_default();
    last.contains("://") && !last.ends_with(['"', ':', ',', ';', ')'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(message: &str) -> String {
        readings(message)[0].clone().into_owned()
    }

    #[test]
    fn characters_and_escapes_are_written_as_controllers_write_them() {
        for (message, expected) in [
            ("\x1b[1;31mtimed\x1b[0m out", "timed out"),
            ("timed\u{a0}out\u{200b}", "timed out"),
            ("\u{201c}a\u{201d} isn\u{2019}t", "\"a\" isn't"),
            ("Get &quot;https://a?b&amp;c&quot;", "Get \"https://a?b&c\""),
            ("a \\u003cnil\\u003e", "a <nil>"),
            ("a &b; \\u0000 &", "a &b; \\u0000 &"),
            ("a\r\nb\rc", "a\nb\nc"),
            ("\x1b", ""),
            ("\x1b[31", ""),
        ] {
            assert_eq!(first(message), expected);
        }
    }

    #[test]
    fn warnings_of_helm_are_left_out() {
        let warnings = "coalesce.go:286: warning: cannot overwrite table with non table for a.b (map[])\n2024/01/02 10:11:12 warning: skipped value for a.b: Not a table.\nW0102 10:11:12.000000       1 warnings.go:70] unknown field \"spec.a\"\n";
        assert_eq!(first(&format!("{warnings}timed out")), "timed out");
        assert_eq!(first("warning: it\nfailed"), "warning: it\nfailed");
    }

    #[test]
    fn lines_that_were_wrapped_are_joined_and_others_are_not() {
        let message = "1 error occurred:\n\t* Internal error occurred: failed calling webhook \"a.b.c\": context deadline exceeded\n\n";
        let wrapped = "1 error occurred:\n\t* Internal error occurred: failed calling\nwebhook \"a.b.c\": context deadline exceeded\n\n";
        assert_eq!(first(wrapped), first(message));
        let whole = "failed calling webhook \"policy.example.org\": Post \"https://policy.policy.svc:443/validate?timeout=10s\": dial tcp 10.0.0.1:443: connection refused";
        let characters: Vec<char> = whole.chars().collect();
        let folded: Vec<String> = characters.chunks(40).map(String::from_iter).collect();
        assert_eq!(first(&folded.join("\n")), whole);
        for kept in [
            "a: b\nc: d",
            "resource a not ready\ncontext deadline exceeded",
        ] {
            assert_eq!(first(kept), kept);
        }
    }
}
