//! Texts of errors that end the service.

use anyhow::anyhow;

/// A second signal ends the process.
pub(super) fn at_once(signal: &str) -> anyhow::Error {
    anyhow!("stopped at once by a second signal ({signal}); pending work was not finished")
}

/// Why a task ended that never should.
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
