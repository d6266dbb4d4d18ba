//! Which rules fire on one text, and which of them names the verdict.

use std::{cell::OnceCell, collections::BTreeMap, ops::Range};

use smallvec::SmallVec;

use super::{Class, Classifier, Fired, Rule, patterns::Matches, text::Quotes};
use crate::domain::rules::{Rank, WAITING};

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
        // A message is unknown if no rule fires.
        (_, Class::Unknown) => 9,
    }
}

/// A text in lower case, and which rules fire on it.
pub(super) struct Reading<'a> {
    classifier: &'a Classifier,
    text: &'a str,
    reason: &'a str,
    matches: Matches<'a>,
    /// Found when they are first needed: for most messages they are not.
    quotes: OnceCell<Quotes<'a>>,
}

impl<'a> Reading<'a> {
    pub(super) fn of(classifier: &'a Classifier, text: &'a str, reason: &'a str) -> Self {
        Self {
            classifier,
            text,
            reason,
            matches: classifier.patterns.matches(text),
            quotes: OnceCell::new(),
        }
    }

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
    pub(super) fn decides(&self) -> Option<&'static Rule> {
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
            // A refusal after all transient words is the cause: wrapped errors have it last.
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

    /// Whether the failure is one of a wait for objects, of a hook or of a test, whatever else the message says.
    pub(super) fn tells_of_a_wait(&self) -> bool {
        let waits = |index: usize| self.classifier.entries[index].family == WAITING;
        // Helm's words for hooks (`helm/helm:pkg/action/{install,upgrade,rollback,uninstall,hooks}.go`).
        let hooks = [
            "hooks failed",
            "failed pre-",
            "failed post-",
            "hook pre-",
            "hook post-",
        ];
        self.reason == "TestFailed"
            || hooks.iter().any(|words| self.text.contains(words))
            || self.firing().any(|(index, _)| waits(index))
    }

    /// Of the rules that fire, the first after one that does not count.
    fn next(&self, after: Option<(u8, usize)>) -> Option<((u8, usize), &'static Rule)> {
        let firing = self.firing();
        let keyed = firing.map(|(index, rule)| ((place(rule), index), rule));
        let left = keyed.filter(|(key, _)| after.is_none_or(|after| *key > after));
        left.min_by_key(|(key, _)| *key)
    }

    /// Whether a rule that fires counts: not if it matches only inside of what exceptions match, or only inside of
    /// quotes.
    fn counts(&self, index: usize, rule: &Rule, exceptions: &[Range<usize>]) -> bool {
        let transient = rule.class == Class::Transient && rule.rank == Rank::Ordinary;
        if transient && self.text.contains('"') {
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

    /// The end of the last match of a transient rule.
    fn last_word(&self) -> usize {
        let transient = self
            .firing()
            .filter(|(_, rule)| rule.class == Class::Transient);
        let ends = transient
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

    pub(super) fn all(&self) -> Vec<Fired> {
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
