//! How many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The soft limit is not raised beyond this: credential plugins inherit it, and some programs iterate over all
/// possible descriptors when they start.
const MAX_OPEN_FILES: u64 = 65_536;

/// Descriptors that are kept for everything but the webhook: two other ports, files, the runtime.
const RESERVED: u64 = 320;

/// Descriptors that are kept for the connections to one cluster.
const FOR_EACH_CLUSTER: u64 = 4;

/// The webhook always gets so many connections, whatever the limit.
const MIN_CONNECTIONS: u64 = 64;

/// Raises the soft limit of open files to the hard limit, but at most to 65,536. (The Go runtime
/// raises it too: `os/rlimit.go`.) Returns the limit in effect.
pub fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = maximum.unwrap_or(u64::MAX).min(MAX_OPEN_FILES);
    // No current limit at all.
    let Some(current) = current else {
        return u64::MAX;
    };
    if current >= most {
        return current;
    }
    let raised = Rlimit {
        current: Some(most),
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => most,
        Err(error) => {
            tracing::debug!(
                "cannot raise the limit of open files from {current} to {most}: {error}"
            );
            current
        }
    }
}

/// Below this limit, a flood of connections can keep probes from being answered.
pub const FEW: u64 = RESERVED + 2 * MIN_CONNECTIONS;

/// How many connections the webhook may have open, of those that are configured, so that descriptors are left
/// for the clusters and the other ports.
pub fn webhook_connections(configured: usize, limit: u64, clusters: usize) -> usize {
    let clusters = FOR_EACH_CLUSTER.saturating_mul(clusters as u64);
    let left = limit.saturating_sub(RESERVED).saturating_sub(clusters);
    configured.min(usize::try_from(left.max(MIN_CONNECTIONS)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_webhook_leaves_descriptors_to_the_clusters_and_the_other_ports() {
        assert_eq!(webhook_connections(1024, u64::MAX, 1000), 1024);
        assert_eq!(webhook_connections(1024, 1024, 1), 700);
        assert_eq!(webhook_connections(16, 1024, 1), 16);
        assert_eq!(webhook_connections(1024, 1024, 1000), 64);
    }

    #[test]
    fn the_limit_that_is_returned_holds() {
        let limit = raise_limit();
        let current = getrlimit(Resource::Nofile).current;
        assert_eq!(current.unwrap_or(u64::MAX), limit);
    }
}
