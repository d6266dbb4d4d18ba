//! Server-sent events: the facts of the journal, and a message when the page shows something else than before.

use std::{convert::Infallible, time::Duration};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream};

use super::{Dashboard, api, changes::CLOSED};

/// How often a stream without news is kept alive. Proxies close idle connections after a minute or so.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Facts that are sent at once. After a burst, all streams together need memory for so many each.
const MOST: usize = 64;

/// After this time a browser connects again.
const RETRY: Duration = Duration::from_secs(3);

/// The number of the event after the one with this id. All events are sent if it is of another process.
pub(super) fn number_of(page: &Dashboard, id: &str) -> Option<u64> {
    let (run, number) = id.split_once('-')?;
    let number: u64 = number.parse().ok()?;
    let same = run.parse() == Ok(page.sources.run);
    Some(if same { number.saturating_add(1) } else { 0 })
}

/// A stream of events. `from` is the number of the first event that the reader has not seen. `None` if too many streams are
/// open.
pub(super) fn events(
    page: &Dashboard,
    from: Option<u64>,
) -> Option<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>> {
    let permit = page.sources.streams.clone().try_acquire_owned().ok()?;
    let journal = page.sources.journal.clone();
    let next = from.unwrap_or_else(|| journal.next());
    let (run, leadership) = (page.sources.run, page.sources.leadership.clone());
    let acts = leadership.acts();
    let changes = page.sources.revision.subscribe();
    // A reader that comes back gets what it missed at once.
    let at_once = from.is_some();
    let first = Event::default().retry(RETRY).comment("connected");
    let later = stream::unfold(
        (permit, journal, changes, next, at_once, leadership),
        move |(permit, journal, mut changes, next, at_once, leadership)| async move {
            if !at_once {
                changes.changed().await.ok()?;
            }
            // Another replica acts now, or this one does: the reader connects again, and gets to the leader.
            if *changes.borrow_and_update() == CLOSED || leadership.acts() != acts {
                return None;
            }
            // The process may have started again since the reader saw its last event.
            let from = if next > journal.next() { 0 } else { next };
            let (entries, after) = journal.page(from, MOST);
            let begins = after - entries.len() as u64;
            let facts = (begins..).zip(&entries).filter_map(|(id, entry)| {
                let event = Event::default().event("fact").id(format!("{run}-{id}"));
                event.json_data(api::Event::of(id, entry)).ok()
            });
            let mut messages: Vec<_> = facts.map(Ok).collect();
            let more = entries.len() == MOST;
            if !more {
                // Browsers ignore a message without data.
                messages.push(Ok(Event::default().event("changed").data("now")));
            }
            Some((
                stream::iter(messages),
                (permit, journal, changes, after, more, leadership),
            ))
        },
    );
    let events = stream::iter([Ok(first)]).chain(later.flatten());
    let alive = KeepAlive::new().interval(KEEP_ALIVE);
    Some(Sse::new(events).keep_alive(alive))
}
