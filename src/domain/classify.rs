//! Rules -> verdict: would the very same request succeed later?
//!
//! What Flux itself calls benign is benign. Otherwise permanent outranks transient, so that nothing a
//! stranger writes into a message makes a lasting failure look passing; an exception takes back only what
//! lies inside its own match; words that are only quoted do not count as passing; and fallbacks speak
//! where nobody else does, or where a refusal is the last thing said. Where a message lists several
//! failures, the worst counts, and each must be known.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, LazyLock},
};

use smallvec::SmallVec;

pub use super::rules::{Class, GAVE_UP, Rule};
use super::{
    fingerprint::Fingerprint,
    ledger::Action,
    release::Release,
    rules::{Rank, built_in},
    said::Said,
};

mod patterns;
mod text;

pub use patterns::check;
use patterns::{Matches, Patterns};
pub use text::HEAD_LIMIT;
use text::Quotes;

/// A class, and the rule that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the failure is worth.
    pub class: Class,
    /// The rule that fired, or [`Verdict::NO_RULE`].
    pub rule: &'static str,
    /// How to ask for a restart, where the rule says so.
    pub action: Option<Action>,
    /// The share of the policy's limit, in percent.
    pub budget: u16,
}

impl Verdict {
    /// The rule's name where none fired.
    pub const NO_RULE: &'static str = Rule::NONE.name;
    /// No rule fired.
    pub const UNKNOWN: Self = Self::of(&Rule::NONE);

    const fn of(rule: &Rule) -> Self {
        Self {
            class: rule.class,
            rule: rule.name,
            action: rule.action,
            budget: rule.budget,
        }
    }
}

/// A rule in force, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The family.
    pub family: &'static str,
    /// The rule.
    pub rule: &'static Rule,
}

/// A rule that fired, and what it fired on.
#[derive(Clone, Debug)]
pub struct Fired {
    /// The rule.
    pub rule: &'static Rule,
    /// The bytes of the message that it matched; empty for a rule that goes by the reason alone.
    pub span: Range<usize>,
    /// Whether all of it lies inside the match of an exception, so that it does not count.
    pub excepted: bool,
}

/// All rules, compiled once.
#[derive(Debug)]
pub struct Classifier {
    entries: Vec<Entry>,
    /// Those that have no patterns.
    by_reason: Vec<usize>,
    /// Of all rules but the fallbacks.
    patterns: Patterns,
    /// Of the fallbacks, which most messages never come to.
    fallbacks: Patterns,
}

impl Default for Classifier {
    /// The built-in rules.
    fn default() -> Self {
        let entries = built_in().map(|(family, rule)| Entry { family, rule });
        Self::new(entries.collect())
            .expect("the built-in patterns compile, as every test run shows")
    }
}

/// Most processes and tests go by the built-in rules: they are compiled once.
static BUILT_IN: LazyLock<Arc<Classifier>> = LazyLock::new(Arc::default);

impl Classifier {
    /// The built-in rules.
    pub fn built_in() -> Arc<Self> {
        Arc::clone(&BUILT_IN)
    }

    /// A classifier of these rules; within a class and a rank, the earlier names the verdict.
    ///
    /// # Errors
    /// What is wrong with the patterns, taken together.
    pub fn new(entries: Vec<Entry>) -> Result<Self, String> {
        let of = |fallback: bool| {
            let patterns = entries.iter().map(move |entry| {
                let own = (entry.rule.rank == Rank::Fallback) == fallback;
                if own { entry.rule.patterns } else { &[] }
            });
            Patterns::new(patterns)
        };
        let (patterns, fallbacks) = (of(false)?, of(true)?);
        let rules = entries.iter().enumerate();
        let by_reason = rules.filter(|(_, entry)| entry.rule.patterns.is_empty());
        Ok(Self {
            by_reason: by_reason.map(|(index, _)| index).collect(),
            entries,
            patterns,
            fallbacks,
        })
    }

    /// The rules in force, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The verdict on one message.
    pub fn verdict(&self, said: Said<'_>) -> Verdict {
        let Some(rule) = self.read(said).decides() else {
            return Verdict::UNKNOWN;
        };
        if rule.class != Class::Transient {
            return Verdict::of(rule);
        }
        // Of several failures, one may last, and so may one that nobody knows.
        let mut worst = Verdict::of(rule);
        for message in text::items(text::bounded(said.message)) {
            match self.read(Said { message, ..said }).decides() {
                Some(rule) if rule.class == Class::Permanent => return Verdict::of(rule),
                Some(rule) if rule.class == Class::Transient => {}
                _ => worst = Verdict::UNKNOWN,
            }
        }
        if said.message.len() > HEAD_LIMIT {
            return Verdict::UNKNOWN;
        }
        worst
    }

