//! What the sweep of a cluster sees: how many releases fail, for which causes, and when all were last looked at.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::domain::classify::{Class, Verdict};

/// What one sweep sees of a cluster.
#[derive(Debug, Default)]
pub struct Outlook(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// When all releases were last known to have been looked at.
    looked: Option<Instant>,
    counts: bool,
    /// The first list came through, or is not allowed.
    first_list_ended: bool,
    failing: Failing,
    /// Releases that fail and are suspended or opted out.
    left_alone: usize,
}

/// The class of a cause, and the rule that named it.
pub type Cause = (Class, &'static str);

/// Releases that fail, counted by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failing(BTreeMap<Cause, usize>);

impl Outlook {
    /// All releases have been looked at.
    pub fn looked(&self) {
        let mut seen = self.lock();
        seen.looked = Some(Instant::now());
        seen.counts = true;
        seen.first_list_ended = true;
    }

    /// Counts one more release that fails, for this cause; without one, it is suspended or opted out.
    pub fn add(&self, cause: Option<Cause>) {
        let mut seen = self.lock();
        match cause {
            Some(cause) => *seen.failing.0.entry(cause).or_default() += 1,
            None => seen.left_alone += 1,
        }
    }

    /// Takes back one [`Self::add`] with this cause.
    pub fn remove(&self, cause: Option<Cause>) {
        let mut seen = self.lock();
        let Some(cause) = cause else {
            seen.left_alone = seen.left_alone.saturating_sub(1);
            return;
        };
        let failing = &mut seen.failing.0;
        if let Some(count) = failing.get_mut(&cause) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                failing.remove(&cause);
            }
        }
    }

    /// No release is known to fail, for none is looked at.
    pub fn clear(&self) {
        let mut seen = self.lock();
        seen.failing = Failing::default();
        seen.left_alone = 0;
        seen.counts = false;
        seen.first_list_ended = false;
    }

    /// Whether all releases were looked at, and what fails is counted.
    pub fn counts(&self) -> bool {
        self.lock().counts
    }

    /// The first list is not possible as things are.
    pub fn cannot_list(&self) {
        self.lock().first_list_ended = true;
    }

    /// Whether the first list came through, or is not possible.
    pub fn first_list_ended(&self) -> bool {
        self.lock().first_list_ended
    }

    /// Releases that fail and are suspended or opted out.
    pub fn left_alone(&self) -> usize {
        self.lock().left_alone
    }

    /// The releases that fail.
    pub fn failing(&self) -> Failing {
        self.lock().failing.clone()
    }

    pub(super) fn looked_at(&self, now: Timestamp) -> Option<Timestamp> {
        let looked = self.lock().looked;
        now.checked_sub(looked?.elapsed()).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cause that a verdict names.
pub fn cause_of(verdict: Verdict) -> Cause {
    (verdict.class, verdict.rule)
}

impl Failing {
    /// Those of several sweeps.
    pub fn sum(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for (cause, count) in parts.into_iter().flat_map(|part| part.0) {
            *all.0.entry(cause).or_default() += count;
        }
        all
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_counted_and_told_by_class() {
        let outlook = Outlook::default();
        let causes = [
            (Class::Permanent, "template"),
            (Class::Permanent, "immutable-field"),
            (Class::Permanent, "immutable-field"),
            (Class::Transient, "wait-timeout"),
            (Class::Transient, "connection"),
        ];
        for cause in causes {
            outlook.add(Some(cause));
        }
        outlook.remove(Some((Class::Transient, "connection")));
        outlook.remove(Some((Class::Unknown, "none")));
        outlook.add(None);
        assert_eq!(outlook.left_alone(), 1);
        outlook.remove(None);
        assert_eq!(outlook.left_alone(), 0);
        let failing = Failing::sum([outlook.failing(), Failing::default()]);
        assert_eq!((failing.total(), failing.of(Class::Permanent)), (4, 3));
        assert_eq!(
            failing.text(),
            "3 permanent (immutable-field 2, template 1), 1 transient (wait-timeout 1)"
        );
    }
}
