//! Many patterns, one pass: an automaton finds the words that each pattern needs, and only patterns
//! whose words occur are tried. Most alternatives are nothing but words, and need no trying. Texts are in lower
//! case, and patterns take no notice of case.

use std::{fmt, ops::Range, sync::OnceLock};

use aho_corasick::AhoCorasick;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::{
    ParserBuilder,
    hir::{Hir, HirKind},
};

/// The most patterns that all rules together may have.
const MOST: usize = 2048;

/// Shorter words occur in most messages.
const SHORTEST: usize = 3;

/// The patterns of all rules.
pub(super) struct Patterns {
    words: AhoCorasick,
    /// Of each word, which pattern it belongs to, and whether the word alone is a match.
    meanings: Vec<(usize, bool)>,
    /// Patterns that have no words, to be tried on every message.
    wordless: Vec<usize>,
    /// Of each rule, the places of its patterns in `each`.
    ranges: Vec<Range<usize>>,
    each: Vec<Pattern>,
}

struct Pattern {
    text: &'static str,
    compiled: OnceLock<Regex>,
    /// Whose it is.
    rule: usize,
}

/// Which patterns matched.
pub(super) struct Matches<'a> {
    bits: Bits,
    each: &'a [Pattern],
}

#[derive(Clone, Copy)]
struct Bits([u64; MOST / 64]);

impl Patterns {
    /// Compiles the patterns of rules.
    pub(super) fn new(
        rules: impl Iterator<Item = &'static [&'static str]>,
    ) -> Result<Self, String> {
        let (mut each, mut ranges) = (Vec::new(), Vec::new());
        for (rule, patterns) in rules.enumerate() {
            let start = each.len();
            each.extend(patterns.iter().map(|text| Pattern {
                text,
                compiled: OnceLock::new(),
                rule,
            }));
            ranges.push(start..each.len());
        }
        if each.len() > MOST {
            return Err(format!(
                "all rules together have {} patterns; write at most {MOST}",
                each.len()
            ));
        }
        let (mut words, mut meanings, mut wordless) = (Vec::new(), Vec::new(), Vec::new());
        for (index, pattern) in each.iter().enumerate() {
            let hir = parse(pattern.text)?;
            let alternatives = match hir.kind() {
                HirKind::Alternation(alternatives) => alternatives.as_slice(),
                _ => std::slice::from_ref(&hir),
            };
            let needed: Option<Vec<_>> = alternatives.iter().map(needed).collect();
            let Some(needed) = needed else {
                wordless.push(index);
                continue;
            };
            for (alternative, of) in alternatives.iter().zip(needed) {
                let whole = matches!(alternative.kind(), HirKind::Literal(_));
                for word in of {
                    words.push(word);
                    meanings.push((index, whole));
                }
            }
        }
        let words = AhoCorasick::new(&words)
            .map_err(|error| format!("the rules cannot be searched for: {error}"))?;
        Ok(Self {
            words,
            meanings,
            wordless,
            ranges,
            each,
        })
    }

    /// Which patterns match in a text, which is in lower case.
    pub(super) fn matches(&self, text: &str) -> Matches<'_> {
        let mut bits = Bits([0; MOST / 64]);
        let mut tried = bits;
        let mut try_one = |pattern: usize, bits: &mut Bits| {
            if !tried.has(pattern) {
                tried.set(pattern);
                if self.each[pattern].regex().is_match(text.as_bytes()) {
                    bits.set(pattern);
                }
            }
        };
        for found in self.words.find_overlapping_iter(text.as_bytes()) {
            match self.meanings[found.pattern()] {
                (pattern, true) => bits.set(pattern),
                (pattern, false) => try_one(pattern, &mut bits),
            }
        }
        for pattern in &self.wordless {
            try_one(*pattern, &mut bits);
        }
        Matches {
            bits,
            each: &self.each,
        }
    }

    /// Where those patterns of a rule match that are known to, one after the other.
    pub(super) fn spans<'a>(
        &'a self,
        rule: usize,
        text: &'a str,
        matches: &Matches<'_>,
    ) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let bits = matches.bits;
        let matched = self.ranges[rule]
            .clone()
            .filter(move |pattern| bits.has(*pattern));
        matched.flat_map(move |pattern| {
            let found = self.each[pattern].regex().find_iter(text.as_bytes());
            found.map(|found| found.range())
        })
    }
}

