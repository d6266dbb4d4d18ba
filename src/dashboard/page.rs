//! The page, as HTML. It is complete without JavaScript.

use axum::{
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::{Dashboard, query::Query};
use crate::domain::{
    alert::ReleaseRef,
    spoken::{age, spoken},
};

mod cause;
mod cluster;
mod overview;
mod release;
mod row;

/// Seconds between two loads of the page in a browser without JavaScript.
const REFRESH: u32 = 30;

/// What all pages have in common.
struct Frame<'a> {
    title: &'a str,
    /// The way from this page to `/`.
    root: &'a str,
}

impl Frame<'_> {
    /// The document around a page.
    fn around(&self, page: &Dashboard, main: Markup) -> Response {
        let (root, sources) = (self.root, &page.sources);
        let acts = sources.leadership.acts();
        let document = html! {
            (DOCTYPE)
            html lang="en" data-root=(root) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " – helmreboot" }
                    link rel="stylesheet" href={ (root) "assets/style.css" };
                    link rel="icon" type="image/svg+xml" href={ (root) "assets/icon.svg" };
                    script src={ (root) "assets/page.js" } defer {}
                    noscript { meta http-equiv="refresh" content=(REFRESH); }
                }
                body {
                    a .skip href="#main" { "Skip to the content" }
                    header {
                        a .brand href=(here(root)) { "helmreboot" }
                        nav aria-label="Pages" {
                            a href=(here(root)) { "Releases" }
                            a href={ (root) "clusters" } { "Clusters" }
                            a href={ (root) "api/v1/openapi.json" } { "API" }
                        }
                        p #live role="status" { "Loaded at " (clock_time(sources.clock.now())) " UTC" }
                    }
                    div #notices {
                    @if !acts {
                        p .notice { "This replica is a standby, which knows nothing about the releases. The page of the leader is not known: either no replica is the leader now, or the variable POD_IP is not set in all replicas." }
                    }
                    @if sources.pause.is_on() {
                        p .notice { "helmreboot is paused: it writes nothing until the pause file is removed." }
                    }
                    }
                    main #main tabindex="-1" { (main) }
                    footer {
                        "helmreboot " (env!("CARGO_PKG_VERSION")) ". This page only reads. Run the commands with your own permissions."
                    }
                }
            }
        };
        let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        (kind, document.into_string()).into_response()
    }
}

/// A relative link to the start page. An empty one would be the page itself, with its query.
fn here(root: &str) -> &str {
    if root.is_empty() { "./" } else { root }
}

/// A page that says what is wrong.
fn problem(page: &Dashboard, root: &str, status: StatusCode, text: &str) -> Response {
    let main = html! {
        h1 { (status.canonical_reason().unwrap_or("Error")) }
        p { (text) }
        p { a href=(here(root)) { "All releases that are not ready" } }
    };
    let frame = Frame {
        title: status.canonical_reason().unwrap_or("Error"),
        root,
    };
    (status, frame.around(page, main)).into_response()
}

/// `/`.
pub(super) async fn overview(State(page): State<Dashboard>, RawQuery(query): RawQuery) -> Response {
    let query = match Query::parse(query.as_deref()) {
        Ok(query) => query,
        Err(error) => return problem(&page, "", StatusCode::BAD_REQUEST, &error),
    };
    let view = page.sources.view(&query);
    let title = overview::title(&view);
    let frame = Frame {
        title: &title,
        root: "",
    };
    frame.around(&page, overview::main(&view, &query))
}

/// `/releases/{cluster}/{namespace}/{name}`.
pub(super) async fn release(
    State(page): State<Dashboard>,
    Path((cluster, namespace, name)): Path<(String, String, String)>,
) -> Response {
    let root = "../../../";
    let release = ReleaseRef {
        cluster: cluster.into(),
        namespace: namespace.into(),
        name: name.into(),
    };
    let (row, timeline) = (page.sources.row(&release), page.sources.timeline(&release));
    let healed = page.sources.healed(&release);
    if row.is_none() && timeline.is_empty() && healed.is_none() {
        let text = format!(
            "{release} is ready, does not exist, or is of an unknown cluster, and nothing happened to it lately."
        );
        return problem(&page, root, StatusCode::NOT_FOUND, &text);
    }
    let title = release.to_string();
    let frame = Frame {
        title: &title,
        root,
    };
    let now = page.sources.clock.now();
    let links = &page.sources.links;
    let ready = healed.map_or_else(
        || "This release is ready, or no longer exists.".to_owned(),
        |healed| {
            format!(
                "This release recovered at {:.0}, after a restart by helmreboot.",
                healed.at
            )
        },
    );
    let main = release::main(&release, row.as_ref(), &timeline, (links, &ready), now);
    frame.around(&page, main)
}

/// `/causes/{id}`.
pub(super) async fn cause(
    State(page): State<Dashboard>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let root = "../";
    let mut query = match Query::parse(query.as_deref()) {
        Ok(query) => query,
        Err(error) => return problem(&page, root, StatusCode::BAD_REQUEST, &error),
    };
    query.cause = Some(id);
    let view = page.sources.view(&query);
    let Some(cause) = view.causes.first() else {
        let text = "No two releases have this cause any more.";
        return problem(&page, root, StatusCode::NOT_FOUND, text);
    };
    let frame = Frame {
        title: &cause.text,
        root,
    };
    frame.around(&page, cause::main(cause, &view, &query))
}

/// `/clusters`.
pub(super) async fn clusters(State(page): State<Dashboard>, RawQuery(query): RawQuery) -> Response {
    let query = match Query::parse(query.as_deref()) {
        Ok(query) => query,
        Err(error) => return problem(&page, "", StatusCode::BAD_REQUEST, &error),
    };
    let frame = Frame {
        title: "Clusters",
        root: "",
    };
    frame.around(&page, cluster::main(&page.sources, &query))
}

/// A time in the past, as its age.
fn ago(at: Timestamp, now: Timestamp) -> Markup {
    let text = age(now.duration_since(at).unsigned_abs());
    html! { time datetime=(at) title=(at) data-age { (text) } }
}

/// A time in the future. The script counts it down.
fn until(at: Timestamp, now: Timestamp) -> Markup {
    if at <= now {
        return html! { "now" };
    }
    let text = spoken(at.duration_since(now).unsigned_abs());
    html! { time datetime=(at) title=(at) data-countdown { "in " (text) } }
}

/// Hours, minutes and seconds.
fn clock_time(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}
