//! The policies of the configuration: one for everything, and a list for what matches.

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    Fault, Sources, cluster_name,
    fields::Fields,
    parse,
    settings::{self as s, Setting},
};
use crate::domain::{
    classify::Class,
    ledger::Action,
    policy::{Match, Policies, Policy},
};

/// The section of the settings of a policy.
const PREFIX: &str = "policy.";

/// Reads the policy for everything, then the list, which starts from it.
pub(super) fn read(sources: &mut Sources<'_>, observed: Vec<Arc<str>>) -> Policies {
    let mut given = Vec::new();
    let base = with(Policy::default(), &mut given, &mut |setting| {
        sources.given(setting)
    });
    for (place, problem) in given {
        sources.fault(place, problem);
    }
    let (list, place) = sources.list("policies");
    let mut listed: Vec<(Match, Policy)> = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        let place = format!("{place}[{index}]");
        let Some((matching, policy)) = entry(sources, &place, value, &base) else {
            continue;
        };
        let taken = listed.iter().any(|(_, other)| other.name == policy.name);
        if (taken || policy.name == base.name) && !policy.name.is_empty() {
            let problem = format!(
                "the name {} is taken; give each policy its own",
                policy.name
            );
            sources.fault(place, problem);
        }
        listed.push((matching, policy));
    }
    Policies {
        base,
        listed,
        observed,
    }
}

/// An entry of the list.
fn entry(
    sources: &mut Sources<'_>,
    place: &str,
    value: Value,
    base: &Policy,
) -> Option<(Match, Policy)> {
    let mut fields = match Fields::of(place.to_owned(), value) {
        Ok(fields) => fields,
        Err(problem) => {
            sources.fault(place, problem);
            return None;
        }
    };
    let mut faults = Vec::new();
    let mut take = |path: &str, faults: &mut Vec<(String, String)>| {
        let at = fields.place(path);
        match fields.take_scalar(path) {
            Ok(value) => value.map(|value| (value, at)),
            Err(problem) => {
                faults.push((at, problem));
                None
            }
        }
    };
    let mode = take("mode", &mut faults);
    let mut unread = Vec::new();
    let mut policy = with(base.clone(), &mut faults, &mut |setting| {
        let path = setting.path?.strip_prefix(PREFIX)?;
        take(path, &mut unread)
    });
    faults.extend(unread);
    policy.name = Arc::default();
    let at = fields.place("name");
    match fields
        .take_name("name")
        .map(|name| name.as_deref().map(cluster_name))
    {
        Ok(Some(Ok(name))) => policy.name = name,
        Ok(Some(Err(instead))) | Err(instead) => faults.push((at, instead)),
        Ok(None) => faults.push((
            fields.place("name"),
            "is missing; write a name for the policy".into(),
        )),
    }
    if let Some((mode, at)) = mode {
        match parse::mode(&mode) {
            Ok(mode) => policy.mode = mode,
            Err(instead) => faults.push((at, format!("invalid value {mode:?}: {instead}"))),
        }
    }
    for (place, problem) in faults {
        sources.fault(place, problem);
    }
    let mut list = |path: &str| {
        let place = fields.place(path);
        let names = fields.take_list(path);
        names_of(sources, &place, names)
            .iter()
            .map(|name| name.to_string())
            .collect::<Vec<_>>()
    };
    let matching = Match {
        clusters: list("match.clusters"),
        namespaces: list("match.namespaces"),
        labels: BTreeMap::new(),
    };
    let labels = labels(sources, &mut fields);
    let known = "there is no such field; a policy has name, match (clusters, namespaces, labels), mode, and the settings under policy";
    sources
        .faults
        .extend(fields.left().into_iter().map(|place| Fault {
            place,
            problem: known.into(),
        }));
    Some((Match { labels, ..matching }, policy))
}

fn labels(sources: &mut Sources<'_>, fields: &mut Fields) -> BTreeMap<String, String> {
    let place = fields.place("match.labels");
    let mut labels = BTreeMap::new();
    match fields.take("match.labels") {
        None => {}
        Some(Value::Object(map)) => {
            for (name, value) in map {
                match value {
                    Value::String(value) => drop(labels.insert(name, value)),
                    _ => sources.fault(
                        format!("{place}.{name}"),
                        "is no text; put the label's value into quotes",
                    ),
                }
            }
        }
        Some(_) => sources.fault(place, "is not a mapping; write `label: value` lines"),
    }
    labels
}

fn names_of(
    sources: &mut Sources<'_>,
    place: &str,
    list: Result<Vec<Value>, String>,
) -> Vec<Arc<str>> {
    let list = list.unwrap_or_else(|problem| {
        sources.fault(place, problem);
        Vec::new()
    });
    let mut names = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        match value {
            Value::String(name) if !name.is_empty() => names.push(name.into()),
            _ => sources.fault(format!("{place}[{index}]"), "is no name; write one"),
        }
    }
    names
}

/// What is given for a policy; what is not given stays as it is.
fn with(
    mut policy: Policy,
    faults: &mut Vec<(String, String)>,
    given: &mut dyn FnMut(&Setting) -> Option<(String, String)>,
) -> Policy {
    let year = SignedDuration::from_hours(24 * 365);
    let mut set = |setting: &Setting, take: &mut dyn FnMut(&str) -> Result<(), String>| {
        if let Some((text, place)) = given(setting)
            && let Err(instead) = take(text.trim())
        {
            faults.push((place, format!("invalid value {text:?}: {instead}")));
        }
    };
    let Policy {
        name: _,
        enabled,
        mode: _,
        limit,
        backoff,
        slow_lane,
        force,
        unknown,
        after_rollback,
        after_uninstall,
        legacy_annotation,
        allow_after_rollback,
    } = &mut policy;
    let switch = |to: &mut bool, text: &str| parse::boolean(text).map(|value| *to = value);
    set(&s::ENABLED, &mut |text| switch(enabled, text));
    set(&s::LIMIT, &mut |text| {
        parse::number(text, 0..=100).map(|value| *limit = value)
    });
    set(&s::BACKOFF_DURATION, &mut |text| {
        parse::duration(text, year).map(|value| backoff.duration = value)
    });
    set(&s::BACKOFF_FACTOR, &mut |text| {
        parse::number(text, 1.0..=10.0).map(|value| backoff.factor = value)
    });
    set(&s::BACKOFF_MAX_DURATION, &mut |text| {
        parse::duration(text, year).map(|value| backoff.max_duration = value)
    });
    set(&s::JITTER, &mut |text| {
        parse::share(text).map(|value| backoff.jitter = value)
    });
    set(&s::SLOW_LANE, &mut |text| {
        parse::or_off(text, year).map(|value| *slow_lane = value)
    });
    set(&s::ACTION, &mut |text| {
        parse::action(text).map(|action| *force = action == Action::Force)
    });
    set(&s::UNKNOWN, &mut |text| {
        *unknown = match text {
            "permanent" => Class::Permanent,
            "transient" => Class::Transient,
            _ => return Err("expected permanent or transient".into()),
        };
        Ok(())
    });
    set(&s::AFTER_ROLLBACK, &mut |text| {
        parse::after_remediation(text).map(|value| *after_rollback = value)
    });
    set(&s::AFTER_UNINSTALL, &mut |text| {
        parse::after_remediation(text).map(|value| *after_uninstall = value)
    });
    set(&s::ALLOW_AFTER_ROLLBACK, &mut |text| {
        switch(allow_after_rollback, text)
    });
    set(&s::LEGACY_ANNOTATION, &mut |text| {
        switch(legacy_annotation, text)
    });
    policy
}
