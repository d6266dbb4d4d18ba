//! Reads of files that do not block the runtime, and that are given up in time: a file on a network file
//! system whose server is gone does not answer at all.

use std::{
    fs::File,
    io::{Error, Read, Result as Io},
    path::Path,
    time::Duration,
};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

/// How long a read may take.
pub const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the same files periodically. If the last read still runs, the next call waits for that one, so that at
/// most one thread is blocked.
#[derive(Debug)]
pub struct BlockingRead<T>(Option<JoinHandle<T>>);

impl<T> Default for BlockingRead<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Send + 'static> BlockingRead<T> {
    /// The result of `read`, or of an earlier one that has not answered yet. Waits for [`READ_TIMEOUT`] at most.
    ///
    /// # Errors
    /// The read timed out, or `read` panicked.
    pub async fn read(&mut self, read: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        self.read_with_timeout(READ_TIMEOUT, read).await
    }

    /// As [`Self::read`], with another timeout.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_with_timeout(
        &mut self,
        limit: Duration,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let running = self.0.get_or_insert_with(|| spawn_blocking(read));
        let answer = timeout(limit, running).await.map_err(|_| {
            let seconds = limit.as_secs();
            format!("its files were not read within {seconds} s; check the volume they are on")
        })?;
        self.0 = None;
        answer.map_err(|_| {
            "internal error while its files were read; the log has the place; please report it"
                .into()
        })
    }
}

/// The bytes of a regular file. A pipe or a device is refused: to open or read one may wait without end.
/// Blocks.
///
/// # Errors
/// The file cannot be read, is not a regular one, or has more than `limit` bytes.
pub fn contents(path: &Path, limit: u64) -> Io<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if read as u64 > limit {
        return Err(Error::other(format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_read_that_still_runs_is_waited_for_and_not_repeated() {
        let (answer, file) = channel();
        let (limit, mut read) = (Duration::from_millis(10), BlockingRead::default());
        let first = read.read_with_timeout(limit, move || file.recv().expect("an answer"));
        let problem = first.await.expect_err("no answer yet");
        assert!(problem.contains("check the volume"), "{problem}");
        let second = read.read_with_timeout(limit, || unreachable!("the first read still runs"));
        second.await.expect_err("no answer yet");
        answer.send("content").expect("the first read still runs");
        let third = read.read(|| unreachable!("the first read still runs"));
        assert_eq!(third.await, Ok("content"));
        assert_eq!(read.read(|| "new content").await, Ok("new content"));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_next_read_begins_again() {
        let mut read = BlockingRead::default();
        let problem = read.read(|| panic!("planted")).await;
        assert!(problem.expect_err("a panic").contains("report"));
        assert_eq!(read.read(|| "content").await, Ok("content"));
    }
}
