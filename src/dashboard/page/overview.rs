//! The start page: what needs a person, shared causes, what is in progress, and what healed.

use maud::{Markup, html};

use super::{ago, row};
use crate::{
    clusters::BoardRow,
    dashboard::{
        query::Query,
        view::{SharedCause, View, admission},
    },
    domain::{ledger::counted, summary::Band},
};

/// Rows of a band if all bands are shown.
const FEW: usize = 20;

/// Rows of a band that is shown alone.
const MANY: usize = 200;

/// The title says what matters most.
pub(super) fn title(view: &View) -> String {
    match view.of(Band::NeedsPerson).len() {
        0 => "No release needs a person".to_owned(),
        1 => "1 release needs a person".to_owned(),
        many => format!("{many} releases need a person"),
    }
}

pub(super) fn main(view: &View, query: &Query) -> Markup {
    html! {
        h1 .quiet { "HelmReleases that are not ready" }
        (filter(view, query))
        @match query.band {
            Some(band) => {
                (band_of(band, view, query, MANY))
                p { a href={ "?" (query.with(None, 0)) } { "All bands" } }
            }
            None => {
                (band_of(Band::NeedsPerson, view, query, FEW))
                (causes(view))
                (band_of(Band::InProgress, view, query, FEW))
                (healed(view))
                (excluded(view, query))
            }
        }
        @if view.omitted > 0 {
            p .notice { (view.omitted) " more releases are not ready. There are too many to list; correct their shared causes first." }
        }
    }
}

fn filter(view: &View, query: &Query) -> Markup {
    html! {
        form method="get" role="search" {
            label for="q" { "Filter" }
            input #q type="search" name="q" value=(query.search) placeholder="cluster, namespace, name or rule" autocomplete="off" spellcheck="false";
            @if let Some(band) = query.band { input type="hidden" name="band" value=(band.as_str()); }
            @if let Some(cluster) = &query.cluster { input type="hidden" name="cluster" value=(cluster); }
            @if let Some(namespace) = &query.namespace { input type="hidden" name="namespace" value=(namespace); }
            @if let Some(cause) = &query.cause { input type="hidden" name="cause" value=(cause); }
            button type="submit" { "Apply" }
            @if query.filters() { a href="./" { "Remove all filters" } }
            p .where {
                (view.clusters) @if view.clusters == 1 { " cluster, " } @else { " clusters, " }
                @if view.unavailable > 0 { a href="clusters" { (view.unavailable) " not available" } } @else { "all available" }
                ". In the filter, * is any text, and !word leaves out what has that word."
                @if let Some(cluster) = &query.cluster { " Only cluster " (cluster) " is shown." }
                @if let Some(namespace) = &query.namespace { " Only namespace " (namespace) " is shown." }
            }
        }
    }
}

/// The name of a band with its number of releases, and what that means.
fn heading(band: Band, many: usize) -> (String, &'static str) {
    match band {
        Band::NeedsPerson if many == 0 => (
            "No release needs a person".into(),
            "Every listed release that is not ready is in progress or excluded.",
        ),
        Band::NeedsPerson => (
            format!("{many} {} a person", need(many)),
            "helmreboot does not restart these releases, or gave up. Those that fail for the longest time are first.",
        ),
        Band::InProgress => (
            format!("{many} in progress"),
            "Nothing to do: helmreboot or Flux continues by itself.",
        ),
        Band::Excluded => (
            format!("{many} excluded"),
            "They are suspended, being deleted, or helmreboot is switched off for them.",
        ),
        Band::Ready => (
            format!("{many} ready"),
            "Ready releases are not listed here.",
        ),
    }
}

fn need(many: usize) -> &'static str {
    if many == 1 { "needs" } else { "need" }
}

fn band_of(band: Band, view: &View, query: &Query, most: usize) -> Markup {
    let rows = view.of(band);
    let (heading, meaning) = heading(band, rows.len());
    let name = band.as_str();
    let shown: Vec<&BoardRow> = rows.iter().skip(query.offset).take(most).copied().collect();
    let end = query.offset.saturating_add(shown.len());
    html! {
        section .band data-band=(name) aria-labelledby={ "h-" (name) } {
            h2 id={ "h-" (name) } class=[rows.is_empty().then_some("good")] { (heading) }
            p .where { (meaning) }
            ol .rows id={ "rows-" (name) } { @for one in shown { (row::row("", one, view.now)) } }
            @if query.band.is_some() {
                p {
                    @if query.offset > 0 { a href={ "?" (query.with(Some(band), query.offset.saturating_sub(most))) } { "Previous" } " " }
                    @if end < rows.len() { a href={ "?" (query.with(Some(band), end)) } { "Next" } }
                }
            } @else if end < rows.len() {
                p { a href={ "?" (query.with(Some(band), 0)) } { "Show all " (rows.len()) } }
            }
        }
    }
}

fn causes(view: &View) -> Markup {
    let many = view.causes.len();
    html! {
        section .band data-band="causes" aria-labelledby="h-causes" {
            h2 #h-causes {
                @match many { 0 => "No shared cause", 1 => "1 shared cause", _ => { (many) " shared causes" } }
            }
            p .where { "Several releases fail for the same cause: look for what they have in common." }
            ol .rows #rows-causes {
                @for cause in view.causes.iter().take(MANY) { (cause_row("", cause, view)) }
            }
        }
    }
}

/// A shared cause as one row.
pub(super) fn cause_row(root: &str, cause: &SharedCause, view: &View) -> Markup {
    html! {
        li .row id={ "c" (cause.id) } {
            h3 .facts {
                a href={ (root) "causes/" (cause.id) } {
                    strong { (cause.meaning) }
                    @if let Some(subject) = cause.subject() { ": " (subject) }
                }
            }
            p {
                span .rule { (cause.rule()) } " · " (cause.releases) " releases in "
                @if cause.clusters.len() == 1 { "cluster " (cause.clusters.first().map_or("", String::as_str)) }
                @else { (cause.clusters.len()) " clusters" }
                ": " (cause.examples.join(", ")) @if cause.releases > cause.examples.len() { " …" }
            }
            @for (cluster, breaker) in &cause.breakers {
                p { "Cluster " (cluster) ": " (admission(breaker, view.now)) }
            }
        }
    }
}

fn healed(view: &View) -> Markup {
    let many = view.healed.len();
    html! {
        section .band data-band="healed" aria-labelledby="h-healed" {
            h2 #h-healed { (many) " healed" }
            p .where { "They recovered after a restart by helmreboot in the last 24 hours." }
            ol .rows.compact #rows-healed {
                @for one in view.healed.iter().take(MANY) {
                    @let it = &one.release;
                    li .row id={ "h" (crate::domain::short_hash::short_hash(&format!("{it}{}", one.at))) } {
                        a href=(row::address("", &it.cluster, &it.namespace, &it.name)) { (it.namespace) "/" (it.name) }
                        " " span .where { "in cluster " (it.cluster) }
                        " · " (ago(one.at, view.now)) " ago, after " (counted(one.restarts)) " "
                        span .rule { (one.rule) }
                    }
                }
            }
        }
    }
}

fn excluded(view: &View, query: &Query) -> Markup {
    let many = view.of(Band::Excluded).len();
    html! {
        @if many > 0 {
            p {
                a href={ "?" (query.with(Some(Band::Excluded), 0)) } {
                    @if many == 1 { "1 release is excluded" } @else { (many) " releases are excluded" }
                    ": suspended, being deleted, or helmreboot is switched off"
                }
            }
        }
    }
}
