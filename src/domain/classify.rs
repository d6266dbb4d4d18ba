//! Rules -> verdict: would the very same request succeed later?
//!
//! What Flux itself calls benign is benign. Otherwise permanent outranks transient, so that no text that a chart adds
//! to a message makes a permanent failure transient. An exception takes back only what is inside of its own match.
//! Quoted words do not make a failure transient. Fallbacks decide if no other rule matches, or if a refusal is at the
//! end of the message. Where a message lists several
//! failures, the worst counts, and each must be known.

use std::{
    borrow::Cow,
    ops::Range,
    sync::{Arc, LazyLock},
};

use smallvec::SmallVec;

pub use super::rules::{Class, GAVE_UP, Rule};
use super::{
    failure_text::FailureText,
    ledger::Action,
    release::Release,
    rules::{Rank, built_in},
};

mod form;
mod patterns;
mod reading;
mod text;
mod wrap;

use patterns::Patterns;
pub use patterns::check;
use reading::Reading;
pub use text::HEAD_LIMIT;

/// A class, and the rule that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the failure is worth.
    pub class: Class,
    /// The rule that fired, or [`Verdict::NO_RULE`].
    pub rule: &'static str,
    /// The action of a restart, if the rule sets one.
    pub action: Option<Action>,
    /// The share of the policy's limit, in percent.
    pub budget: u16,
    /// Whether infrastructure is to blame, and neither the new version nor a wait, a hook or a test.
    pub infrastructure: bool,
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
            infrastructure: rule.infrastructure,
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
    /// The bytes of the message that it matched; empty for a rule without patterns.
    pub span: Range<usize>,
    /// Whether all of it lies inside the match of an exception, so that it does not count.
    pub excepted: bool,
}

/// What the rules see in a message.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The message in the form in which rules read it: without escapes, wraps and warnings of Helm.
    pub text: String,
    /// The rules that fire, the one that names the verdict first. Their spans are places in `text`.
    pub fired: Vec<Fired>,
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
    pub fn verdict(&self, said: FailureText<'_>) -> Verdict {
        self.verdict_and_text(said).0
    }

    /// Every rule that fires on a message, the one that names the verdict first, and where.
    pub fn fired(&self, said: FailureText<'_>) -> Explained {
        let (_, text) = self.verdict_and_text(said);
        let lower = text::without_names(text::bounded(&text));
        let fired = self.read(&lower, said.reason).all();
        Explained {
            text: text.into_owned(),
            fired,
        }
    }

    /// The verdict on one message, and the form of the message that it was read in. Where a message can be read in
    /// two ways, the worst counts: permanent, then what a rule names.
    fn verdict_and_text<'a>(&self, said: FailureText<'a>) -> (Verdict, Cow<'a, str>) {
        let readings = form::readings(said.message);
        let mut verdicts: SmallVec<[_; 2]> = readings
            .into_iter()
            .map(|text| (self.verdict_on(&text, said.reason), text))
            .collect();
        let place = |class| {
            verdicts
                .iter()
                .position(|(verdict, _)| verdict.class == class)
        };
        let at = place(Class::Permanent).or_else(|| {
            verdicts
                .iter()
                .position(|(verdict, _)| verdict.class != Class::Unknown)
        });
        verdicts.swap_remove(at.unwrap_or_default())
    }

    fn verdict_on(&self, text: &str, reason: &str) -> Verdict {
        let lower = text::without_names(text::bounded(text));
        let reading = self.read(&lower, reason);
        let Some(rule) = reading.decides() else {
            return Verdict::UNKNOWN;
        };
        if rule.class != Class::Transient {
            return Verdict::of(rule);
        }
        // Of several failures, one may be permanent, or unknown.
        let mut worst = Verdict::of(rule);
        worst.infrastructure &= !reading.tells_of_a_wait();
        for item in text::items(&lower) {
            match self.read(item, reason).decides() {
                Some(rule) if rule.class == Class::Permanent => return Verdict::of(rule),
                Some(rule) if rule.class == Class::Transient => {
                    worst.infrastructure &= rule.infrastructure;
                }
                _ => worst = Verdict::UNKNOWN,
            }
        }
        if text.len() > HEAD_LIMIT || text::is_cut(&lower) {
            return Verdict::UNKNOWN;
        }
        worst
    }

    /// The verdict on a live release, and the message that it was read from. All conditions that report a failure count,
    /// because the cause is often not in Ready (after a rollback it is only in Released). The worst one is returned;
    /// `None` if no condition reports a failure.
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
        let transient = |(verdict, _): &&(Verdict, _)| verdict.class == Class::Transient;
        let infrastructure = causes
            .iter()
            .filter(transient)
            .all(|(verdict, _)| verdict.infrastructure);
        causes
            .iter_mut()
            .for_each(|(verdict, _)| verdict.infrastructure &= infrastructure);
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

    /// The name of a rule that was written down earlier.
    pub fn rule(&self, name: &str) -> &'static str {
        self.find(name).map_or(Verdict::NO_RULE, |rule| rule.name)
    }

    /// The rule of that name.
    pub fn find(&self, name: &str) -> Option<&'static Rule> {
        let mut rules = self.entries.iter().map(|entry| entry.rule);
        rules.find(|rule| rule.name == name)
    }

    /// Reads a text that is in lower case.
    fn read<'a>(&'a self, text: &'a str, reason: &'a str) -> Reading<'a> {
        Reading::of(self, text, reason)
    }
}

#[cfg(test)]
mod tests;
