//! Single values out of text. An error says what to write instead.

use std::{collections::BTreeSet, ops::RangeInclusive, str::FromStr, sync::Arc};

use jiff::SignedDuration;
use tracing::level_filters::LevelFilter;

use super::SweepMode;
use crate::domain::{
    ledger::Action,
    policy::{AfterRemediation, Mode},
};

/// `host:port`, or Go's `:port` for every interface.
pub(super) fn address(text: &str) -> Result<String, String> {
    let instead = || "expected host:port, or :port for every interface".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(instead)?;
    let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if bare_v6 || host.chars().any(char::is_whitespace) || port.parse::<u16>().is_err() {
        return Err(instead());
    }
    Ok(text.to_owned())
}

/// Go's and YAML's spellings of a truth value.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" => Ok(true),
        "false" | "f" | "0" | "no" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

/// When a release is restarted after a rollback or uninstall.
pub(super) fn after_remediation(text: &str) -> Result<AfterRemediation, String> {
    let mut known = AfterRemediation::ALL.iter().copied();
    known
        .find(|known| known.as_str() == text)
        .ok_or_else(|| "expected never, infrastructure or always".into())
}

/// A duration of at most so much; `0s` is one.
pub(super) fn duration_or_zero(text: &str, most: SignedDuration) -> Result<SignedDuration, String> {
    if text == "0s" || text == "0" {
        return Ok(SignedDuration::ZERO);
    }
    duration(text, most)
}

/// A number within bounds.
pub(super) fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    text: &str,
    bounds: RangeInclusive<T>,
) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| {
        format!(
            "expected a number from {} to {}",
            bounds.start(),
            bounds.end()
        )
    })
}

/// `10%` or `0.1`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse().map(|percent: f64| percent / 100.0),
        None => text.parse(),
    };
    share
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "expected a share such as 10% or 0.1, at most 100%".into())
}

/// A duration such as `90s`, `1m30s` or `6h`; above nothing, and at most `most`.
pub(super) fn duration(text: &str, most: SignedDuration) -> Result<SignedDuration, String> {
    let duration = text
        .parse()
        .ok()
        .filter(|duration| *duration > SignedDuration::ZERO && *duration <= most);
    duration
        .ok_or_else(|| format!("expected a duration such as 90s, 1m30s or 6h, at most {most:#}"))
}

/// The name of a log level.
pub(super) fn level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "error" | "warn" | "info" | "debug" | "trace" => text.parse().map_err(|_| String::new()),
        _ => Err("expected error, warn, info, debug or trace".into()),
    }
}

/// A duration, or `off` for none.
pub(super) fn or_off(text: &str, most: SignedDuration) -> Result<Option<SignedDuration>, String> {
    if matches!(text, "off" | "false") {
        return Ok(None);
    }
    duration(text, most)
        .map(Some)
        .map_err(|instead| format!("{instead}, or off"))
}

/// Whether anything is written.
pub(super) fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "observe" => Ok(Mode::Observe),
        "act" => Ok(Mode::Act),
        _ => Err("expected observe or act".into()),
    }
}

/// How a stalled release is restarted.
pub(super) fn action(text: &str) -> Result<Action, String> {
    match text {
        "reset" => Ok(Action::Reset),
        "force" => Ok(Action::Force),
        _ => Err("expected reset or force".into()),
    }
}

/// Namespaces with commas between them, at least one: none must not read as all of them.
pub(super) fn namespaces(text: &str) -> Result<Vec<Arc<str>>, String> {
    let names = text.split(',').map(str::trim);
    let names: BTreeSet<_> = names.filter(|name| !name.is_empty()).collect();
    let label = |name: &str| {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        name.len() <= 63 && name.bytes().all(good) && !name.starts_with('-') && !name.ends_with('-')
    };
    if !names.is_empty() && names.iter().all(|name| label(name)) {
        Ok(names.into_iter().map(Arc::from).collect())
    } else {
        Err("expected names of namespaces with commas between them, such as team-a,team-b".into())
    }
}

/// How failures are found without an alert.
pub(super) fn sweep(text: &str) -> Result<SweepMode, String> {
    if text == "watch" {
        return Ok(SweepMode::Watch);
    }
    let week = SignedDuration::from_hours(24 * 7);
    let least = SignedDuration::from_secs(10);
    let interval = or_off(text, week)
        .ok()
        .filter(|interval| interval.is_none_or(|interval| interval >= least));
    match interval {
        Some(None) => Ok(SweepMode::Off),
        Some(Some(interval)) => Ok(SweepMode::Every(interval.unsigned_abs())),
        None => Err("expected watch, off, or an interval from 10s to 168h such as 10m".into()),
    }
}
