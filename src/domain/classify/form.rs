//! One form for all messages: logs, terminals, web pages and YAML change the form of a message, and the same words
//! must get the same verdict.

use std::borrow::Cow;

use smallvec::{SmallVec, smallvec};

use super::wrap::{Wrapped, without_leading_spaces, without_margin};

/// The ways to read a message, the most likely first. There are two where a line break may be inside of a word or
/// between two words.
pub(super) fn readings(message: &str) -> SmallVec<[Cow<'_, str>; 2]> {
    let text = plain(message);
    if !text.contains('\n') {
        return smallvec![without_leading_spaces(text)];
    }
    let lines: Vec<&str> = text.lines().filter(|line| !is_warning(line)).collect();
    let lines = without_margin(&lines);
    let wrapped = Wrapped::of(&lines);
    if !wrapped.is_likely() {
        return smallvec![Cow::Owned(lines.join("\n"))];
    }
    let (words, folded) = (wrapped.join(" "), wrapped.join(""));
    // Lines that are broken between words hardly ever have all the same length.
    if wrapped.full < wrapped.breaks || words == folded {
        return smallvec![Cow::Owned(words)];
    }
    match wrapped.full {
        1 | 2 => smallvec![Cow::Owned(words), Cow::Owned(folded)],
        3 | 4 => smallvec![Cow::Owned(folded), Cow::Owned(words)],
        _ => smallvec![Cow::Owned(folded)],
    }
}

/// Characters and escapes in the form in which controllers write them.
fn plain(message: &str) -> Cow<'_, str> {
    let unusual = |byte: u8| matches!(byte, b'\x1b' | b'\r' | b'\t' | b'&') || !byte.is_ascii();
    let escaped = ["\\u00", "\\x1b", "  ", "^["];
    if !message.bytes().any(unusual) && !escaped.iter().any(|text| message.contains(text)) {
        return Cow::Borrowed(message);
    }
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    let mut in_margin = true;
    while let Some(first) = rest.chars().next() {
        in_margin = match out.chars().next_back() {
            None | Some('\n') => true,
            Some(' ') => in_margin,
            Some(_) => false,
        };
        let after = &rest[first.len_utf8()..];
        rest = match first {
            '\x1b' => after_escape(after),
            '\u{9b}' => after_control_sequence(after),
            '^' | '\\' if escape_in_text(rest).is_some() => escape_in_text(rest).unwrap_or(after),
            '&' | '\\' => {
                let (decoded, after) = unescaped(rest).unwrap_or((first, after));
                out.push(usual(decoded).unwrap_or(decoded));
                after
            }
            '\r' => {
                out.push('\n');
                after.strip_prefix('\n').unwrap_or(after)
            }
            // White space at the begin of a line is its margin; any other is one space.
            _ if first.is_whitespace() && first != '\n' => {
                if in_margin || !out.ends_with(' ') {
                    out.push(' ');
                }
                after
            }
            _ => {
                out.extend(usual(first));
                after
            }
        };
    }
    Cow::Owned(out)
}

/// The character that controllers write in place of this one; `None` for those that are not seen.
fn usual(character: char) -> Option<char> {
    match character {
        '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}'
        | '\u{180e}'
        | '\u{ad}' => None,
        '\u{201c}'..='\u{201f}'
        | '\u{ab}'
        | '\u{bb}'
        | '\u{2033}'
        | '\u{ff02}'
        | '\u{301d}'
        | '\u{301e}'
        | '\u{300c}'..='\u{300f}' => Some('"'),
        '\u{2018}'..='\u{201b}'
        | '\u{2039}'
        | '\u{203a}'
        | '\u{b4}'
        | '\u{2bc}'
        | '\u{2032}'
        | '\u{ff07}' => Some('\''),
        other if other.is_whitespace() && other != '\n' => Some(' '),
        other => Some(other),
    }
}

/// The character of an escape of HTML, or of JSON (`\u003c`), and what follows it. HTML that was escaped twice is
/// undone in one step.
fn unescaped(text: &str) -> Option<(char, &str)> {
    if let Some(digits) = text.strip_prefix("\\u00") {
        let code = u32::from_str_radix(digits.get(..2)?, 16).ok()?;
        // A quote inside of a quoted text stays escaped.
        let decoded =
            char::from_u32(code).filter(|decoded| !decoded.is_control() && *decoded != '"')?;
        return Some((decoded, &digits[2..]));
    }
    let body = text.strip_prefix('&')?;
    let inner = body.trim_start_matches("amp;");
    named(inner).or_else(|| (inner.len() < body.len()).then_some(('&', inner)))
}

