//! How many releases of a cluster fail, by cause.

use std::collections::BTreeMap;

use super::classify::{Class, Verdict};

/// The class of a cause, and the rule that named it.
pub type Cause = (Class, &'static str);

/// Releases that fail, counted by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failing(BTreeMap<Cause, usize>);

/// The cause that a verdict names.
pub fn cause_of(verdict: Verdict) -> Cause {
    (verdict.class, verdict.rule)
}

impl Failing {
    /// Those of several watchers.
    pub fn sum(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for (cause, count) in parts.into_iter().flat_map(|part| part.0) {
            *all.0.entry(cause).or_default() += count;
        }
        all
    }

    /// Counts one more for this cause.
    pub fn add(&mut self, cause: Cause) {
        *self.0.entry(cause).or_default() += 1;
    }

    /// Counts one less for this cause.
    pub fn remove(&mut self, cause: Cause) {
        if let Some(count) = self.0.get_mut(&cause) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&cause);
            }
        }
    }

    /// All of them.
    pub fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// Those of one class.
    pub fn of(&self, class: Class) -> usize {
        let counts = self.0.iter().filter(|((of, _), _)| *of == class);
        counts.map(|(_, count)| count).sum()
    }

    /// For the log: classes with their most frequent rules, the most frequent first.
    pub fn text(&self) -> String {
        let classes = Class::ALL.iter().copied();
        let mut classes: Vec<_> = classes
            .map(|class| (self.of(class), class))
            .filter(|(count, _)| *count > 0)
            .collect();
        classes.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let parts = classes.into_iter().map(|(count, class)| {
            let rules = self.0.iter().filter(|((of, _), _)| *of == class);
            let mut rules: Vec<_> = rules.map(|((_, rule), count)| (*count, *rule)).collect();
            rules.sort_by_key(|(count, rule)| (std::cmp::Reverse(*count), *rule));
            let more = rules.len().saturating_sub(RULES);
            let mut named: Vec<_> = rules
                .iter()
                .take(RULES)
                .map(|(count, rule)| format!("{rule} {count}"))
                .collect();
            if more > 0 {
                named.push(format!("{more} other rules"));
            }
            format!("{count} {} ({})", class.as_str(), named.join(", "))
        });
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// The rules that are named for each class.
const RULES: usize = 4;
