//! Waits for objects, hooks and tests.

use super::{Family, permanent, transient};

const WAIT: &str = "fluxcd/pkg:ssa/manager_wait.go, fluxcd/cli-utils:pkg/kstatus";
const HOOKS: &str = "helm/helm:pkg/action/hooks.go, pkg/kube";

pub(super) const FAMILY: Family = Family {
    name: "waiting",
    about: "waits for objects, hooks and tests",
    rules: &[
        permanent(
            "failed-object",
            &[
                r"status: ?'?\x22?Failed\b|failed early due to stalled resources",
                r"ProgressDeadlineExceeded|[Ee]xceeded its progress deadline",
                r"Progress deadline exceeded",
            ],
            "an object says that it failed for good (kstatus)",
            WAIT,
        ),
        permanent(
            "hook-job-failed",
            &[
                r"BackoffLimitExceeded|reached the specified backoff limit",
                r"PodFailurePolicy|FailedIndexes",
                r"\b[Jj]ob \S+ failed($|[\s,;]|:\s*($|\n))|\b[Pp]od \S+ failed\b",
                r"failed with exit code",
                r"non-zero (exit|code)",
            ],
            "a hook's job or a test's pod failed by itself",
            HOOKS,
        ),
        transient(
            "job-deadline",
            &[
                r"failed: DeadlineExceeded",
                r"Job was active longer than specified deadline",
            ],
            "a hook's job was cut off by its deadline",
            HOOKS,
        )
        .budget(60),
        transient(
            "hook-race",
            &[concat!(
                r"Hook \S+ \S+ failed: (\d+ errors? occurred:\s+\* )?secrets ",
                r#""[^"]*" already exists"#
            )],
            "hooks of two runs met; a plain retry passes",
            HOOKS,
        )
        .budget(60),
        transient(
            "wait-timeout",
            &[
                r"time( ?out|d out) waiting for\b",
                r"is not ready: [\w./-]+\. \d+ out of \d+ expected pods (are|have)",
                r"not ready[.,] .*status: ?'?(InProgress|Unknown|NotFound)",
                r"failed (to wait|waiting) for |termination timeout",
                r"wait(ing)? timed out",
                r"timed out (while )?waiting|resources? not ready",
                r"can't determine status for ",
            ],
            "a slow start: the objects were still on their way",
            WAIT,
        ),
        transient(
            "rate-limiter",
            &[r"rate limiter Wait returned an error|would exceed context deadline"],
            "the client held itself back until time was up",
            "client-go:util/flowcontrol, golang.org/x/time/rate",
        ),
    ],
};
