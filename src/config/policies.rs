//! The policies: one for all releases, and a list for the releases that they match.

use jiff::SignedDuration;

use super::{
    file::{BackoffSection, PolicyEntry, PolicySection, UnknownClass},
    parse::{cluster_name, duration, or_off, share, within},
    section::Section,
};
use crate::domain::{
    classify::Class,
    ledger::Action,
    policy::{Match, Policy},
};

/// The policy for the releases that no entry of the list matches.
pub(super) fn base(settings: PolicySection, section: &mut Section<'_>) -> Policy {
    let mut policy = Policy::default();
    settings.apply(&mut policy, section);
    policy
}

/// The list, whose entries start from the policy for all releases.
pub(super) fn listed(
    entries: Vec<PolicyEntry>,
    base: &Policy,
    mut section: Section<'_>,
) -> Vec<(Match, Policy)> {
    let mut listed: Vec<(Match, Policy)> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let mut section = section.item(index);
        let Some((matching, policy)) = entry.check(base, &mut section) else {
            continue;
        };
        let mut names = listed.iter().map(|(_, other)| &other.name);
        if policy.name == base.name || names.any(|name| *name == policy.name) {
            section.fault(format!(
                "the name {} is taken; give each policy its own",
                policy.name
            ));
        }
        listed.push((matching, policy));
    }
    listed
}

impl PolicyEntry {
    fn check(mut self, base: &Policy, section: &mut Section<'_>) -> Option<(Match, Policy)> {
        let mut policy = base.clone();
        let settings = self.settings();
        settings.apply(&mut policy, section);
        policy.mode = self.mode.unwrap_or(policy.mode);
        let matching = Match {
            clusters: self.matching.clusters,
            namespaces: self.matching.namespaces,
            labels: self.matching.labels,
        };
        for (field, names) in [
            ("match.clusters", &matching.clusters),
            ("match.namespaces", &matching.namespaces),
        ] {
            // A name, or a prefix and a *.
            let wrong = |name: &String| {
                name.as_str() != "*"
                    && cluster_name(
                        &name
                            .strip_suffix('*')
                            .map_or_else(|| name.clone(), |begin| format!("{begin}0")),
                    )
                    .is_err()
            };
            if names.iter().any(wrong) {
                let problem =
                    "contains an invalid name; write lower-case names, with a * only at the end";
                section.field_fault(field, problem);
            }
        }
        policy.name = section.checked("name", Some(self.name), |name| cluster_name(name))?;
        Some((matching, policy))
    }
}

impl PolicySection {
    /// Takes over the settings that are there.
    fn apply(self, policy: &mut Policy, section: &mut Section<'_>) {
        let year = SignedDuration::from_hours(24 * 365);
        let (backoff, allow) = (&mut policy.backoff, self.allow);
        section.set(&mut policy.limit, "limit", self.limit, within(0..=100));
        section.set(&mut backoff.jitter, "jitter", self.jitter, |text| {
            share(text)
        });
        section.set(&mut policy.slow_lane, "slowLane", self.slow_lane, |text| {
            or_off(text, year)
        });
        policy.unknown = match self.unknown {
            None => policy.unknown,
            Some(UnknownClass::Permanent) => Class::Permanent,
            Some(UnknownClass::Transient) => Class::Transient,
        };
        let mut section = section.inner("backoff");
        let BackoffSection {
            duration: first,
            factor,
            max_duration,
        } = self.backoff;
        section.set(&mut backoff.duration, "duration", first, |text| {
            duration(text, year)
        });
        section.set(&mut backoff.factor, "factor", factor, within(1.0..=10.0));
        section.set(
            &mut backoff.max_duration,
            "maxDuration",
            max_duration,
            |text| duration(text, year),
        );
        if backoff.duration > backoff.max_duration {
            let longest = backoff.max_duration;
            section.field_fault(
                "duration",
                format!("is longer than maxDuration, which is {longest:#}"),
            );
        }
        let replace = |to: &mut bool, given: Option<bool>| *to = given.unwrap_or(*to);
        replace(&mut policy.enabled, self.enabled);
        replace(&mut policy.legacy_annotation, self.legacy_annotation);
        replace(&mut policy.allow_after_rollback, allow.after_rollback);
        replace(
            &mut policy.force,
            self.action.map(|action| action == Action::Force),
        );
        policy.after_rollback = self.after_rollback.unwrap_or(policy.after_rollback);
        policy.after_uninstall = self.after_uninstall.unwrap_or(policy.after_uninstall);
    }
}
