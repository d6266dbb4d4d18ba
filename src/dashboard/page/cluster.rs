//! The clusters, with their health.

use jiff::Timestamp;
use maud::{Markup, html};

use super::{ago, until};
use crate::{
    clusters::ClusterEntry,
    dashboard::{Sources, query::Query},
    domain::{link::encoded, short_hash::short_hash},
};

pub(super) fn main(sources: &Sources, query: &Query) -> Markup {
    let now = sources.clock.now();
    let entries = sources.registry.entries();
    let selected = entries.filter(|entry| {
        query.finds(&[&entry.name]) && query.cluster.as_deref().is_none_or(|it| *it == *entry.name)
    });
    let mut selected: Vec<_> = selected.collect();
    selected.sort_by_key(|entry| entry.is_up());
    html! {
        h1 { "Clusters" }
        form method="get" role="search" {
            label for="q" { "Filter" }
            input #q type="search" name="q" value=(query.search) autocomplete="off" spellcheck="false";
            button type="submit" { "Apply" }
        }
        section .band data-band="clusters" aria-labelledby="h-clusters" {
            h2 #h-clusters {
                @match selected.len() { 1 => "1 cluster", many => { (many) " clusters" } }
            }
            div .scroll tabindex="0" role="group" aria-label="The table of clusters" {
                table {
                    thead { tr {
                        th scope="col" { "Cluster" }
                        th scope="col" { "Health" }
                        th scope="col" { "Failing" }
                        th scope="col" { "Restarts in flight" }
                        th scope="col" { "Breakers open" }
                        th scope="col" { "Up to date" }
                        th scope="col" { "Credential expires" }
                    } }
                    tbody #rows-clusters { @for entry in selected { (cluster(entry, now)) } }
                }
            }
        }
    }
}

fn cluster(entry: &ClusterEntry, now: Timestamp) -> Markup {
    let gauges = entry.gauges(now);
    let (class, health) = health(entry);
    html! {
        tr id={ "k" (short_hash(&entry.name)) } {
            th scope="row" { a href={ "./?cluster=" (encoded(&entry.name)) } { (entry.name) } }
            td class=(class) { (health) }
            td { (gauges.failing.total()) }
            td { (gauges.in_flight) }
            td { (gauges.breakers) }
            td { @match gauges.up_to_date { Some(at) => { (ago(at, now)) " ago" } None => "not watched" } }
            td { @match entry.credential_expires() { Some(at) if at <= now => "expired", Some(at) => (until(at, now)), None => "not known" } }
        }
    }
}

/// The health, and what is wrong.
fn health(entry: &ClusterEntry) -> (&'static str, &'static str) {
    if entry.has_no_access() {
        (
            "bad",
            "no access: the kubeconfig cannot be used; see the log",
        )
    } else if entry.keys().is_empty() {
        ("bad", "no key: its alerts are refused; see the log")
    } else if entry.is_up() {
        ("good", "available")
    } else {
        ("bad", "its API server does not answer")
    }
}
