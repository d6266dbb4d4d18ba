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
            "an object has failed permanently (kstatus)",
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
            &[concat!(
                // The sentences of the kubelet, and nothing behind them.
                r"\b[Pp]od [\w.-]+ failed: (Evicted|NodeLost|NodeShutdown|Preempted|",
                r"UnexpectedAdmissionError):?( ?The node was low on resource: [\w/.-]+\.|",
                r" ?Threshold quantity: [\w.%]+, available: [\w.%]+\.?|",
                r" ?Container [\w.-]+ was using [\w.%]+, request is [\w.%]+(, has larger ",
                r"consumption of [\w/.-]+)?\.?| ?The container could not be located when the pod ",
                r"was (terminated|deleted)\.?,?| ?Reason: \w+,?| ?Exit Code: \d+\.?)*",
                end!()
            )],
            "the node ran out of a resource or was removed, and the pod with it",
            "k8s.io/kubernetes:pkg/kubelet/eviction",
        )
        .exception(),
        transient(
            "job-killed",
            &[
                concat!(
                    r"\b([Jj]ob|[Pp]od) [\w.-]+ failed:?( with)? (exit (code|status):? 137|OOMKilled)",
                    end!()
                ),
                concat!(
                    r"error while running post render on files: error while running command [\w./-]+\. ",
                    r"error output:\s*:? ?(exit status 137|signal: killed)",
                    end!()
                ),
            ],
            "a hook's program or a post-renderer was killed, mostly because memory ran out",
            "kernel, Go os/exec",
        )
        .exception()
        .budget(60),
        transient(
            "killed",
            &[
                r"(^|[\s:(])(exit (code|status):? 137|signal: killed|[Rr]eason: OOMKilled)([\s)',;]|\.\s|\.?$)",
                concat!(r": cannot allocate memory", end!()),
            ],
            "a program was killed, in most cases because memory ran out temporarily",
            "Go os/exec, kernel",
        )
        .budget(60),
        transient(
            "unschedulable-now",
            &[
                concat!(
                    r"nodes are available: [^\x22\n]*\d+ Insufficient [\w./-]+",
                    r"(, \d+ [^\x22.,:\n{]*(\{[^}\n]*\})?)*"
                ),
                concat!(
                    r"untolerated taint \{node\.(kubernetes|cloudprovider\.kubernetes)\.io/(not-ready|",
                    r"unreachable|unschedulable|uninitialized|network-unavailable|out-of-service|",
                    r"(disk|memory|pid)-pressure)\b[^}\n]*\}(, \d+ [^\x22.,:\n{]*(\{[^}\n]*\})?)*"
                ),
                r"node\(s\) were unschedulable|\d+ Too many pods|no nodes available to schedule pods",
                r"had condition:? \[?(Disk|Memory|PID)Pressure",
            ],
            "no node had room for the pod; an autoscaler may add nodes",
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
            "a slow start: the objects were not ready in time",
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
