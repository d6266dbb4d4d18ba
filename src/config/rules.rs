//! The rules of the configuration: further ones, and built-in ones changed or switched off by name.

use std::sync::Arc;

use super::{file::RuleEntry, parse, section::Section};
use crate::domain::{
    classify::{Class, Classifier, Entry, Rule, check},
    mask::mask,
    rules::{OWN, Rank},
};

/// The built-in rules, changed and extended by a list. Own rules come before built-in ones, so that they name the
/// verdict.
pub(super) fn classifier(list: Vec<RuleEntry>, mut section: Section<'_>) -> Arc<Classifier> {
    let built_in = Classifier::built_in();
    if list.is_empty() {
        return built_in;
    }
    let mut entries = built_in.entries().to_vec();
    let mut named = Vec::new();
    let mut own = 0;
    for (index, entry) in list.into_iter().enumerate() {
        let mut section = section.item(index);
        let Some((rule, enabled)) = entry.check(&entries, &mut section) else {
            continue;
        };
        if named.contains(&rule.name) {
            section.fault(format!(
                "the name {} is here twice; write it once",
                rule.name
            ));
            continue;
        }
        named.push(rule.name);
        let known = entries
            .iter()
            .position(|entry| entry.rule.name == rule.name);
        let rule: &'static Rule = Box::leak(Box::new(rule));
        match known {
            Some(at) if enabled => entries[at].rule = rule,
            Some(at) => drop(entries.remove(at)),
            None if enabled => {
                entries.insert(own, Entry { family: OWN, rule });
                own += 1;
            }
            None => {}
        }
    }
    Classifier::new(entries)
        .map(Arc::new)
        .unwrap_or_else(|problem| {
            section.fault(problem);
            built_in
        })
}

impl RuleEntry {
    /// The rule, and whether it is in force; `None` after an error. Rules live as long as the process, so their texts
    /// are leaked: once, at the start, as much as the file holds.
    fn check(self, known: &[Entry], section: &mut Section<'_>) -> Option<(Rule, bool)> {
        // All values are checked before an error ends this, so that all errors are reported.
        let before = section.faults();
        let name = section.checked("name", Some(self.name), |name| rule_name(name));
        let one = self.pattern.map(|text| ("pattern".to_owned(), text));
        let patterns = leaked(one, "patterns", self.patterns, section, check);
        let reasons = leaked(None, "reasons", self.reasons, section, is_reason);
        let budget = section.checked("budget", self.budget, |text| budget(text));
        if self
            .description
            .as_deref()
            .is_some_and(|text| !is_description(text))
        {
            // The text may contain what must not be shown.
            section.field_fault(
                "description",
                "is not one plain line of at most 200 characters",
            );
        }
        let name = name.filter(|_| section.faults() == before)?;
        let known = known.iter().find(|entry| entry.rule.name == name);
        let enabled = self.enabled.unwrap_or(true);
        if !enabled && known.is_none() {
            section.field_fault("name", "names no built-in rule, so there is nothing to switch off; helmreboot rules lists them");
            return None;
        }
        let mut rule = known.map_or(
            Rule {
                name: name.leak(),
                class: Class::Transient,
                description: "a rule of your own",
                source: "the configuration",
                ..Rule::NONE
            },
            |entry| *entry.rule,
        );
        rule.class = self.class.unwrap_or(rule.class);
        rule.action = self.action.or(rule.action);
        rule.infrastructure = self.infrastructure.unwrap_or(rule.infrastructure);
        rule.rank = match self.exception {
            Some(true) => Rank::Exception,
            Some(false) if rule.rank == Rank::Exception => Rank::Ordinary,
            _ => rule.rank,
        };
        rule.budget = budget.unwrap_or(rule.budget);
        rule.description = self
            .description
            .map_or(rule.description, |text| text.leak());
        rule.reasons = reasons.unwrap_or(rule.reasons);
        if let Some(patterns) = patterns {
            rule.patterns = patterns;
            rule.source = "the configuration";
        }
        if enabled && rule.patterns.is_empty() && rule.reasons.is_empty() {
            section.field_fault("pattern", "is missing; there is no built-in rule of that name (helmreboot rules lists them), so set pattern, patterns or reasons");
            return None;
        }
        if self.exception == Some(true) && rule.patterns.is_empty() {
            section.field_fault(
                "exception",
                "needs a pattern, because an exception applies only inside of the match of its pattern",
            );
            return None;
        }
        Some((rule, enabled))
    }
}

/// The texts of a list, and one more before them; `None` where there is neither.
fn leaked(
    one: Option<(String, String)>,
    field: &str,
    list: Option<Vec<String>>,
    section: &mut Section<'_>,
    check: impl Fn(&str) -> Result<(), String>,
) -> Option<&'static [&'static str]> {
    let given = one.is_some() || list.is_some();
    let list = list.into_iter().flatten().enumerate();
    let list = list.map(|(index, text)| (format!("{field}[{index}]"), text));
    let mut texts: Vec<&'static str> = Vec::new();
    for (field, text) in one.into_iter().chain(list) {
        match check(&text) {
            Ok(()) => texts.push(text.leak()),
            Err(problem) => section.field_fault(&field, problem),
        }
    }
    given.then_some(texts.leak())
}

fn is_reason(reason: &str) -> Result<(), String> {
    let starts = reason.starts_with(|char: char| char.is_ascii_uppercase());
    if starts && reason.len() <= 128 && reason.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        Ok(())
    } else {
        Err("is no reason; write one such as UpgradeFailed".into())
    }
}

/// A name that is valid in a label of a metric and in an annotation.
fn rule_name(name: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let starts = name.starts_with(|char: char| char.is_ascii_lowercase());
    if starts && name.len() <= 63 && name.bytes().all(plain) && name != Rule::NONE.name {
        Ok(name.to_owned())
    } else {
        Err("expected up to 63 lower-case letters, digits and -, beginning with a letter".into())
    }
}

/// A share of the policy's limit, in percent. A share that is not 0 is at least 1 %.
fn budget(text: &str) -> Result<u16, String> {
    let share = parse::share(text)
        .map_err(|_| "expected a share of the limit such as 50% or 0.5, at most 100%")?;
    let least = u16::from(share > 0.0);
    // Within u16, because a share is at most 1.
    Ok(((share * 100.0).round() as u16).max(least))
}

fn is_description(text: &str) -> bool {
    mask(text, usize::MAX) == text && text.chars().count() <= 200
}