    /// Every rule that fires on a message, the one that names the verdict first, and where.
    pub fn fired(&self, said: Said<'_>) -> Vec<Fired> {
        self.read(said).all()
    }

    /// The verdict on a live release, from all its conditions that tell of a failure: the cause is often
    /// not in Ready (after a rollback it stands only in Released). The worst one counts. `None` if no
    /// condition tells of one.
    pub fn release(&self, release: &Release) -> Option<Verdict> {
        self.cause(release).map(|(verdict, _)| verdict)
    }

    /// The same, with the message it was read from.
    pub fn cause<'a>(&self, release: &'a Release) -> Option<(Verdict, &'a str)> {
        let mut causes: Vec<_> = release
            .failures()
            .map(|said| (self.verdict(said), said.message))
            .collect();
        // That Flux gave up is no cause: it speaks only where no other condition names one.
        let names_cause = |verdict: &Verdict| {
            verdict.rule != GAVE_UP && matches!(verdict.class, Class::Permanent | Class::Transient)
        };
        if causes.iter().any(|(verdict, _)| names_cause(verdict)) {
            causes.retain(|(verdict, _)| verdict.rule != GAVE_UP);
        }
        [
            Class::Permanent,
            Class::Transient,
            Class::Unknown,
            Class::Benign,
        ]
        .into_iter()
        .find_map(|class| causes.iter().find(|(verdict, _)| verdict.class == class))
        .copied()
    }

    /// What a release that fails has in common with others.
    pub fn fingerprint(&self, release: &Release, verdict: Verdict) -> Fingerprint {
        let message = self.cause(release).map_or("", |(_, message)| message);
        Fingerprint::of(verdict.rule, message)
    }

    /// The name of a rule that was written down earlier.
    pub fn rule(&self, name: &str) -> &'static str {
        self.find(name).map_or(Verdict::NO_RULE, |rule| rule.name)
    }

    /// The rule of that name.
    pub fn find(&self, name: &str) -> Option<&'static Rule> {
        let mut rules = self.entries.iter().map(|entry| entry.rule);
        rules.find(|rule| rule.name == name)
    }

    fn read<'a>(&'a self, said: Said<'a>) -> Reading<'a> {
        let text = text::bounded(said.message);
        Reading {
            classifier: self,
            text,
            reason: said.reason,
            matches: self.patterns.matches(text),
            quotes: OnceCell::new(),
        }
    }
}

/// Which rules decide first.
const fn place(rule: &Rule) -> u8 {
    match (rule.rank, rule.class) {
        (Rank::Exception, Class::Benign) => 0,
        (Rank::Ordinary, Class::Benign) => 1,
        (Rank::Exception, Class::Permanent) => 2,
        (Rank::Ordinary, Class::Permanent) => 3,
        (Rank::Exception, Class::Transient) => 4,
        (Rank::Ordinary, Class::Transient) => 5,
        (Rank::Fallback, Class::Permanent) => 6,
        (Rank::Fallback, Class::Transient) => 7,
        (Rank::Fallback, Class::Benign) => 8,
        // No rule means that nobody knows.
        (_, Class::Unknown) => 9,
    }
}

/// A text, and which rules fire on it.
struct Reading<'a> {
    classifier: &'a Classifier,
    text: &'a str,
    reason: &'a str,
    matches: Matches<'a>,
    /// Found when they are first asked for: most messages never are.
    quotes: OnceCell<Quotes<'a>>,
}

