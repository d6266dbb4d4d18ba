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
                r"us: ?'?\x22?Failed\b|'Failed'|Failed\ncontext deadline|failed early due to stalled resources",
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
            "evicted",
            &[
                concat!(
                    r"(\b[Pp]od \S+ failed: )?(Evicted: )?The node was low on resource: ",
                    r"[\w/.-]+[^\n]*"
                ),
                r"\b[Pp]od \S+ failed: (Evicted|NodeLost|NodeShutdown|Preempted|UnexpectedAdmissionError)\b[^\n]*",
                r"Pod was terminated in response to imminent node shutdown",
            ],
            "the node ran out of something, or went away, and took the pod with it",
            "k8s.io/kubernetes:pkg/kubelet/eviction",
        )
        .exception(),
        transient(
            "killed",
            &[
                concat!(
                    r"(error while running post render[^\n]*\n?[^\n]{0,200}: )?",
                    r"(exit (code|status):? 137\b|signal: killed|[^\n:]*: cannot allocate memory)"
                ),
                r"(\b([Jj]ob|[Pp]od) \S+ )?(failed|terminated):?( with)? exit (code|status):? 137\b",
                r"(\b[Pp]od \S+ failed: )?OOMKilled",
            ],
            "a program was killed, mostly because memory ran out for a moment",
            "Go os/exec, kernel",
        )
        .exception()
        .budget(60),
        transient(
            "unschedulable-now",
            &[
                r"\d+ Insufficient [\w./-]+.*",
                concat!(
                    r"untolerated taint \{node\.(kubernetes|cloudprovider\.kubernetes)\.io/(not-ready|",
                    r"unreachable|unschedulable|uninitialized|network-unavailable|out-of-service|",
                    r"(disk|memory|pid)-pressure)\b.*"
                ),
                r"node\(s\) were unschedulable|\d+ Too many pods|no nodes available to schedule pods",
                r"(Disk|Memory|PID)Pressure",
            ],
            "no node had room; nodes come and go",
            "k8s.io/kubernetes:pkg/scheduler",
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
                r"timed out waiting for\b|time ?out waiting for(:? \[[^\]]*\]|:? [^:\[\s])",
                r"is not ready: [\w./-]+\. \d+ out of \d+ expected pods (are|have)",
                r"not ready[.,] .*status: ?'?(InProgress|Unknown|NotFound)",
                r"failed (to wait|waiting) for |termination timeout",
                r"wait(ing)? timed out",
                r"timed out (while )?waiting|resources? not ready\b.*context deadline exceeded",
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
