//! The decision table, row by row: an alert comes, and what the live release shows decides.

use helmreboot::{app::Options, domain::short_hash::short_hash};
use serde_json::{Value, json};

use crate::support::{
    IMMUTABLE, Live, SLOW, TestApp, alerts_only, config_key, pass, seconds, state,
};

/// What a case expects: the word of the row that holds in the end, and how many patches were written.
pub(crate) struct Case {
    live: Live,
    why: &'static str,
    writes: usize,
}

pub(crate) fn case(live: Live, why: &'static str, writes: usize) -> Case {
    Case { live, why, writes }
}

/// A stalled release on which this many restarts were written, the last one two hours ago.
pub(crate) fn restarted(name: &str, attempts: u32) -> Live {
    restarted_as(name, state(attempts), &json!({}))
}

/// The same, with a state that differs in this.
pub(crate) fn restarted_as(name: &str, mut state: Value, patch: &Value) -> Live {
    json_patch::merge(&mut state, patch);
    Live::stalled(name)
        .annotated("helmreboot.io/last-restart", "2026-11-23T10:00:00Z")
        .annotated("helmreboot.io/state", &state.to_string())
}

/// A state whose last restart, for that configuration, was then.
pub(crate) fn last_at(key: &str, time: &str) -> Value {
    json!({"keys": [{"key": key, "base": 0, "at": seconds(time)}]})
}

pub(crate) fn remediated(name: &str, reason: &str) -> Live {
    Live::stalled(name)
        .condition("Remediated", "True", reason, "Helm rollback succeeded")
        .since("2026-11-23T11:00:00Z")
}

/// A webhook that was away.
pub(crate) const AWAY: &str = "Helm upgrade failed for release apps/web with chart web@1.0.0: Internal error occurred: failed calling webhook \"v.example\": failed to call webhook: Post \"https://v.ops.svc:443/v?timeout=10s\": context deadline exceeded";

pub(crate) async fn check(options: Options, cases: Vec<Case>) {
    for Case { live, why, writes } in cases {
        let app = TestApp::with(options.clone(), &["a"]);
        let release = app.holds(live);
        app.alert(&release).await;
        pass(9).await;
        let written = app.writes().len();
        let (entries, _) = app.journal.since(0);
        let restart = entries
            .iter()
            .find(|entry| entry.what == "restart")
            .map(|entry| entry.reason);
        let said = restart.unwrap_or_else(|| app.why(&release));
        assert_eq!((said, written), (why, writes), "{}", release.name);
    }
}

