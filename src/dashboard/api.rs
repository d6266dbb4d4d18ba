//! The JSON API: what the page shows, as data. `assets/openapi.json` describes it.

use axum::{
    Json, Router,
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Dashboard, assets,
    query::Query,
    stream,
    view::{SharedCause, View, admission},
};
use crate::{
    clusters::{BoardRow, ClusterEntry},
    domain::{
        alert::ReleaseRef,
        classify::Class,
        decide::TABLE,
        journal::Entry,
        summary::{Band, ReleaseSummary},
    },
};

/// Rows of one answer, if the request does not say how many.
const LIMIT: usize = 100;

/// A release as the API shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Release<'a> {
    #[serde(flatten)]
    summary: &'a ReleaseSummary,
    observed_at: Timestamp,
}

/// An event of the journal.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    pub(super) id: u64,
    at: Timestamp,
    cluster: &'a str,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    what: &'static str,
    reason: &'static str,
    rule: &'static str,
    restarts: u32,
    text: &'a str,
}

impl<'a> Event<'a> {
    pub(super) fn of(id: u64, entry: &'a Entry) -> Self {
        let release = entry.about.release();
        Self {
            id,
            at: entry.at,
            cluster: entry.about.cluster(),
            namespace: release.map(|release| &*release.namespace),
            name: release.map(|release| &*release.name),
            what: entry.what,
            reason: entry.reason,
            rule: entry.rule,
            restarts: entry.attempt,
            text: &entry.line,
        }
    }
}

pub(super) fn router() -> Router<Dashboard> {
    Router::new()
        .route("/status", get(status))
        .route("/releases", get(releases))
        .route("/releases/{cluster}/{namespace}/{name}", get(release))
        .route("/causes", get(causes))
        .route("/healed", get(healed))
        .route("/clusters", get(clusters))
        .route("/events", get(events))
        .route("/openapi.json", get(assets::openapi))
        .fallback(|| async {
            problem(
                StatusCode::NOT_FOUND,
                "there is no such path; openapi.json names all",
            )
        })
}

/// An error, and what to do.
fn problem(status: StatusCode, problem: &str) -> Response {
    (status, Json(json!({"error": problem}))).into_response()
}

/// Answers a request whose query is valid.
fn answered(query: Option<String>, answer: impl FnOnce(Query) -> Value) -> Response {
    match Query::parse(query.as_deref()) {
        Ok(query) => Json(answer(query)).into_response(),
        Err(error) => problem(StatusCode::BAD_REQUEST, &error),
    }
}

async fn status(State(page): State<Dashboard>, RawQuery(query): RawQuery) -> Response {
    let sources = &page.sources;
    answered(query, |query| {
        let view = sources.view(&query);
        let count = |band| view.of(band).len();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "time": view.now,
            "acts": sources.leadership.acts(),
            "paused": sources.pause.is_on(),
            "clusters": view.clusters,
            "clustersUnavailable": view.unavailable,
            "needsPerson": count(Band::NeedsPerson),
            "sharedCauses": view.causes.len(),
            "inProgress": count(Band::InProgress),
            "excluded": count(Band::Excluded),
            "healed": view.healed.len(),
            "omitted": view.omitted,
        })
    })
}

async fn releases(State(page): State<Dashboard>, RawQuery(query): RawQuery) -> Response {
    answered(query, |query| {
        let view = page.sources.view(&query);
        let limit = query.limit.unwrap_or(LIMIT);
        let shown = view.rows().iter().skip(query.offset).take(limit);
        json!({
            "total": view.rows().len(),
            "offset": query.offset,
            "limit": limit,
            "releases": shown.map(of_row).collect::<Vec<_>>(),
        })
    })
}

fn of_row(row: &BoardRow) -> Release<'_> {
    Release {
        summary: &row.summary,
        observed_at: row.observed,
    }
}

async fn release(
    State(page): State<Dashboard>,
    Path((cluster, namespace, name)): Path<(String, String, String)>,
) -> Response {
    let sources = &page.sources;
    let release = ReleaseRef {
        cluster: cluster.into(),
        namespace: namespace.into(),
        name: name.into(),
    };
    let (row, timeline) = (sources.row(&release), sources.timeline(&release));
    if row.is_none() && timeline.is_empty() {
        let said = "this release is ready, does not exist, or is of an unknown cluster, and nothing happened to it lately";
        return problem(StatusCode::NOT_FOUND, said);
    }
    let table = row.iter().flat_map(|row| {
        TABLE.iter().enumerate().map(|(index, shown)| {
            let words: Vec<_> = shown.words.iter().map(|word| word.as_str()).collect();
            json!({"reasons": words, "condition": shown.live, "holds": holds(index, row.summary.row)})
        })
    });
    let events = timeline.iter().map(|entry| Event::of(0, entry));
    let events = events.map(|event| {
        let mut event = json!(event);
        // Its number is only in the list of all events.
        event.as_object_mut().map(|fields| fields.remove("id"));
        event
    });
    Json(json!({
        "release": row.as_ref().map(of_row),
        "decisionTable": table.collect::<Vec<_>>(),
        "events": events.collect::<Vec<_>>(),
    }))
    .into_response()
}

