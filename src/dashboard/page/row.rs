//! A release as one row: what is wrong, what helmreboot does, and one command.

use jiff::Timestamp;
use maud::{Markup, html};

use super::{ago, until};
use crate::{
    clusters::BoardRow,
    domain::{
        link::encoded,
        short_hash::short_hash,
        summary::{Band, ReleaseSummary},
    },
};

/// The address of the page of a release.
pub(super) fn address(root: &str, cluster: &str, namespace: &str, name: &str) -> String {
    let (cluster, namespace, name) = (encoded(cluster), encoded(namespace), encoded(name));
    format!("{root}releases/{cluster}/{namespace}/{name}")
}

/// The row. Its id is the same as long as the release is listed.
pub(super) fn row(root: &str, row: &BoardRow, now: Timestamp) -> Markup {
    let release = &*row.summary;
    let ReleaseSummary {
        cluster,
        namespace,
        name,
        ..
    } = release;
    let id = short_hash(&format!("{cluster}/{namespace}/{name}"));
    html! {
        li .row id={ "r" (id) } {
            h3 {
                a href=(address(root, cluster, namespace, name)) { (namespace) "/" (name) }
                " " span .where { "in cluster " (cluster) }
            }
            (facts(release, now))
            @if release.band == Band::InProgress { p { (release.explanation) } } @else { (what_to_do(release)) }
            (message(release))
        }
    }
}

/// The cause, since when, what was tried, and what comes next.
pub(super) fn facts(release: &ReleaseSummary, now: Timestamp) -> Markup {
    let fails = !release.class.is_empty();
    let cause = match release.cause {
        Some(cause) => cause,
        None if fails => "unknown cause",
        None => "no failure",
    };
    html! {
        p .facts {
            strong { (cause) }
            @if !release.rule.is_empty() && release.cause.is_some() { " " span .rule { (release.rule) } }
            @if let Some(since) = release.since() { @if fails { " · failing for " } @else { " · not ready for " } (ago(since, now)) }
            @match release.restarts {
                0 => " · not restarted",
                restarts => { " · " (restarts) " of " (release.limit) " restarts used" }
            }
            @if let Some(at) = release.retry_at.as_ref().and_then(|at| at.parse().ok()) {
                " · next attempt " (until(at, now))
            }
        }
    }
}

/// What helmreboot does, and what a person does, with the command.
pub(super) fn what_to_do(release: &ReleaseSummary) -> Markup {
    let step = release.next_step.as_deref().unwrap_or_default();
    let command = release.command.as_deref();
    let words = command.map_or(step, |command| step.strip_suffix(command).unwrap_or(step));
    html! {
        p { (release.explanation) @if !words.is_empty() { " " (words) } }
        @if let Some(command) = command { (copyable(command, &release.cluster)) }
    }
}

/// A command with a button that copies it. The script shows the button.
fn copyable(command: &str, cluster: &str) -> Markup {
    html! {
        p .command {
            code { (command) }
            button type="button" data-copy hidden { "Copy" }
            span .where { "in cluster " (cluster) }
        }
    }
}

/// The failure message, with the words marked that the rule matched.
pub(super) fn message(release: &ReleaseSummary) -> Markup {
    let Some(message) = &release.message else {
        return html! {};
    };
    let matched = release.matched.as_deref();
    let excerpt = excerpt(message, matched);
    html! {
        p .quote { @if excerpt.begins > 0 { "… " } (marked(excerpt.text, matched)) @if excerpt.is_cut { " …" } }
        @if excerpt.begins > 0 || excerpt.is_cut {
            details {
                summary { "The failure message" }
                pre { (marked(message, matched)) }
            }
        }
    }
}

/// A part of a message.
struct Excerpt<'a> {
    text: &'a str,
    /// Bytes before it.
    begins: usize,
    /// Whether something follows.
    is_cut: bool,
}

/// Characters of an excerpt before the words that matched, and after its beginning.
const BEFORE: usize = 100;
const AFTER: usize = 260;

/// The part with the words that the rule matched; without a rule, the beginning.
fn excerpt<'a>(message: &'a str, matched: Option<&str>) -> Excerpt<'a> {
    let at = matched.and_then(|words| message.find(words)).unwrap_or(0);
    let first = message[..at].char_indices().rev().take(BEFORE).last();
    let begins = match first {
        Some((first, _)) if first > 0 => {
            // Not in the middle of a word.
            let space = message[first..at].find(' ');
            space.map_or(first, |space| first + space + 1)
        }
        _ => 0,
    };
    let rest = &message[begins..];
    let end = rest
        .char_indices()
        .nth(AFTER)
        .map_or(rest.len(), |(end, _)| end);
    Excerpt {
        text: &rest[..end],
        begins,
        is_cut: end < rest.len(),
    }
}

/// A message with its deciding words marked.
pub(super) fn marked(message: &str, matched: Option<&str>) -> Markup {
    let found = matched.and_then(|words| message.split_once(words).map(|parts| (words, parts)));
    html! {
        @match found {
            Some((words, (before, after))) => { (before) mark { (words) } (after) }
            None => (message),
        }
    }
}