#[tokio::test(start_paused = true)]
async fn releases_that_are_left_alone_are_not_written_to() {
    let cases = vec![
        case(
            Live::stalled("being-deleted").with(&json!({"metadata": {"finalizers": ["x"]}})),
            "reset",
            1,
        ),
        case(
            Live::stalled("suspended").with(&json!({"spec": {"suspend": true}})),
            "suspended",
            0,
        ),
        case(
            Live::stalled("opted-out").annotated("helmreboot.io/enabled", "false"),
            "opted-out",
            0,
        ),
        case(
            Live::stalled("opted-out-somehow").annotated("helmreboot.io/enabled", "perhaps"),
            "opted-out",
            0,
        ),
        case(
            Live::stalled("ready").condition("Ready", "True", "UpgradeSucceeded", ""),
            "recovered",
            0,
        ),
        case(
            Live::named("retrying")
                .failed(SLOW)
                .reconciling("ProgressingWithRetry", "retrying after 20s"),
            "flux-retries",
            0,
        ),
        case(
            Live::named("waiting").condition(
                "Ready",
                "False",
                "RetryAfterInterval",
                "Will retry after 5m0s",
            ),
            "flux-retries",
            0,
        ),
        case(
            Live::named("dependency")
                .condition(
                    "Ready",
                    "False",
                    "DependencyNotReady",
                    "dependency 'apps/x' is not ready",
                )
                .reconciling("Progressing", "Fulfilling prerequisites"),
            "prerequisites",
            0,
        ),
        case(
            Live::named("source")
                .condition("Ready", "False", "SourceNotReady", "HelmChart is not ready")
                .reconciling("Progressing", "Fulfilling prerequisites"),
            "prerequisites",
            0,
        ),
        case(
            Live::named("values")
                .condition("Ready", "False", "ValuesError", "could not resolve")
                .reconciling("Progressing", "Fulfilling prerequisites"),
            "prerequisites",
            0,
        ),
        case(
            Live::named("own-backoff")
                .failed("execution error at (a.yaml:1:1): no")
                .reconciling("Progressing", "Running 'install' action"),
            "flux-retries",
            0,
        ),
        case(
            Live::named("benign").condition(
                "Ready",
                "False",
                "DependencyNotReady",
                "dependency 'apps/x' is not ready",
            ),
            "benign",
            0,
        ),
        case(Live::stalled("lasting").failed(IMMUTABLE), "permanent", 0),
        case(
            Live::stalled("unheard-of").failed("the moon was in the way"),
            "unknown-cause",
            0,
        ),
        case(
            Live::stalled("mixed").failed(IMMUTABLE).condition(
                "Ready",
                "False",
                "UpgradeFailed",
                SLOW,
            ),
            "permanent",
            0,
        ),
        case(
            remediated("rolled-back", "RollbackSucceeded"),
            "rolled-back",
            0,
        ),
        case(
            remediated("uninstalled", "UninstallSucceeded"),
            "uninstalled",
            0,
        ),
        case(
            Live::stalled("uninstalling")
                .status(&json!({"history": [{"version": 1, "status": "uninstalling"}]})),
            "uninstalled",
            0,
        ),
    ];
    check(alerts_only(), cases).await;
}

#[tokio::test(start_paused = true)]
async fn releases_that_flux_works_on_are_waited_for() {
    let unknown = |live: Live| {
        live.condition(
            "Ready",
            "Unknown",
            "Progressing",
            "Running 'upgrade' action with timeout of 5m0s",
        )
    };
    let cases = vec![
        case(
            Live::stalled("token").annotated("reconcile.fluxcd.io/requestedAt", "somebody"),
            "token-pending",
            0,
        ),
        case(
            unknown(Live::named("running")).reconciling(
                "Progressing",
                "Running 'upgrade' action with timeout of 5m0s",
            ),
            "working",
            0,
        ),
        case(unknown(Live::named("old-flux")), "working", 0),
        case(
            Live::named("rolling-back").failed(SLOW).reconciling(
                "Progressing",
                "Running 'rollback' action with timeout of 5m0s",
            ),
            "working",
            0,
        ),
        case(
            Live::stalled("new-spec").status(&json!({"lastAttemptedGeneration": 0})),
            "not-attempted",
            0,
        ),
        case(
            Live::named("patch-on-its-way").status(
                &json!({"observedGeneration": 0, "conditions": [{"type": "Ready",
                    "status": "True", "reason": "UpgradeSucceeded", "message": ""}]}),
            ),
            "settling",
            0,
        ),
        // The alert says that it failed. Only the live object counts, and that says nothing yet.
        case(Live::named("blank").without_status(), "not-attempted", 0),
    ];
    check(alerts_only(), cases).await;
}

