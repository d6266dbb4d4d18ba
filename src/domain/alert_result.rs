//! What the webhook can answer, as words; `server/webhook` knows the status codes.

string_enum! {
    /// The answer to one request.
    AlertResult {
        /// The release will be reconciled.
        Queued = "queued",
        /// The release was in the queue already.
        Merged = "merged",
        /// An event that does not report a failed HelmRelease.
        Ignored = "ignored",
        /// These very bytes were accepted before.
        Duplicate = "duplicate",
        /// No signature, a wrong one, or an unknown cluster; the answer does not say which.
        Unauthorized = "unauthorized",
        /// Path, header and metadata name different clusters.
        Contradiction = "contradiction",
        /// The key may not speak for this namespace.
        Scope = "scope",
        /// Not JSON, or not a Flux event.
        Malformed = "malformed",
        /// Too old, or from the future.
        Stale = "stale",
        /// More bytes than any Flux event has.
        TooLarge = "too-large",
        /// The body did not arrive in time.
        TooSlow = "too-slow",
        /// Neither `/webhook` nor `/webhook/{cluster}`.
        NotFound = "not-found",
        /// Not a POST.
        Method = "method",
        /// Not JSON by its own account.
        MediaType = "media-type",
        /// Too many bodies are being read.
        Busy = "busy",
        /// The API server of this cluster cannot be reached for want of a kubeconfig that can be used.
        NoAccess = "no-access",
        /// No room in the queue of this cluster.
        QueueFull = "queue-full",
        /// The service is stopping.
        Closing = "closing",
        /// This replica does not act, and no watcher of the leader reads the namespace.
        Standby = "standby",
    }
}

impl AlertResult {
    /// Whether this answer is given only after the sender is known.
    pub fn knows_cluster(self) -> bool {
        !matches!(
            self,
            Self::Unauthorized
                | Self::Busy
                | Self::TooLarge
                | Self::TooSlow
                | Self::NotFound
                | Self::Method
                | Self::MediaType
        )
    }
}