/// Whether a row of the table holds; `None` for those after the one that decided, which were not tried.
pub(super) fn holds(index: usize, decided: usize) -> Option<bool> {
    (index <= decided).then_some(index == decided)
}

async fn causes(State(page): State<Dashboard>, RawQuery(query): RawQuery) -> Response {
    answered(query, |query| {
        let view = page.sources.view(&query);
        let causes = view.causes.iter().map(|cause| of_cause(cause, &view));
        json!({"causes": causes.collect::<Vec<_>>()})
    })
}

fn of_cause(cause: &SharedCause, view: &View) -> Value {
    let breakers = cause.breakers.iter().map(|(cluster, breaker)| {
        json!({"cluster": **cluster, "delayed": breaker.releases, "text": admission(breaker, view.now)})
    });
    json!({
        "id": cause.id,
        "cause": cause.text,
        "meaning": cause.meaning,
        "releases": cause.releases,
        "clusters": cause.clusters,
        "breakers": breakers.collect::<Vec<_>>(),
    })
}

async fn healed(State(page): State<Dashboard>, RawQuery(query): RawQuery) -> Response {
    answered(query, |query| {
        let view = page.sources.view(&query);
        let limit = query.limit.unwrap_or(LIMIT);
        let shown = view.healed.iter().skip(query.offset).take(limit);
        let shown = shown.map(|healed| {
            let release = &healed.release;
            json!({
                "cluster": *release.cluster,
                "namespace": *release.namespace,
                "name": *release.name,
                "at": healed.at,
                "rule": healed.rule,
                "restarts": healed.restarts,
            })
        });
        json!({
            "total": view.healed.len(),
            "offset": query.offset,
            "limit": limit,
            "healed": shown.collect::<Vec<_>>(),
        })
    })
}

async fn clusters(State(page): State<Dashboard>, RawQuery(query): RawQuery) -> Response {
    let now = page.sources.clock.now();
    answered(query, |query| {
        let entries = page.sources.registry.entries();
        let selected = entries.filter(|entry| {
            query.cluster.as_deref().is_none_or(|it| *it == *entry.name)
                && query.finds(&[&entry.name])
        });
        json!({"clusters": selected.map(|entry| of_cluster(entry, now)).collect::<Vec<_>>()})
    })
}

fn of_cluster(entry: &ClusterEntry, now: Timestamp) -> Value {
    let gauges = entry.gauges(now);
    let failing = |class| gauges.failing.of(class);
    json!({
        "name": *entry.name,
        "available": entry.is_up(),
        "hasAccess": !entry.has_no_access(),
        "hasKeys": !entry.keys().is_empty(),
        "credentialExpiresAt": entry.credential_expires(),
        "upToDateAt": gauges.up_to_date,
        "failing": {
            "permanent": failing(Class::Permanent),
            "transient": failing(Class::Transient),
            "unknown": failing(Class::Unknown),
        },
        "waiting": gauges.queued,
        "restartsInFlight": gauges.in_flight,
        "breakersOpen": gauges.breakers,
    })
}

/// The events, as a list or as a stream.
async fn events(
    State(page): State<Dashboard>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let accept = headers.get(header::ACCEPT);
    let accept = accept
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if accept.contains("text/event-stream") {
        let number = |id: &http::HeaderValue| stream::number_of(&page, id.to_str().ok()?);
        let last = headers.get("last-event-id");
        let last = last.and_then(number);
        return stream::events(&page, last)
            .map(IntoResponse::into_response)
            .unwrap_or_else(|| {
                let said = "too many event streams are open; try again later";
                problem(StatusCode::SERVICE_UNAVAILABLE, said)
            });
    }
    answered(query, |query| {
        let journal = &page.sources.journal;
        let (entries, next) = journal.since(query.after);
        let first = next - entries.len() as u64;
        let numbered = (first..).zip(&entries);
        let limit = query.limit.unwrap_or(LIMIT);
        let shown: Vec<_> = numbered
            .filter(|(_, entry)| selects(&query, entry))
            .take(limit)
            .map(|(id, entry)| Event::of(id, entry))
            .collect();
        // The next request goes on where this answer ends.
        let after = match shown.last() {
            Some(last) if shown.len() == limit => last.id + 1,
            _ => next,
        };
        json!({"next": after, "events": shown})
    })
}

fn selects(query: &Query, entry: &Entry) -> bool {
    let release = entry.about.release();
    let namespace = release.map(|release| &*release.namespace);
    let name = release.map(|release| &*release.name).unwrap_or_default();
    let cluster = entry.about.cluster();
    let full = format!("{cluster}/{}/{name}", namespace.unwrap_or_default());
    query.cluster.as_deref().is_none_or(|it| it == cluster)
        && (query.namespace.is_none() || query.namespace.as_deref() == namespace)
        && query.finds(&[&full, entry.rule, entry.what, entry.reason])
}
