//! What helm-controller says in its own name.

use super::{Family, GAVE_UP, benign, permanent, transient};

const FAILURES: &str = "fluxcd/helm-controller:internal/reconcile";
const CONTROLLER: &str = "fluxcd/helm-controller:internal/controller/helmrelease_controller.go";

pub(super) const FAMILY: Family = Family {
    name: "flux",
    about: "messages of helm-controller itself, and references to objects that do not exist",
    rules: &[
        benign(
            "drift",
            &[
                r"^Cluster state of release \S+ has (drifted|been corrected)",
                r"^[A-Z]\w+/[\w.-]+/[\w.:-]+ diff:",
            ],
            "a notice about drift; no release failed",
            FAILURES,
        ),
        benign(
            "health-check-canceled",
            &[r"^(New reconciliation triggered by|Health checks canceled due to) "],
            "Flux itself starts the next reconciliation",
            CONTROLLER,
        ),
        benign(
            "dependency",
            &[concat!(
                r"^(dependency '[^']+' is not ready|unable to get '[^']+' ",
                r"dependency|[Dd]ependencies do not meet ready condition)"
            )],
            "Flux waits for the dependency by itself",
            CONTROLLER,
        ),
        benign(
            "source-pending",
            &[
                concat!(
                    r"^([A-Z]\w+ '[^']+' is not ready: ?|Source (is )?not ready: ",
                    r"?)?(does not have an artifact|latest generation of object has not ",
                    r"been reconciled|artifact not found|[Nn]o artifact available|",
                    r"reconciliation in progress|waiting to be reconciled|building artifact)"
                ),
                r"^[A-Z]\w+( '[^']+')? (is )?not ready\.?$",
            ],
            "Flux waits for the source by itself",
            CONTROLLER,
        ),
        benign(
            "progress",
            &[concat!(
                r"^(Running '[a-z]+' action with timeout of |retrying after |",
                r"Fulfilling prerequisites|[Rr]econciliation in progress|",
                r"[Pp]rocessing object|[Rr]econciling |Will retry after |",
                r"release not installed: no release in storage for object)"
            )],
            "Flux is at work",
            CONTROLLER,
        ),
        benign(
            "succeeded",
            &[
                concat!(
                    r"^Helm ((install|upgrade|rollback|uninstall|test) (succeeded|has ",
                    r"started)|release sync succeeded)\b"
                ),
                concat!(
                    r"^Helm (rollback to previous|uninstall remediation for) release ",
                    r"\S+( with chart \S+)? succeeded$"
                ),
                r"^(Release|Helm release) reconciliation succeeded",
            ],
            "an action that went well",
            FAILURES,
        ),
        benign(
            "awaiting-tests",
            &[r"^Helm release \S+ with chart \S+ is awaiting tests"],
            "Flux runs the tests next",
            FAILURES,
        ),
        benign(
            "unlocked",
            &[r"^Unlocked Helm release "],
            "Flux removed a stale lock by itself",
            FAILURES,
        ),
        benign(
            "status-race",
            &[concat!(
                r"^(reconciliation failed: )?Operation cannot be fulfilled on ",
                r"helmreleases\.helm\.toolkit\.fluxcd\.io"
            )],
            "two clients wrote the HelmRelease at the same time; Flux retries",
            CONTROLLER,
        ),
        benign(
            "source-succeeded",
            &[concat!(
                r"^([Nn]o drift detected|[Pp]ulled '|[Pp]ackaged '|[Ss]tored |",
                r"[Ff]etched (revision|and )|[Gg]arbage collected |([Cc]reated|",
                r"[Cc]onfigured|[Dd]eleted) HelmChart|HelmChart/\S+ .*is in-sync|",
                r"[Aa]rtifact (is )?up[- ]to[- ]date|[Mm]erged values files|[Nn]ew ",
                r"generation|[Aa]pplied revision)"
            )],
            "something that went well",
            "fluxcd/source-controller:internal/controller",
        ),
        benign(
            "benign-reason",
            &[],
            "the reason says that no release failed",
            "fluxcd/helm-controller:api/v2/condition_types.go",
        )
        .reasons(&[
            "AwaitingTests",
            "ChartPackageSucceeded",
            "ChartPullSucceeded",
            "DependencyNotReady",
            "DriftCorrected",
            "DriftDetected",
            "DriftNotDetected",
            "GarbageCollectionSucceeded",
            "HealthCheckCanceled",
            "HelmChartConfigured",
            "HelmChartCreated",
            "HelmChartInSync",
            "IndexationSucceed",
            "InstallSucceeded",
            "NewArtifact",
            "Progressing",
            "ProgressingWithRetry",
            "ReconciliationSucceeded",
            "RollbackSucceeded",
            "Succeeded",
            "TestSucceeded",
            "UninstallSucceeded",
            "UpgradeSucceeded",
        ]),
        permanent(
            "values-reference",
            &[
                concat!(
                    r"^(could not resolve|could not find|missing key|unable to merge ",
                    r"value).*((key|path) not found|missing key|could not find ",
                    r"(ConfigMap|Secret) |\x22 not found)"
                ),
                r"^missing key '[^']*' in (ConfigMap|Secret) ",
                r"^unable to (merge|read) values? from key",
            ],
            "the referenced values do not exist",
            "fluxcd/pkg:chartutil/values.go",
        ),
        permanent(
            "kubeconfig",
            &[
                r"^KubeConfig secret ",
                r"(does not contain|missing) .{0,20}'?value'? (or|key)",
                r"kubeConfig\.(secretRef|configMapRef)|invalid configuration: ",
                r"no configuration has been provided|auth plugin has been removed|[Nn]o Auth Provider|No valid id-token",
                r"unreachable: unable to load root cert",
                r"no (context chosen|user on context|server (found|defined))",
                r"context \x22[^\x22]*\x22 does not exist",
                r"exec plugin(:|'| is| returned| didn| cannot)",
                r"http://localhost:8080/\S* dial tcp|dial tcp (127\.0\.0\.1|\[::1\]):8080: connect: connection refused",
                r"exec plugins? (is|are) (not allowed|disallowed)",
                r"exec: executable \S+ not found|executable file not found",
                r"getting credentials: exec: ",
            ],
            "the kubeconfig of the release does not work",
            "fluxcd/pkg:runtime/client, client-go:plugin/pkg/client/auth/exec",
        ),
        permanent(
            "cross-namespace",
            &[
                r"^cross-namespace references are not allowed",
                r"can't access '[^']*', cross-namespace references",
            ],
            "Flux is configured not to follow such references",
            "fluxcd/helm-controller:internal/acl",
        ),
        permanent(
            "terminal-configuration",
            &[r"^Reconciliation failed terminally|^terminal error: |CEL expression"],
            "Flux itself calls it final",
            CONTROLLER,
        ),
        permanent(
            "terminal-reason",
            &[],
            "Flux itself calls it final",
            CONTROLLER,
        )
        .reasons(&["InvalidCELExpression", "AccessDenied"]),
        permanent(
            GAVE_UP,
            &[
                r"retries exhausted|exceeded maximum retries",
                r"^Failed to [a-z]+ after \d+ attempt",
                r"previous release attempt remediation failed",
                r"\d+ errors? occurred:(\.\.\.)?\s*$",
                r"failed to delete release: [\w.-]+$",
                r"hooks? failed:?(\.\.\.)?\s*$",
            ],
            "says that something failed, and not why",
            CONTROLLER,
        ),
        permanent(
            "rollback-target-missing",
            &[r"missing target release for rollback"],
            "there is no revision to go back to",
            FAILURES,
        ),
        transient(
            "artifact-gone",
            &[
                concat!(
                    r"(artifact|chart) from '?https?://source-controller\.\S+ ?\(?,? ",
                    r"?\(?status( code)?: 404 Not Found\)?"
                ),
                r"open /data/\S+: no such file or directory",
            ],
            "the artifact was replaced while Flux downloaded it",
            "fluxcd/helm-controller:internal/loader",
        )
        .infrastructure()
        .exception(),
        transient(
            "artifact-race",
            &[
                r"computed (digest|checksum) doesn't match|mismatched digest",
                r"does not match requested digest|mismatch Content-Length",
                r"(integrity failure|digest mismatch|checksum mismatch)\b",
            ],
            "the artifact was replaced while it was read",
            "fluxcd/helm-controller:internal/loader",
        )
        .infrastructure()
        .budget(60),
        transient(
            "canceled",
            &[
                r"context cancell?ed|leader election lost|operation was canceled",
                r"Memory usage is near OOM",
                r"failed to acquire lock for artifact",
            ],
            "the controller was stopped in the middle",
            "Go context",
        ),
        transient(
            "state-race",
            &[
                r"release (disappeared from|not updated in Helm) storage",
                r"no latest release",
                r"release mismatch: |release with status 'pending|must requeue",
                r"atomic release canceled|has no artifact",
                r"latest observed generation is|retry after interval",
            ],
            "the release record of Helm changed while Flux read it",
            FAILURES,
        ),
        transient(
            "download-failed",
            &[
                r"failed to download (chart from '[^']*'|artifact|archive)",
                r"artifact '[^']*' download failed|garbage collection (of|for)",
            ],
            "source-controller did not serve the artifact, and the message contains no cause",
            "fluxcd/helm-controller:internal/loader",
        )
        .infrastructure()
        .fallback(),
    ],
};