#[tokio::test(start_paused = true)]
async fn releases_that_are_stuck_for_a_passing_reason_are_restarted() {
    let unknown_ready = Live::stalled("swallowed").condition(
        "Ready",
        "Unknown",
        "Progressing",
        "reconciliation in progress",
    );
    let cases = vec![
        case(Live::stalled("stalled"), "reset", 1),
        case(
            Live::stalled("empty-token").annotated("reconcile.fluxcd.io/requestedAt", ""),
            "reset",
            1,
        ),
        case(unknown_ready, "reset", 1),
        case(
            Live::stalled("no-target").condition(
                "Stalled",
                "True",
                "MissingRollbackTarget",
                "Failed to perform remediation: missing target release for rollback",
            ),
            "reset",
            1,
        ),
        case(
            Live::stalled("old-number").status(&json!({"observedGeneration": 0})),
            "reset",
            1,
        ),
        case(Live::named("idle").failed(SLOW), "request", 1),
        case(
            Live::stalled("handled")
                .annotated("reconcile.fluxcd.io/requestedAt", "t")
                .status(&json!({"lastHandledReconcileAt": "t"})),
            "reset",
            1,
        ),
        case(
            Live::stalled("test")
                .condition("Released", "True", "UpgradeSucceeded", "")
                .condition("TestSuccess", "False", "TestFailed", SLOW),
            "reset",
            1,
        ),
    ];
    check(alerts_only(), cases).await;
}

#[tokio::test(start_paused = true)]
async fn budget_and_backoff_hold_a_restart_back() {
    let newer_deployed = json!({"history": [{"version": 3, "status": "deployed",
        "chartVersion": "1.0.0", "configDigest": "sha256:0123456789abcdef"}]});
    let own = config_key("1.0.0", "sha256:0123456789abcdef");
    let other = config_key("1.0.0", "sha256:ffff");
    let spent_at = |name, key: &str, time| restarted_as(name, state(5), &last_at(key, time));
    let cases = vec![
        case(restarted("one-left", 4), "reset", 1),
        // One patch: the note that it was given up.
        case(restarted("spent", 5), "budget-spent", 1),
        case(restarted("noted-already", 5).annotated("helmreboot.io/gave-up", "long ago"), "budget-spent", 0),
        case(restarted("garbage", 0).annotated("helmreboot.io/state", "few"), "budget-spent", 1),
        case(restarted_as("newer-format", state(0), &json!({"v": 2})), "budget-spent", 1),
        case(restarted("lower-limit", 2).annotated("helmreboot.io/limit", "2"), "budget-spent", 1),
        case(restarted("higher-limit", 5).annotated("helmreboot.io/limit", "50"), "budget-spent", 1),
        case(spent_at("other-values", &other, "2026-11-23T10:00:00Z"), "reset", 1),
        // The wait goes on although the configuration is another one.
        case(spent_at("other-values-at-once", &other, "2026-11-23T11:50:00Z"), "backoff", 0),
        case(restarted("healed-since", 5).status(&json!({"history": [{"version": 2, "status": "deployed",
            "chartVersion": "1.0.0", "configDigest": "sha256:0123456789abcdef"}, {"version": 3, "status": "failed"}]})), "reset", 1),
        // Helm calls a revision whose tests failed deployed; and so is what a rollback brings back.
        case(
            restarted("tests-fail", 5)
                .condition("TestSuccess", "False", "TestFailed", SLOW)
                .status(&newer_deployed),
            "budget-spent",
            1,
        ),
        case(restarted("no-state", 5).without("helmreboot.io/state"), "budget-spent", 1),
        case(spent_at("slow-lane", &own, "2026-11-23T05:00:00Z")
            .annotated("helmreboot.io/gave-up", "long ago"), "reset", 1),
        case(spent_at("slow-lane-of-none", &own, "2026-11-20T05:00:00Z")
            .annotated("helmreboot.io/gave-up", "long ago")
            .annotated("helmreboot.io/limit", "0"), "budget-spent", 0),
        case(restarted("renewed", 5).annotated("helmreboot.io/renew", "today"), "reset", 1),
        case(restarted_as("put-back-by-git", state(1), &json!({"was": short_hash("from-git")}))
            .annotated("reconcile.fluxcd.io/requestedAt", "from-git")
            .status(&json!({"lastHandledReconcileAt": "from-git"})), "contested", 0),
        case(restarted_as("too-soon", state(1), &last_at(&own, "2026-11-23T11:59:50Z")), "backoff", 0),
        case(restarted_as("mad-clock", state(1), &last_at(&own, "3026-01-01T00:00:00Z")), "reset", 1),
    ];
    check(alerts_only(), cases).await;
}
