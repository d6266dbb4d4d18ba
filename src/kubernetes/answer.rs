//! The bodies of answers, and the memory that they take. All clusters share it, so that concurrent lists do not
//! hold all their pages in memory.

use std::{sync::Arc, time::Duration};

use http_body_util::BodyExt;
use kube::client::Body;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::Error;
use crate::domain::mask::mask;

/// The most bytes of an answer: etcd keeps no object over 1.5 MiB, and a server that sends more must not
/// cost the other clusters their memory.
pub(super) const ANSWER_LIMIT: usize = 4 << 20;

/// Bytes of list pages that are held at a time, for all clusters together.
const LISTS: usize = 16 << 20;

/// The same for single objects: answers to get and patch, and events of a watch.
const OBJECTS: usize = 8 << 20;

/// So many bytes of a single object are not counted: almost no object is larger.
pub(super) const UNCOUNTED: usize = 64 << 10;

/// The memory that all clusters share for answers.
#[derive(Clone, Debug)]
pub struct AnswerMemory {
    pub(super) lists: Pool,
    pub(super) objects: Pool,
}

impl Default for AnswerMemory {
    fn default() -> Self {
        Self {
            lists: Pool::of(LISTS),
            objects: Pool::of(OBJECTS),
        }
    }
}

/// Memory for one kind of answers.
///
/// Each part of an answer takes its share as it arrives, so that a server that sends slowly holds little of it.
/// Where all is taken, one answer at a time may exceed the limit: otherwise answers that are incomplete could
/// wait for each other. So at most the limit and one answer are reserved. The frame of an answer that waits for
/// its share does not count.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    shared: Arc<Semaphore>,
    overflow: Arc<Semaphore>,
}

/// What one answer takes, until it is dropped.
pub(super) struct Share {
    memory: Pool,
    taken: Option<OwnedSemaphorePermit>,
    overflow: Option<OwnedSemaphorePermit>,
}

impl Pool {
    fn of(bytes: usize) -> Self {
        Self {
            shared: Arc::new(Semaphore::new(bytes)),
            overflow: Arc::new(Semaphore::new(1)),
        }
    }

    /// For an answer of which nothing has arrived.
    pub(super) fn share(&self) -> Share {
        Share {
            memory: self.clone(),
            taken: None,
            overflow: None,
        }
    }
}

impl Share {
    /// Reserves so many bytes more. Waits until they are free, or until this answer may exceed the limit.
    pub(super) async fn take(&mut self, bytes: usize) {
        if self.overflow.is_some() {
            return;
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let (shared, overflow) = (&self.memory.shared, &self.memory.overflow);
        // Neither semaphore is ever closed.
        tokio::select! {
            biased;
            Ok(more) = Arc::clone(shared).acquire_many_owned(bytes) => match &mut self.taken {
                Some(taken) => taken.merge(more),
                None => self.taken = Some(more),
            },
            Ok(overflow) = Arc::clone(overflow).acquire_owned() => self.overflow = Some(overflow),
        }
    }
}

/// Reads a body to its end. `limit` is how long the server may take to send it; the time that is spent
/// waiting for memory does not count.
///
/// # Errors
/// It is too large, too slow, or breaks off.
pub(super) async fn read(
    mut body: Body,
    limit: Duration,
    (share, uncounted): (&mut Share, usize),
) -> Result<Vec<u8>, Error> {
    let (mut bytes, mut left) = (Vec::new(), limit);
    loop {
        let begun = Instant::now();
        let frame = match timeout(left, body.frame()).await {
            Err(_) => return Err(Error::Late),
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(error))) => {
                return Err(Error::Unavailable(mask(&error.to_string(), 300)));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        left = left.saturating_sub(begun.elapsed());
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > ANSWER_LIMIT {
            return Err(Error::TooLarge(ANSWER_LIMIT));
        }
        bytes.extend_from_slice(&data);
        if bytes.len() > uncounted {
            share.take(data.len()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn pages_that_are_incomplete_do_not_wait_for_each_other() {
        let memory = Pool::of(100);
        let (mut first, mut second) = (memory.share(), memory.share());
        first.take(60).await;
        second.take(40).await;
        // All is taken: one of the two continues, the other waits for it.
        first.take(1000).await;
        assert!(timeout(SOON, second.take(1)).await.is_err());
        drop(first);
        timeout(SOON, second.take(1)).await.expect("room");
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_is_dropped_gives_all_of_its_memory_back() {
        let memory = Pool::of(100);
        for _ in 0..10 {
            let mut page = memory.share();
            page.take(50).await;
            page.take(50).await;
            page.take(50).await;
        }
        assert_eq!(memory.shared.available_permits(), 100);
        assert_eq!(memory.overflow.available_permits(), 1);
    }
}
