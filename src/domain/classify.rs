//! Rules -> verdict: would the very same request succeed later?

use regex::bytes::{RegexSet, RegexSetBuilder};

pub use super::rules::{Class, Rule};
use super::{fingerprint::Fingerprint, release::Release, rules::BUILT_IN};

/// A class, and the rule that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the failure is worth.
    pub class: Class,
    /// The rule that fired, or [`Verdict::NO_RULE`].
    pub rule: &'static str,
}

impl Verdict {
    /// The rule's name where none fired.
    pub const NO_RULE: &'static str = "none";
    /// No rule fired.
    pub const UNKNOWN: Self = Self {
        class: Class::Unknown,
        rule: Self::NO_RULE,
    };
}

/// The most of a message that is looked at, in bytes: condition messages hold up to 32 KiB, and a
/// cause that starts later than this was pushed there by something that repeats itself.
const HEAD_LIMIT: usize = 16 * 1024;

/// helm-controller appends up to ten log lines behind this line to what it sends, never to conditions
/// (`fluxcd/helm-controller:internal/reconcile/*.go`). The tail is noise that anybody can write into.
const LOG_TAIL: &str = "\n\nLast Helm logs:";

/// All rules, compiled once into one set.
#[derive(Debug)]
pub struct Classifier {
    rules: &'static [Rule],
    set: RegexSet,
}

impl Default for Classifier {
    /// The built-in rules.
    fn default() -> Self {
        let set = RegexSetBuilder::new(BUILT_IN.iter().map(|rule| rule.pattern))
            .dot_matches_new_line(true)
            .unicode(false)
            .build()
            .expect("the built-in patterns compile, as every test run shows");
        Self {
            rules: BUILT_IN,
            set,
        }
    }
}

impl Classifier {
    /// The verdict on one message. A message Flux itself calls benign is benign; otherwise permanent
    /// outranks transient, so that nothing added to a message makes a lasting failure look passing.
    pub fn message(&self, message: &str) -> Verdict {
        let matches = self.set.matches(head(message).as_bytes());
        [Class::Benign, Class::Permanent, Class::Transient]
            .into_iter()
            .find_map(|class| {
                let fired = matches
                    .iter()
                    .map(|index| &self.rules[index])
                    .find(|rule| rule.class == class)?;
                Some(Verdict {
                    class,
                    rule: fired.name,
                })
            })
            .unwrap_or(Verdict::UNKNOWN)
    }

    /// The verdict on a live release, from all its conditions that tell of a failure: the cause is often
    /// not in Ready (after a rollback it stands only in Released). The worst one counts. `None` if no
    /// condition tells of one.
    pub fn release(&self, release: &Release) -> Option<Verdict> {
        self.cause(release).map(|(verdict, _)| verdict)
    }

    /// The same, with the message it was read from.
    pub fn cause<'a>(&self, release: &'a Release) -> Option<(Verdict, &'a str)> {
        let causes: Vec<_> = release
            .failures()
            .map(|message| (self.message(message), message))
            .collect();
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
        let message = self.cause(release).map_or("", |(_, message)| head(message));
        Fingerprint::of(verdict.rule, message)
    }

    /// The rule of that name, for what was written down earlier.
    pub fn rule(&self, name: &str) -> &'static str {
        let mut rules = self.rules.iter().map(|rule| rule.name);
        rules.find(|rule| *rule == name).unwrap_or(Verdict::NO_RULE)
    }
}

/// What Helm itself said, without the log tail.
fn head(message: &str) -> &str {
    let said = message.split(LOG_TAIL).next().unwrap_or_default();
    &said[..said.floor_char_boundary(HEAD_LIMIT)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_names_are_unique_and_kebab_case() {
        let names: std::collections::BTreeSet<_> = BUILT_IN.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), BUILT_IN.len());
        assert!(names.iter().all(|name| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        }));
    }

    #[test]
    fn every_rule_of_the_benign_class_is_anchored() {
        for rule in BUILT_IN.iter().filter(|rule| rule.class == Class::Benign) {
            assert!(rule.pattern.starts_with('^'), "{}", rule.name);
        }
    }

    #[test]
    fn the_log_tail_is_never_looked_at() {
        let classifier = Classifier::default();
        let verdict =
            classifier.message("nobody knows\n\nLast Helm logs:\n\ncontext deadline exceeded");
        assert_eq!(verdict, Verdict::UNKNOWN);
    }

    #[test]
    fn a_cut_inside_a_character_does_not_panic() {
        let message = "ä".repeat(HEAD_LIMIT);
        assert!(head(&message).len() <= HEAD_LIMIT);
        assert!(head(&format!("x{message}")).len() <= HEAD_LIMIT);
    }
}
