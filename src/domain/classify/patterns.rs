//! Many patterns, one pass: which match says one set; where, each by itself, which is rarely asked.

use std::{
    fmt,
    ops::Range,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::OnceLock,
};

use regex::bytes::{Regex, RegexBuilder};
use regex_automata::{
    Input, MatchKind, PatternSet,
    meta::{self, BuildError},
    nfa::thompson::WhichCaptures,
    util::{
        pool::{Pool, PoolGuard},
        syntax,
    },
};

type Make = Box<dyn Fn() -> PatternSet + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// The patterns of all rules.
pub(super) struct Patterns {
    set: meta::Regex,
    /// Sets to write matches into, so that a verdict allocates nothing.
    slots: Pool<PatternSet, Make>,
    /// Of each rule, where its patterns stand in `each`.
    ranges: Vec<Range<usize>>,
    each: Vec<(&'static str, OnceLock<Regex>)>,
}

/// What matched.
pub(super) struct Matches<'a> {
    slot: PoolGuard<'a, PatternSet, Make>,
    ranges: &'a [Range<usize>],
}

impl Patterns {
    /// Compiles the patterns of rules.
    pub(super) fn new(
        rules: impl Iterator<Item = &'static [&'static str]>,
    ) -> Result<Self, String> {
        let (mut each, mut ranges) = (Vec::new(), Vec::new());
        for patterns in rules {
            let start = each.len();
            each.extend(patterns.iter().map(|pattern| (*pattern, OnceLock::new())));
            ranges.push(start..each.len());
        }
        let sources: Vec<_> = each.iter().map(|(pattern, _)| *pattern).collect();
        let set = meta::Builder::new()
            .syntax(
                syntax::Config::new()
                    .unicode(false)
                    .utf8(false)
                    .dot_matches_new_line(true),
            )
            .configure(
                meta::Config::new()
                    .match_kind(MatchKind::All)
                    .utf8_empty(false)
                    .which_captures(WhichCaptures::None)
                    .hybrid_cache_capacity(CACHE),
            )
            .build_many(&sources)
            .map_err(|error| said(&error))?;
        let patterns = set.pattern_len();
        let make: Make = Box::new(move || PatternSet::new(patterns));
        Ok(Self {
            set,
            slots: Pool::new(make),
            ranges,
            each,
        })
    }

    /// Which patterns match in any of these texts.
    pub(super) fn matches(&self, texts: &[&str]) -> Matches<'_> {
        let mut slot = self.slots.get();
        slot.clear();
        for text in texts.iter().filter(|text| !text.is_empty()) {
            self.set
                .which_overlapping_matches(&Input::new(text.as_bytes()), &mut slot);
        }
        Matches {
            slot,
            ranges: &self.ranges,
        }
    }

    /// Where the patterns of a rule match, one pattern after the other.
    pub(super) fn spans<'a>(
        &'a self,
        rule: usize,
        text: &'a str,
    ) -> impl Iterator<Item = Range<usize>> + 'a {
        let each = &self.each[self.ranges[rule].clone()];
        each.iter().flat_map(move |(pattern, compiled)| {
            let compiled = compiled.get_or_init(|| {
                one(pattern).expect("a pattern that compiled as one of many compiles alone")
            });
            compiled
                .find_iter(text.as_bytes())
                .map(|found| found.range())
        })
    }
}

/// Memory for the automaton that is built while messages come in, in bytes. It is thrown away and begun
/// anew when it is full, so this trades memory for speed.
const CACHE: usize = 4 << 20;

impl Matches<'_> {
    /// Whether a pattern of that rule matched.
    pub(super) fn has(&self, rule: usize) -> bool {
        self.ranges[rule].clone().any(|pattern| {
            let id = regex_automata::PatternID::must(pattern);
            self.slot.contains(id)
        })
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
    if compiled.is_match(b"") {
        return Err("matches every message; write what only this failure says".into());
    }
    Ok(())
}

fn one(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(1 << 20)
        .build()
}

fn said(error: &BuildError) -> String {
    match error.size_limit() {
        Some(_) => "all rules together are too large; write fewer or shorter patterns".into(),
        None => error.to_string(),
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patterns")
            .field("each", &self.each.len())
            .finish_non_exhaustive()
    }
}
