//! What ends the service before its work is done, in words.

use anyhow::anyhow;

/// A second signal ends the process.
pub(super) fn at_once(signal: &str) -> anyhow::Error {
    anyhow!("stopped at once by a second signal ({signal}); what was due is not finished")
}

/// What a task that should never end died of.
pub(super) fn broken(
    what: &str,
    ended: Result<Option<std::io::Error>, tokio::task::JoinError>,
) -> anyhow::Error {
    match ended {
        Ok(Some(error)) => anyhow!(error).context(format!("{what} broke")),
        Ok(None) => anyhow!("{what} ended by itself; please report it"),
        Err(panic) => anyhow!(panic).context(format!("{what} panicked; please report it")),
    }
}