/// The character of an escape of HTML whose `&` was read, and what follows it.
fn named(body: &str) -> Option<(char, &str)> {
    let mut bytes = body.bytes().take(LONGEST_ESCAPE + 1);
    let end = bytes.position(|byte| byte == b';')?;
    let name = body[..end].to_ascii_lowercase();
    let decoded = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?).filter(|decoded| !decoded.is_control())?
        }
        None => match name.as_str() {
            "quot" | "ldquo" | "rdquo" => '"',
            "apos" | "lsquo" | "rsquo" => '\'',
            "lt" => '<',
            "gt" => '>',
            "nbsp" => ' ',
            _ => return None,
        },
    };
    Some((decoded, &body[end + 1..]))
}

/// The most characters between `&` and `;`.
const LONGEST_ESCAPE: usize = 8;

/// What follows an escape sequence of a terminal (ECMA-48), whose first character was read.
fn after_escape(rest: &str) -> &str {
    if let Some(sequence) = rest.strip_prefix('[') {
        return after_control_sequence(sequence);
    }
    // Commands of the operating system, such as links, end with BEL or ST.
    if let Some(command) = rest.strip_prefix(']') {
        let end = command
            .find(['\x07', '\x1b', '\n'])
            .unwrap_or(command.len());
        let rest = &command[end..];
        return rest
            .strip_prefix("\x1b\\")
            .or(rest.strip_prefix('\x07'))
            .unwrap_or(rest);
    }
    let rest = rest.trim_start_matches([' ', '(', ')', '#', '%', '*', '+', '-', '.', '/']);
    let mut characters = rest.chars();
    characters.next();
    characters.as_str()
}

fn after_control_sequence(sequence: &str) -> &str {
    let rest = sequence.trim_start_matches(|character: char| (' '..='?').contains(&character));
    rest.strip_prefix(|character: char| ('@'..='~').contains(&character))
        .unwrap_or(rest)
}

/// What follows an escape sequence that is written out: `^[[31m`, `\x1b[31m`, `\u001b[31m`.
fn escape_in_text(text: &str) -> Option<&str> {
    let written = ["^[[", "\\x1b[", "\\u001b["];
    let sequence = written.iter().find_map(|begin| text.strip_prefix(begin))?;
    Some(after_control_sequence(sequence))
}

/// A line that Helm writes while it merges values (`helm/helm:pkg/chart/common/util/coalesce.go`), or a warning of
/// the API server that client-go logs. No line of this kind says why a release failed.
fn is_warning(line: &str) -> bool {
    let lower = line.trim_start().to_ascii_lowercase();
    let line = lower.strip_prefix("[debug] ").unwrap_or(&lower);
    let dated = line.trim_start_matches(|character: char| {
        character.is_ascii_digit() || matches!(character, '/' | ':' | ' ' | '.')
    });
    ["coalesce.go:", "table.go:", "values.go:"]
        .iter()
        .any(|file| dated.starts_with(file) && dated.contains(": warning: "))
        || dated.len() < line.len()
            && (dated.starts_with("warning: ") || dated.starts_with("warn "))
        || line.starts_with('w') && line.contains(" warnings.go:")
        || line.starts_with("time=") && line.contains(" level=warn ")
        || line.starts_with("level=warn ")
        || line.starts_with('{') && line.contains("\"level\":\"warn\"")
        || line.starts_with("warning: kubernetes configuration file ")
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
            (
                "\x1b]8;;https://a\x1b\\timed\x1b]8;;\x1b\\ out",
                "timed out",
            ),
            ("^[[31mtimed\\x1b[0m out\x1b(B", "timed out"),
            ("timed \t\u{3000}out", "timed out"),
            ("&amp;quot;a&#8221; &#X27;b", "\"a\" 'b"),
            ("said \\u0027no\\u0027 \\u0022", "said 'no' \\u0022"),
            ("refused\x1b]0;t\ndenied", "refused\ndenied"),
            ("a&#10;b", "a&#10;b"),
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
        let trimmed = |message: &str| first(message).replace("\n ", "\n");
        assert_eq!(trimmed(wrapped), trimmed(message));
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
