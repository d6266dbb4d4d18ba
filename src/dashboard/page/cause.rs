//! The page of one shared cause, with its releases.

use maud::{Markup, html};

use super::{overview::cause_row, row};
use crate::{
    dashboard::{
        query::Query,
        view::{SharedCause, View},
    },
    domain::summary::Band,
};

/// Rows of one page.
const MANY: usize = 200;

pub(super) fn main(cause: &SharedCause, view: &View, query: &Query) -> Markup {
    let rows = view.rows().iter();
    let rows: Vec<_> = rows
        .filter(|row| row.summary.band != Band::Excluded)
        .collect();
    let shown = rows.iter().skip(query.offset).take(MANY);
    let end = query.offset.saturating_add(MANY);
    html! {
        h1 { "Shared cause" }
        section .band data-band="cause" aria-labelledby="h-cause" {
            h2 #h-cause { "What they have in common" }
            ol .rows #rows-cause { (cause_row("../", cause, view)) }
        }
        section .band data-band="releases" aria-labelledby="h-releases" {
            h2 #h-releases { (rows.len()) " releases" }
            ol .rows #rows-releases { @for one in shown { (row::row("../", one, view.now)) } }
            p {
                @if query.offset > 0 { a href={ "?offset=" (query.offset.saturating_sub(MANY)) } { "Previous" } " " }
                @if end < rows.len() { a href={ "?offset=" (end) } { "Next" } }
            }
        }
    }
}
