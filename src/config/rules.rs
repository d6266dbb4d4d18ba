//! The rules of the configuration: further ones, and built-in ones changed or switched off by name.

use std::sync::Arc;

use serde_json::Value;

use super::{Fault, Sources, fields::Fields, parse};
use crate::domain::{
    classify::{Class, Classifier, Entry, Rule, check},
    mask::mask,
    rules::{OWN, Rank},
};

/// What a rule may say, for those who wrote something else.
const FIELDS: &str = "there is no such field; a rule has name, pattern or patterns, class, reasons, rank, action, budget, infrastructure, description, enabled";

/// Reads the list. Own rules come before built-in ones, so that they name the verdict.
pub(super) fn read(sources: &mut Sources<'_>) -> Arc<Classifier> {
    let (list, place) = sources.list("rules");
    let built_in = Classifier::built_in();
    if list.is_empty() {
        return built_in;
    }
    let mut entries = built_in.entries().to_vec();
    let mut named = Vec::new();
    let mut own = 0;
    for (index, value) in list.into_iter().enumerate() {
        let place = format!("{place}[{index}]");
        let mut reading = match Fields::of(place.clone(), value) {
            Ok(fields) => Reading {
                fields,
                faults: Vec::new(),
            },
            Err(problem) => {
                sources.fault(place, problem);
                continue;
            }
        };
        let given = reading.rule(&entries);
        let left = reading.fields.left().into_iter();
        sources.faults.extend(reading.faults);
        sources.faults.extend(left.map(|place| Fault {
            place,
            problem: FIELDS.into(),
        }));
        let Some((rule, enabled)) = given else {
            continue;
        };
        if named.contains(&rule.name) {
            let problem = format!("the name {} is here twice; write it once", rule.name);
            sources.fault(place, problem);
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
            sources.fault(place, problem);
            built_in
        })
}

/// One entry of the list, and what is wrong with it.
struct Reading {
    fields: Fields,
    faults: Vec<Fault>,
}

impl Reading {
    /// The rule, and whether it is in force. Rules live as long as the process, so their texts are leaked:
    /// once, at the start, as much as the file holds.
    fn rule(&mut self, known: &[Entry]) -> Option<(Rule, bool)> {
        // All fields are taken before a fault ends this: fields that are left are unknown.
        let name = self.text("name", rule_name);
        let enabled = self.text("enabled", parse::boolean);
        let patterns = self.patterns();
        let class = self.text("class", class);
        let rank = self.text("rank", rank);
        let action = self.text("action", parse::action);
        let budget = self.text("budget", budget);
        let infrastructure = self.text("infrastructure", parse::boolean);
        let description = self.text("description", description);
        let reasons = self.reasons();
        let Some(name) = name? else {
            self.fault(
                "name",
                "is missing; write a name for the rule, or that of a built-in one",
            );
            return None;
        };
        let known = known.iter().find(|entry| entry.rule.name == name);
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
        let enabled = enabled?.unwrap_or(true);
        let patterns = patterns?;
        if let Some(class) = class? {
            rule.class = class;
        }
        if let Some(rank) = rank? {
            rule.rank = rank;
        }
        if let Some(action) = action? {
            rule.action = Some(action);
        }
        if let Some(budget) = budget? {
            rule.budget = budget;
        }
        if let Some(infrastructure) = infrastructure? {
            rule.infrastructure = infrastructure;
        }
        if let Some(description) = description? {
            rule.description = description.leak();
        }
        if let Some(reasons) = reasons? {
            rule.reasons = reasons.leak();
        }
        if let Some(patterns) = patterns {
            rule.patterns = patterns.leak();
            rule.source = "the configuration";
        }
        if !enabled && known.is_none() {
            self.fault("name", "names no built-in rule, so there is nothing to switch off; helmreboot rules lists them");
            return None;
        }
        if enabled && rule.patterns.is_empty() && rule.reasons.is_empty() {
            self.fault("pattern", "is missing; there is no built-in rule of that name (helmreboot rules lists them), so say what the message holds");
            return None;
        }
        Some((rule, enabled))
    }