impl Reading<'_> {
    /// The rules that fire, fallbacks aside, in no order, some more than once.
    fn firing(&self) -> impl Iterator<Item = (usize, &'static Rule)> {
        let firing = self.those(&self.matches);
        firing.filter(|(_, rule)| rule.rank != Rank::Fallback)
    }

    /// The fallbacks that fire.
    fn falling_back(&self, matches: &Matches<'_>) -> impl Iterator<Item = (usize, &'static Rule)> {
        let firing = self.those(matches);
        firing.filter(|(_, rule)| rule.rank == Rank::Fallback)
    }

    fn those(&self, matches: &Matches<'_>) -> impl Iterator<Item = (usize, &'static Rule)> {
        let by_reason = self.classifier.by_reason.iter().copied();
        let indices = matches.rules().chain(by_reason);
        let rules = indices.map(|index| (index, self.classifier.entries[index].rule));
        rules.filter(|(_, rule)| rule.reasons.is_empty() || rule.reasons.contains(&self.reason))
    }

    /// The rule that names the verdict.
    fn decides(&self) -> Option<&'static Rule> {
        let exceptions = self.exceptions();
        let mut first = self.next(None);
        while let Some((key, rule)) = first
            && !self.counts(key.1, rule, &exceptions)
        {
            first = self.next(Some(key));
        }
        let first = first.map(|(_, rule)| rule);
        if first.is_some_and(|rule| rule.class != Class::Transient) {
            return first;
        }
        let matches = self.classifier.fallbacks.matches(self.text);
        let mut after = None;
        let falling = self.falling_back(&matches).filter(|(index, rule)| {
            // What refuses behind all that is passing names the cause: wrapped errors name it last.
            first.is_none()
                || rule.class == Class::Permanent && {
                    let after = *after.get_or_insert_with(|| self.last_word());
                    let mut spans = self.classifier.fallbacks.spans(*index, self.text, &matches);
                    spans.any(|span| span.start >= after)
                }
        });
        let fallback = falling.min_by_key(|(index, rule)| (place(rule), *index));
        fallback.map(|(_, rule)| rule).or(first)
    }

    /// Of the rules that fire, the first behind one that turned out not to count.
    fn next(&self, behind: Option<(u8, usize)>) -> Option<((u8, usize), &'static Rule)> {
        let firing = self.firing();
        let keyed = firing.map(|(index, rule)| ((place(rule), index), rule));
        let left = keyed.filter(|(key, _)| behind.is_none_or(|behind| *key > behind));
        left.min_by_key(|(key, _)| *key)
    }

    /// Whether a rule that fires is to be heeded: not only inside of what exceptions match, and not only
    /// by words that somebody quotes.
    fn counts(&self, index: usize, rule: &Rule, exceptions: &[Range<usize>]) -> bool {
        let passing = rule.class == Class::Transient && rule.rank == Rank::Ordinary;
        if passing && self.text.contains('"') {
            let quotes = self.quotes.get_or_init(|| Quotes::of(self.text));
            let mut spans = self.spans(index).peekable();
            if spans.peek().is_some() && spans.all(|span| quotes.around(&span)) {
                return false;
            }
        }
        if exceptions.is_empty() {
            return true;
        }
        !self.excepted(rule, self.spans(index), exceptions)
    }

    /// Where the last word stands that speaks for a passing failure.
    fn last_word(&self) -> usize {
        let passing = self
            .firing()
            .filter(|(_, rule)| rule.class == Class::Transient);
        let ends = passing
            .flat_map(|(index, _)| self.spans(index))
            .map(|span| span.end);
        ends.max().unwrap_or_default()
    }

    /// What the exceptions that fire match. Few messages have any, and those have few.
    fn exceptions(&self) -> SmallVec<[Range<usize>; 8]> {
        let rules = self.firing();
        let exceptions = rules.filter(|(_, rule)| rule.rank == Rank::Exception);
        exceptions
            .flat_map(|(index, _)| self.spans(index))
            .collect()
    }

    /// Whether a rule fires only inside of what exceptions match.
    fn excepted(
        &self,
        rule: &Rule,
        spans: impl Iterator<Item = Range<usize>>,
        exceptions: &[Range<usize>],
    ) -> bool {
        let within = |span: Range<usize>| {
            let mut exceptions = exceptions.iter();
            exceptions.any(|all| all.start <= span.start && span.end <= all.end)
        };
        let mut spans = spans.peekable();
        rule.rank != Rank::Exception && spans.peek().is_some() && spans.all(within)
    }

    /// Where a rule matches that is no fallback.
    fn spans(&self, index: usize) -> impl Iterator<Item = Range<usize>> {
        let patterns = &self.classifier.patterns;
        patterns.spans(index, self.text, &self.matches)
    }

    fn all(&self) -> Vec<Fired> {
        let exceptions = self.exceptions();
        let matches = self.classifier.fallbacks.matches(self.text);
        let firing = self.firing().chain(self.falling_back(&matches));
        let firing: BTreeMap<_, _> = firing.collect();
        let mut fired: Vec<_> = firing
            .into_iter()
            .map(|(index, rule)| {
                let fallbacks = &self.classifier.fallbacks;
                let fallback = fallbacks.spans(index, self.text, &matches);
                let mut spans: Vec<_> = self.spans(index).chain(fallback).collect();
                let excepted = self.excepted(rule, spans.iter().cloned(), &exceptions);
                spans.sort_by_key(|span| span.start);
                Fired {
                    rule,
                    span: spans.into_iter().next().unwrap_or_default(),
                    excepted,
                }
            })
            .collect();
        fired.sort_by_key(|fired| (fired.excepted, place(fired.rule)));
        fired
    }
}

#[cfg(test)]
mod tests;