impl Pattern {
    fn regex(&self) -> &Regex {
        self.compiled
            .get_or_init(|| one(self.text).expect("the pattern was checked"))
    }
}

impl Matches<'_> {
    /// The rules whose patterns matched, each as often as it has patterns that did.
    pub(super) fn rules(&self) -> impl Iterator<Item = usize> {
        self.bits.ones().map(|pattern| self.each[pattern].rule)
    }
}

impl Bits {
    fn has(&self, bit: usize) -> bool {
        self.0[bit / 64] >> (bit % 64) & 1 == 1
    }

    fn set(&mut self, bit: usize) {
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    fn ones(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate();
        words.flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                (bit < u64::BITS).then(|| index * 64 + bit as usize)
            })
        })
    }
}

/// Words of which every match holds at least one; `None` where there are none that are long enough.
fn needed(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) => {
            (literal.0.len() >= SHORTEST).then(|| vec![literal.0.to_ascii_lowercase()])
        }
        HirKind::Capture(capture) => needed(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => needed(&repetition.sub),
        HirKind::Alternation(branches) => {
            let words: Option<Vec<_>> = branches.iter().map(needed).collect();
            words.map(|words| words.concat())
        }
        HirKind::Concat(parts) => {
            let shortest = |words: &Vec<Vec<u8>>| words.iter().map(Vec::len).min();
            parts.iter().filter_map(needed).max_by_key(shortest)
        }
        _ => None,
    }
}

/// Says what is wrong with a pattern, if anything is. One that matches nothing at all matches every
/// message.
///
/// # Errors
/// What to write instead.
pub fn check(pattern: &str) -> Result<(), String> {
    let compiled = one(pattern).map_err(|error| {
        let said = error.to_string();
        let last = said.lines().last().unwrap_or_default();
        format!(
            "is no regular expression: {}",
            last.trim_start_matches("error: ")
        )
    })?;
    let unlike = ["", "a", "7", "Qj zx"];
    if unlike.iter().any(|text| compiled.is_match(text.as_bytes())) {
        return Err("matches every message; write what only this failure says".into());
    }
    Ok(())
}

fn parse(pattern: &str) -> Result<Hir, String> {
    let mut parser = ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .build();
    parser.parse(pattern).map_err(|error| error.to_string())
}

fn one(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(true)
        .dot_matches_new_line(true)
        .size_limit(1 << 20)
        .build()
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patterns")
            .field("each", &self.each.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pattern: &str) -> Option<Vec<String>> {
        let words = needed(&parse(pattern).expect("a pattern"))?;
        Some(
            words
                .into_iter()
                .map(|word| String::from_utf8(word).expect("text"))
                .collect(),
        )
    }

    #[test]
    fn words_are_what_a_pattern_cannot_do_without() {
        for (pattern, expected) in [
            ("connection refused", Some(vec!["connection refused"])),
            ("[Tt]oo many", Some(vec!["oo many"])),
            ("a(bcd|efgh)+", Some(vec!["bcd", "efgh"])),
            ("(bcd)?efg", Some(vec!["efg"])),
            (r"x (ab|c)\d", None),
            ("(?i)words", None),
        ] {
            let expected = expected.map(|words| words.into_iter().map(String::from).collect());
            assert_eq!(words(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_is_found_by_its_words_and_only_where_it_matches() {
        const RULES: [&[&str]; 3] = [&["refused|time[d ]out"], &[r"\bx\d"], &["^refused"]];
        let patterns = Patterns::new(RULES.into_iter()).expect("patterns");
        let found = |text| patterns.matches(text).rules().collect::<Vec<_>>();
        assert_eq!(found("connection refused"), [0]);
        assert_eq!(found("refused x1"), [0, 1, 2]);
        assert_eq!(found("timed"), [0usize; 0]);
        assert_eq!(found("timedout"), [0]);
    }
}