    /// A single value; `None` after a fault.
    fn text<T>(
        &mut self,
        path: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        match self.fields.take_scalar(path) {
            Ok(None) => Some(None),
            Ok(Some(text)) => match parse(text.trim()) {
                Ok(value) => Some(Some(value)),
                Err(instead) => {
                    self.fault(path, format!("invalid value {text:?}: {instead}"));
                    None
                }
            },
            Err(problem) => {
                self.fault(path, problem);
                None
            }
        }
    }

    /// `pattern`, `patterns`, or neither.
    fn patterns(&mut self) -> Option<Option<Vec<&'static str>>> {
        let one = self
            .fields
            .take("pattern")
            .map(|value| ("pattern".to_owned(), value));
        let many = self.list("patterns")?;
        let given: Vec<_> = one.into_iter().chain(many).collect();
        let mut patterns = Vec::new();
        for (path, value) in &given {
            let problem = match value {
                Value::String(pattern) => match check(pattern) {
                    Ok(()) => {
                        patterns.push(&*pattern.clone().leak());
                        continue;
                    }
                    Err(problem) => problem,
                },
                _ => "is no text; put the pattern into single quotes".into(),
            };
            self.fault(path, problem);
        }
        (patterns.len() == given.len()).then_some((!given.is_empty()).then_some(patterns))
    }

    fn reasons(&mut self) -> Option<Option<Vec<&'static str>>> {
        let given = self.list("reasons")?;
        let mut reasons = Vec::new();
        for (path, value) in &given {
            match value {
                Value::String(reason) if is_reason(reason) => reasons.push(&*reason.clone().leak()),
                _ => self.fault(path, "is no reason; write one such as UpgradeFailed"),
            }
        }
        (reasons.len() == given.len()).then_some((!given.is_empty()).then_some(reasons))
    }

    fn list(&mut self, path: &str) -> Option<Vec<(String, Value)>> {
        match self.fields.take_list(path) {
            Ok(list) => {
                let list = list.into_iter().enumerate();
                Some(
                    list.map(|(index, value)| (format!("{path}[{index}]"), value))
                        .collect(),
                )
            }
            Err(problem) => {
                self.fault(path, problem);
                None
            }
        }
    }

    fn fault(&mut self, path: &str, problem: impl Into<String>) {
        self.faults.push(Fault {
            place: self.fields.place(path),
            problem: problem.into(),
        });
    }
}

fn is_reason(reason: &str) -> bool {
    let starts = reason.starts_with(|char: char| char.is_ascii_uppercase());
    starts && reason.len() <= 128 && reason.bytes().all(|byte| byte.is_ascii_alphanumeric())
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

fn class(text: &str) -> Result<Class, String> {
    match text {
        "transient" => Ok(Class::Transient),
        "permanent" => Ok(Class::Permanent),
        "benign" => Ok(Class::Benign),
        _ => Err("expected transient, permanent or benign".into()),
    }
}

fn rank(text: &str) -> Result<Rank, String> {
    let mut ranks = Rank::ALL.iter().copied();
    let rank = ranks.find(|rank| rank.as_str() == text);
    rank.ok_or_else(|| "expected ordinary, exception or fallback".into())
}

/// A share of the policy's limit, in percent.
fn budget(text: &str) -> Result<u16, String> {
    let percent = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse().ok(),
        None => text.parse().ok().map(|factor: f64| factor * 100.0),
    };
    let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
    // Within u16, as the line above says.
    percent
        .map(|percent| percent.round() as u16)
        .ok_or_else(|| "expected a share of the limit such as 50% or 0.5, at most 100%".into())
}

fn description(text: &str) -> Result<String, String> {
    if mask(text, usize::MAX) != text || text.chars().count() > 200 {
        return Err("expected one plain line of at most 200 characters".into());
    }
    Ok(text.to_owned())
}
