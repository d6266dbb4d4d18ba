//! A panic stays where it happens: it is caught, counted, and logged by its place in the code.
//!
//! What a panic says often repeats the data that led to it, and that data comes from clusters. So the
//! message is never logged; the place is enough to find the fault.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    pin::pin,
    task::Poll,
    time::Duration,
};

use crate::metrics::Metrics;
pub use crate::metrics::Part;

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// File, line and column.
    pub location: String,
}

thread_local! {
    /// How many catching calls are on this thread's stack.
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    /// The place of the last panic on this thread.
    static LOCATION: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Makes every panic of the process say where it happened and nothing else. One that is caught here is
/// logged by the code that catches it.
pub fn install_hook() {
    panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let location = info.location().map_or_else(
            || "an unknown place".to_owned(),
            |at| format!("{}:{}:{}", at.file(), at.line(), at.column()),
        );
        if CATCHING.get() == 0 {
            if tracing::dispatcher::has_been_set() {
                tracing::error!(location, "internal error at {location}; please report it");
            } else {
                eprintln!("helmreboot: internal error at {location}; please report it");
            }
        }
        LOCATION.set(location);
    }));
}

/// Runs a future to its end, or to a panic, which is counted.
///
/// # Errors
/// It panicked. The caller logs what that means.
pub async fn caught<F: Future>(
    part: Part,
    metrics: &Metrics,
    future: F,
) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(
        |context| match catch(part, metrics, || future.as_mut().poll(context)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panicked) => Poll::Ready(Err(panicked)),
        },
    )
    .await
}

/// The same for code that does not wait.
///
/// # Errors
/// It panicked.
pub fn catch<T>(part: Part, metrics: &Metrics, code: impl FnOnce() -> T) -> Result<T, Panicked> {
    CATCHING.set(CATCHING.get() + 1);
    // The shared state consists of locks, which recover from a panic, and atomics.
    let outcome = panic::catch_unwind(AssertUnwindSafe(code));
    CATCHING.set(CATCHING.get() - 1);
    outcome.map_err(|_| {
        metrics.panicked(part);
        Panicked {
            location: LOCATION.take(),
        }
    })
}

/// Runs a task that has no end, and starts it again some time after a panic.
pub async fn supervised<F: Future<Output = ()>>(
    part: Part,
    name: &str,
    metrics: &Metrics,
    pause: Duration,
    mut task: impl FnMut() -> F,
) {
    while let Err(Panicked { location }) = caught(part, metrics, task()).await {
        let seconds = pause.as_secs();
        tracing::error!(
            part = part.as_str(),
            location,
            "internal error in {name} at {location}; it is started again in {seconds} s; please report it"
        );
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_caught_and_the_task_begins_anew() {
        let metrics = Metrics::default();
        let begun = Cell::new(0);
        let task = || {
            begun.set(begun.get() + 1);
            let number = begun.get();
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert!(number > 2, "planted");
            }
        };
        let pause = Duration::from_secs(10);
        supervised(Part::Background, "a test", &metrics, pause, task).await;
        assert_eq!(begun.get(), 3);
    }

    #[test]
    fn catching_calls_may_be_nested() {
        let metrics = Metrics::default();
        let outer = catch(Part::Watcher, &metrics, || {
            let inner = catch(Part::Watcher, &metrics, || panic!("planted"));
            assert!(inner.is_err());
            7
        });
        assert_eq!(outer, Ok(7));
        assert_eq!(CATCHING.get(), 0);
    }
}
