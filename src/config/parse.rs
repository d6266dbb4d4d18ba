//! Checks of single values. An error says what to write instead.

use std::{collections::BTreeSet, fmt::Display, ops::RangeInclusive, sync::Arc};

use http::Uri;
use jiff::SignedDuration;

use super::{DashboardPort, SweepMode};

/// A pattern of names that are valid in a URL path, a header and a label of a metric.
#[cfg(test)]
pub(super) const CLUSTER_NAME: &str = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";

/// A name that is valid in a URL path, a header and a label of a metric.
pub(super) fn cluster_name(name: &str) -> Result<Arc<str>, String> {
    let good = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
    };
    let edges = name.as_bytes().first().zip(name.as_bytes().last());
    let framed = edges
        .is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric());
    if name.len() <= 63 && framed && name.bytes().all(good) {
        Ok(Arc::from(name))
    } else {
        Err("expected up to 63 lower-case letters, digits, - and .".into())
    }
}

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

/// Where the page is served.
pub(super) fn dashboard(text: &str) -> Result<DashboardPort, String> {
    match text {
        "metrics" => Ok(DashboardPort::Metrics),
        "off" => Ok(DashboardPort::Off),
        _ => address(text)
            .map(DashboardPort::At)
            .map_err(|expected| format!("{expected}; or metrics, or off")),
    }
}

/// `http://HOST` or `https://HOST`, with a path if there is one.
pub(super) fn http_address(text: &str) -> Result<Uri, String> {
    let address = text.parse::<Uri>().ok().filter(|address| {
        matches!(address.scheme_str(), Some("http" | "https"))
            && address.host().is_some_and(|host| !host.is_empty())
            && address
                .authority()
                .is_some_and(|it| !it.as_str().contains('@'))
    });
    address.ok_or_else(|| {
        "expected a URL without a user, such as http://notification-controller.flux-system.svc.cluster.local./".into()
    })
}

/// Go's and YAML's spellings of a truth value.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" => Ok(true),
        "false" | "f" | "0" | "no" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

/// One of some words.
pub(super) fn word<T: Copy>(
    text: &str,
    values: &[T],
    as_str: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    let mut known = values.iter().copied();
    known.find(|value| as_str(*value) == text).ok_or_else(|| {
        let words: Vec<_> = values.iter().map(|value| as_str(*value)).collect();
        format!("expected one of {}", words.join(", "))
    })
}

/// A number within bounds.
pub(super) fn within<T: Copy + PartialOrd + Display>(
    bounds: RangeInclusive<T>,
) -> impl Fn(&T) -> Result<T, String> {
    move |number| {
        if bounds.contains(number) {
            return Ok(*number);
        }
        let (least, most) = (bounds.start(), bounds.end());
        Err(format!("expected a number from {least} to {most}"))
    }
}

/// `10%` or `0.1`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let text = text.trim();
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
        .trim()
        .parse()
        .ok()
        .filter(|duration| *duration > SignedDuration::ZERO && *duration <= most);
    duration
        .ok_or_else(|| format!("expected a duration such as 90s, 1m30s or 6h, at most {most:#}"))
}

/// A duration of at most so much; `0s` is one.
pub(super) fn duration_or_zero(text: &str, most: SignedDuration) -> Result<SignedDuration, String> {
    if matches!(text.trim(), "0s" | "0") {
        return Ok(SignedDuration::ZERO);
    }
    duration(text, most)
}

/// A duration, or `off` for none. Helm reads `off` as `false`.
pub(super) fn or_off(text: &str, most: SignedDuration) -> Result<Option<SignedDuration>, String> {
    if matches!(text.trim(), "off" | "false") {
        return Ok(None);
    }
    duration(text, most)
        .map(Some)
        .map_err(|expected| format!("{expected}, or off"))
}

/// Namespaces with commas between them, at least one: none must not read as all of them.
pub(super) fn namespaces(text: &str) -> Result<Vec<Arc<str>>, String> {
    let names = text.split(',').map(str::trim);
    let names: BTreeSet<_> = names.filter(|name| !name.is_empty()).collect();
    if !names.is_empty() && names.iter().all(|name| is_namespace(name)) {
        Ok(names.into_iter().map(Arc::from).collect())
    } else {
        Err("expected names of namespaces with commas between them, such as team-a,team-b".into())
    }
}

/// The name of one namespace.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    if is_namespace(text) {
        Ok(text.to_owned())
    } else {
        Err("expected the name of one namespace".into())
    }
}

fn is_namespace(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edges = !name.starts_with('-') && !name.ends_with('-');
    !name.is_empty() && name.len() <= 63 && name.bytes().all(good) && edges
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
