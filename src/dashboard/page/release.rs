//! The page of one release: the decision with its table, and what happened.

use jiff::Timestamp;
use maud::{Markup, html};

use super::{ago, row};
use crate::{
    clusters::BoardRow,
    dashboard::{api::holds, query::cause_id},
    domain::{alert::ReleaseRef, decide::TABLE, journal::Entry, link::Link, summary::Band},
};

pub(super) fn main(
    release: &ReleaseRef,
    row: Option<&BoardRow>,
    timeline: &[Entry],
    (links, ready): (&[Link], &str),
    now: Timestamp,
) -> Markup {
    html! {
        h1 { (release.namespace) "/" (release.name) " " span .where { "in cluster " (release.cluster) } }
        @match row {
            None => p { (ready) },
            Some(row) => (state(row, links, now)),
        }
        section aria-labelledby="h-timeline" {
            h2 #h-timeline { "What happened" }
            @if timeline.is_empty() {
                p { "helmreboot has reported nothing about it since it started." }
            } @else {
                ol .timeline {
                    @for entry in timeline { li { (ago(entry.at, now)) " ago: " (entry.line) } }
                }
            }
        }
        @if let Some(row) = row { (table(row.summary.row)) }
    }
}

fn state(row: &BoardRow, links: &[Link], now: Timestamp) -> Markup {
    let release = &*row.summary;
    html! {
        section #state aria-labelledby="h-state" {
            h2 #h-state { "Decision: " (release.decision) " (" (release.reason) ")" }
            (row::facts(release, now))
            @if release.band == Band::InProgress { p { (release.explanation) } } @else { (row::what_to_do(release)) }
            @if let Some(cause) = &release.shared_cause {
                p { "Cause: " a href={ "../../../causes/" (cause_id(cause)) } { (cause) } }
            }
            p .where {
                "Policy " (release.policy) ", mode " (release.mode) ", seen " (ago(row.observed, now)) " ago."
            }
            @if !links.is_empty() {
                p { @for link in links { a href=(link.to(release)) rel="noreferrer" { (link.name) } " " } }
            }
            @if let Some(message) = &release.message {
                h2 { "Failure message of Flux" }
                pre { (row::marked(message, release.matched.as_deref())) }
            }
            @if !release.annotations.is_empty() {
                h2 { "Annotations" }
                dl { @for (name, value) in &release.annotations { dt { (name) } dd { (value) } } }
            }
        }
    }
}

/// The decision table, as `helmreboot explain` prints it.
fn table(decided: usize) -> Markup {
    html! {
        section aria-labelledby="h-table" {
            h2 #h-table { "Why: the first row that matches decides" }
            div .scroll tabindex="0" role="group" aria-label="The decision table" {
                table {
                    thead { tr { th scope="col" { "Matches" } th scope="col" { "Reason" } th scope="col" { "Condition" } } }
                    tbody {
                        @for (index, shown) in TABLE.iter().enumerate() {
                            @let decides = index == decided;
                            tr class=[decides.then_some("decides")] {
                                td {
                                    @match holds(index, decided) {
                                        Some(true) => strong { "yes" },
                                        Some(false) => "no",
                                        None => span .where { "not evaluated" },
                                    }
                                }
                                td { @for word in shown.words { code { (word.as_str()) } " " } }
                                td { (shown.live.replace("**", "").replace('`', "")) }
                            }
                        }
                    }
                }
            }
        }
    }
}
