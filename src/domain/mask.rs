//! Other people's words, made fit for a log line: no secrets, no line breaks.

use std::sync::LazyLock;

use regex::Regex;

/// Credentials in URLs, bearer tokens, and `key=value` or `key: value` secrets.
static SECRETS: LazyLock<Regex> = LazyLock::new(|| {
    let url = r"(?P<url>://)(?:[^/\s@]+|[^/\s@:]*:[^\s@]+)@";
    let bearer = r"(?P<bearer>\bbearer\s+)\S+";
    let signed = r"(?P<signed>[?&](?:X-Amz-[\w-]+|sig|signature|[\w-]*token)=)[^&\s]+";
    let named = r#"(?P<named>\b[\w-]*(?:token|password|passwd|secret|api-?key|authorization)[\w-]*["']?\s*[=:]\s*)(?:bearer\s+|basic\s+)?(?:"[^"]*"|'[^']*'|\S+)"#;
    let pattern = format!("(?i){url}|{bearer}|{signed}|{named}");
    Regex::new(&pattern).expect("the pattern compiles, as every test run shows")
});

/// Characters that are looked at beyond the limit.
const MARGIN: usize = 1024;

/// At most `limit` characters of `text`, masked, on one line.
pub fn mask(text: &str, limit: usize) -> String {
    let odd = |char: char| {
        char.is_control()
            || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    // Bounded: what is masked must not grow with what others wrote. More than the limit, because a secret that is cut
    // in its middle is not recognized.
    let mut chars = text.chars();
    let line = chars.by_ref().take(limit.saturating_add(MARGIN));
    let mut line: String = line
        .map(|char| if odd(char) { ' ' } else { char })
        .collect();
    if chars.next().is_some() {
        // The last word is cut, and may be the beginning of a secret.
        line.truncate(line.rfind(' ').unwrap_or_default());
    }
    let masked = SECRETS.replace_all(&line, "$url$bearer$signed$named***");
    masked.chars().take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_at_the_limit_does_not_pass() {
        let text = "Get https://user:hunter2secret@registry.example.com/v2/: EOF";
        for limit in 0..text.len() {
            let shown = mask(text, limit);
            assert!(!shown.contains("hunt"), "{shown}");
            assert!(shown.chars().count() <= limit);
        }
        let long = format!("x https://user:{}@host", "hunter2".repeat(1000));
        assert_eq!(mask(&long, 40), "x");
    }

    #[test]
    fn secrets_and_line_breaks_do_not_pass() {
        let table = [
            (
                "Get https://u:hunter2@host/x: EOF",
                "Get https://***host/x: EOF",
            ),
            ("token=hunter2 rest", "token=*** rest"),
            ("DB_PASSWORD: hunter2", "DB_PASSWORD: ***"),
            ("Authorization: Bearer hunter2", "Authorization: ***"),
            ("bearer hunter2", "bearer ***"),
            ("one\ntwo\u{202e}three", "one two three"),
            ("secrets \"a\" is forbidden", "secrets \"a\" is forbidden"),
            (
                "{\"password\":\"hunter2\",\"a\":1}",
                "{\"password\":***,\"a\":1}",
            ),
            ("DB_PASSWORD=\"a b c\" d", "DB_PASSWORD=*** d"),
            ("https://u:pa/ss@host/x", "https://***host/x"),
            (
                "https://b.s3/x?X-Amz-Signature=ab&a=1",
                "https://b.s3/x?X-Amz-Signature=***&a=1",
            ),
        ];
        for (text, masked) in table {
            assert_eq!(mask(text, 100), masked);
        }
        assert_eq!(mask("äöü", 2), "äö");
    }
}
