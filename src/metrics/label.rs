//! The values of labels.

use crate::domain::string_enum;

string_enum! {
    /// A call to an API server.
    Verb {
        /// Which versions of HelmRelease are served.
        Discover = "discover",
        /// One release.
        Get = "get",
        /// A page of all releases.
        List = "list",
        /// What becomes of all releases.
        Watch = "watch",
        /// Annotations on one release.
        Patch = "patch",
        /// An Event on one release.
        Create = "create",
    }
}

string_enum! {
    /// How a call to an API server came out.
    CallResult {
        /// As asked.
        Ok = "ok",
        /// No such object.
        Gone = "gone",
        /// The object was changed in between.
        Conflict = "conflict",
        /// No rights.
        Forbidden = "forbidden",
        /// Credentials not accepted.
        Unauthorized = "unauthorized",
        /// Refused for what it holds.
        Rejected = "rejected",
        /// No such API.
        Unsupported = "unsupported",
        /// An answer that makes no sense.
        Unreadable = "unreadable",
        /// Too busy.
        Throttled = "throttled",
        /// No answer, a late one, or a server error.
        Unavailable = "unavailable",
    }
}

impl CallResult {
    /// What an answer that is no success means.
    pub fn of(code: u16) -> Self {
        match code {
            404 => Self::Gone,
            409 => Self::Conflict,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            429 => Self::Throttled,
            300..=399 => Self::Unreadable,
            408 | 410 => Self::Unavailable,
            400..=499 => Self::Rejected,
            _ => Self::Unavailable,
        }
    }
}

string_enum! {
    /// The result of one reconcile, with the names of controller-runtime.
    Reconciled {
        /// Nothing left to do.
        Success = "success",
        /// To be reconciled again.
        RequeueAfter = "requeue_after",
        /// The API server did not play along.
        Error = "error",
    }
}

string_enum! {
    /// When the watcher found a failure that no alert had named.
    Found {
        /// In its first list: the alert may have gone to an earlier process.
        AtStart = "start",
        /// Later: an alert is missing.
        Later = "later",
    }
}

string_enum! {
    /// Where events about releases are delivered.
    Destination {
        /// The API server: Kubernetes Events.
        Kubernetes = "kubernetes",
        /// notification-controller: Flux events.
        Flux = "flux",
    }
}

string_enum! {
    /// What panicked.
    Part {
        /// The reconcile of one release.
        Reconcile = "reconcile",
        /// The watcher of one cluster, or one object that it saw.
        Watcher = "watcher",
        /// One request at the webhook.
        Webhook = "webhook",
        /// The work queue of one cluster.
        Queue = "queue",
        /// Credentials, keys, certificates and other files that are read again and again.
        Background = "background",
    }
}
