//! The decision table, row by row: an alert comes, and what the live release shows decides.

use helmreboot::{
    app::Options,
    config::Config,
    domain::{
        classify::Class,
        policy::{AfterRemediation, Policy},
        short_hash::short_hash,
    },
};
use serde_json::{Value, json};

use crate::support::{
    IMMUTABLE, Live, SLOW, TestApp, alerts_only, config_key, pass, seconds, state,
};

/// What a case expects: the word of the row that holds in the end, and how many patches were written.
struct Case {
    live: Live,
    why: &'static str,
    writes: usize,
}

fn case(live: Live, why: &'static str, writes: usize) -> Case {
    Case { live, why, writes }
}

/// A stalled release on which this many restarts were written, the last one two hours ago.
fn restarted(name: &str, attempts: u32) -> Live {
    restarted_as(name, state(attempts), &json!({}))
}

/// The same, with a state that differs in this.
fn restarted_as(name: &str, mut state: Value, patch: &Value) -> Live {
    json_patch::merge(&mut state, patch);
    Live::stalled(name)
        .annotated("helmreboot.io/last-restart", "2026-11-23T10:00:00Z")
        .annotated("helmreboot.io/state", &state.to_string())
}

/// A state whose last restart, for that configuration, was then.
fn last_at(key: &str, time: &str) -> Value {
    json!({"keys": [{"key": key, "base": 0, "at": seconds(time)}]})
}

fn remediated(name: &str, reason: &str) -> Live {
    Live::stalled(name)
        .condition("Remediated", "True", reason, "Helm rollback succeeded")
        .since("2026-11-23T11:00:00Z")
}

/// A webhook that was away.
const AWAY: &str = "Helm upgrade failed for release apps/web with chart web@1.0.0: Internal error occurred: failed calling webhook \"v.example\": failed to call webhook: Post \"https://v.ops.svc:443/v?timeout=10s\": context deadline exceeded";

async fn check(options: Options, cases: Vec<Case>) {
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
            "flux-retries",
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

#[tokio::test(start_paused = true)]
async fn where_infrastructure_is_to_blame_one_restart_follows_a_rollback_or_an_uninstall() {
    let hook = "Helm upgrade failed for release apps/web with chart web@1.0.0: pre-upgrade hooks failed: Post \"https://10.96.0.1:443/apis/batch/v1/namespaces/apps/jobs\": dial tcp 10.96.0.1:443: connect: connection refused";
    let wait = "Helm upgrade failed for release apps/web with chart web@1.0.0: timeout waiting for: [Deployment/apps/web status: 'InProgress']: failed calling webhook \"v.example\": connection refused";
    let again = restarted("again", 1)
        .condition("Remediated", "True", "RollbackSucceeded", "")
        .failed(AWAY);
    let cases = vec![
        case(
            remediated("rolled-back", "RollbackSucceeded").failed(AWAY),
            "reset",
            1,
        ),
        case(
            remediated("uninstalled", "UninstallSucceeded").failed(AWAY),
            "reset",
            1,
        ),
        case(
            remediated("too-soon", "RollbackSucceeded")
                .failed(AWAY)
                .since("2026-11-23T11:55:00Z"),
            "backoff",
            0,
        ),
        case(remediated("slow", "RollbackSucceeded"), "rolled-back", 0),
        case(
            remediated("hook", "RollbackSucceeded").failed(hook),
            "rolled-back",
            0,
        ),
        case(
            remediated("wait", "UninstallSucceeded").failed(wait),
            "uninstalled",
            0,
        ),
        case(again, "rolled-back", 0),
        case(
            remediated("asked", "RollbackSucceeded")
                .failed(AWAY)
                .annotated("helmreboot.io/after-rollback", "never"),
            "rolled-back",
            0,
        ),
        case(
            remediated("asked-too", "UninstallSucceeded")
                .failed(AWAY)
                .annotated("helmreboot.io/after-rollback", "never"),
            "uninstalled",
            0,
        ),
        case(
            remediated("timeless", "RollbackSucceeded")
                .failed(AWAY)
                .since("never"),
            "rolled-back",
            0,
        ),
        case(
            remediated("mad-clock", "RollbackSucceeded")
                .failed(AWAY)
                .since("3026-01-01T00:00:00Z"),
            "rolled-back",
            0,
        ),
    ];
    check(alerts_only(), cases).await;
    for (number, words) in [
        "failed pre-install: ",
        "failed post-install: ",
        "pre-upgrade hooks failed: ",
        "warning: Hook post-install web/job.yaml failed: ",
    ]
    .iter()
    .enumerate()
    {
        let cause = format!(
            "Helm install failed for release apps/web with chart web@1.0.0: {words}Post \"https://10.96.0.1:443/apis/batch/v1/namespaces/apps/jobs\": dial tcp 10.96.0.1:443: connect: connection refused"
        );
        let live = remediated(&format!("hook-{number}"), "UninstallSucceeded").failed(&cause);
        check(alerts_only(), vec![case(live, "uninstalled", 0)]).await;
    }
    let never = Policy {
        after_rollback: AfterRemediation::Never,
        after_uninstall: AfterRemediation::Never,
        ..Policy::default()
    };
    let options = Options {
        policies: never.into(),
        ..alerts_only()
    };
    let cases = vec![
        case(
            remediated("rolled-back", "RollbackSucceeded").failed(AWAY),
            "rolled-back",
            0,
        ),
        case(
            remediated("uninstalled", "UninstallSucceeded").failed(AWAY),
            "uninstalled",
            0,
        ),
    ];
    check(options, cases).await;
}

/// The pause of 10 min after the rollback ends while the release is watched.
#[tokio::test(start_paused = true)]
async fn a_rolled_back_release_is_restarted_when_the_pause_is_over_and_not_before() {
    let app = TestApp::swept();
    let live = remediated("web", "RollbackSucceeded").failed(AWAY);
    let release = app.holds(live.since("2026-11-23T12:00:00Z"));
    pass(9 * 60).await;
    assert_eq!(app.writes().len(), 0);
    pass(2 * 60).await;
    assert_eq!(app.writes().len(), 1);
    assert_eq!(app.why(&release), "token-pending");
}

#[tokio::test(start_paused = true)]
async fn a_policy_or_an_annotation_opts_in_and_then_once() {
    let asked = || {
        remediated("asked", "RollbackSucceeded").annotated("helmreboot.io/after-rollback", "true")
    };
    let again = restarted("again", 1)
        .condition("Remediated", "True", "RollbackSucceeded", "")
        .annotated("helmreboot.io/after-rollback", "true");
    check(
        alerts_only(),
        vec![case(asked(), "reset", 1), case(again, "rolled-back", 0)],
    )
    .await;

    let policy = Policy {
        after_rollback: AfterRemediation::Always,
        after_uninstall: AfterRemediation::Always,
        unknown: Class::Transient,
        ..Policy::default()
    };
    let open = Options {
        policies: policy.into(),
        ..alerts_only()
    };
    let cases = vec![
        case(remediated("rolled-back", "RollbackSucceeded"), "reset", 1),
        case(remediated("uninstalled", "UninstallSucceeded"), "reset", 1),
        case(
            Live::stalled("unheard-of").failed("the moon was in the way"),
            "reset",
            1,
        ),
        case(Live::stalled("lasting").failed(IMMUTABLE), "permanent", 0),
    ];
    check(open, cases).await;

    let closed = Policy {
        allow_after_rollback: false,
        ..Policy::default()
    };
    check(
        Options {
            policies: closed.into(),
            ..alerts_only()
        },
        vec![case(asked(), "rolled-back", 0)],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_replaced_or_going_is_left() {
    let app = TestApp::new();
    let gone = helmreboot::demo::fake_cluster::Key::new("apps", "gone");
    app.alert(&gone).await;
    let replaced = app.holds(Live::stalled("replaced"));
    let mut event = app.event("a", &replaced);
    event["involvedObject"]["uid"] = json!("of its predecessor");
    app.send("a", &event).await;
    let going = app.holds(
        Live::stalled("going").with(&json!({"metadata": {"finalizers": ["finalizers.fluxcd.io"]}})),
    );
    app.cluster("a").delete(&going);
    app.alert(&going).await;
    pass(9).await;
    assert_eq!(
        [app.why(&gone), app.why(&replaced), app.why(&going)],
        ["gone", "replaced", "deleting"]
    );
}

#[tokio::test(start_paused = true)]
async fn observing_decides_and_writes_nothing() {
    let policy = Policy {
        mode: helmreboot::domain::policy::Mode::Observe,
        ..Policy::default()
    };
    let app = TestApp::with(
        Options {
            policies: policy.into(),
            ..alerts_only()
        },
        &["a"],
    );
    let stuck = app.holds(Live::stalled("stuck"));
    let spent = app.holds(restarted("spent", 5));
    app.alert(&stuck).await;
    app.alert(&spent).await;
    pass(60).await;
    assert_eq!(
        app.metric(
            "helmreboot_decisions_total{cluster=\"a\",decision=\"restart\",reason=\"stalled\"}"
        )
        .await,
        1.0
    );
    assert_eq!(app.why(&spent), "budget-spent");
}

#[tokio::test(start_paused = true)]
async fn policies_and_annotations_say_what_may_be_done() {
    use helmreboot::domain::policy::{Match, Policies};
    let named = |name: &str, policy: Policy| Policy {
        name: name.into(),
        ..policy
    };
    let matching = |namespace: &str| Match {
        namespaces: vec![namespace.into()],
        ..Match::default()
    };
    let mut off = named("off", Policy::default());
    off.enabled = false;
    let mut forced = named("forced", Policy::default());
    forced.force = true;
    let watching = Policy {
        mode: helmreboot::domain::policy::Mode::Observe,
        ..named("watching", Policy::default())
    };
    let policies = Policies {
        listed: vec![
            (matching("off"), off),
            (matching("forced"), forced),
            (matching("watching"), watching),
        ],
        ..Policies::default()
    };
    let options = Options {
        policies,
        ..alerts_only()
    };
    let within = |namespace: &str| {
        let mut live = Live::stalled("web");
        live.key.namespace = namespace.into();
        live
    };
    let cases = vec![
        case(within("apps"), "reset", 1),
        case(within("off"), "opted-out", 0),
        case(within("forced"), "force", 1),
        case(within("watching"), "reset", 0),
        case(
            within("apps").annotated("helmreboot.io/mode", "observe"),
            "reset",
            0,
        ),
        case(
            within("apps").annotated("helmreboot.io/limit", "plenty"),
            "budget-spent",
            0,
        ),
    ];
    check(options, cases).await;
}

#[tokio::test(start_paused = true)]
async fn a_forced_restart_writes_force_at_and_no_reset_at() {
    let mut options = alerts_only();
    options.policies.base.force = true;
    let app = TestApp::with(options, &["a"]);
    let release = app.holds(Live::stalled("web"));
    app.alert(&release).await;
    pass(3).await;
    let token = app.annotation(&release, "reconcile.fluxcd.io/requestedAt");
    assert_eq!(
        app.annotation(&release, "reconcile.fluxcd.io/forceAt"),
        token
    );
    assert_eq!(
        app.annotation(&release, "reconcile.fluxcd.io/resetAt"),
        None
    );
    assert_eq!(app.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_annotation_that_cannot_be_heeded_is_said_once() {
    let app = TestApp::new();
    let release = app.holds(Live::stalled("web").annotated("helmreboot.io/limit", "plenty"));
    for _ in 0..3 {
        app.alert(&release).await;
        pass(60).await;
    }
    let (entries, _) = app.journal.since(0);
    let said: Vec<_> = entries
        .iter()
        .filter(|entry| entry.what == "ignored")
        .collect();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].reason, "helmreboot.io/limit");
    app.writes();
}

#[tokio::test(start_paused = true)]
async fn releases_that_others_have_their_hands_on() {
    let requested = "reconcile.fluxcd.io/requestedAt";
    let cases = vec![
        // The workload is elsewhere; the HelmRelease that is annotated is here.
        case(
            Live::stalled("remote")
                .with(&json!({"spec": {"kubeConfig": {"secretRef": {"name": "spoke"}}}})),
            "reset",
            1,
        ),
        // A person has just asked for something.
        case(
            Live::stalled("asked").annotated(requested, "by hand"),
            "token-pending",
            0,
        ),
        // What a person asked for is done, and did not help.
        case(
            Live::stalled("asked-in-vain")
                .annotated(requested, "by hand")
                .status(&json!({"lastHandledReconcileAt": "by hand"})),
            "reset",
            1,
        ),
        // Moved to another chart: the old budget is no longer its own.
        case(
            restarted_as(
                "moved",
                state(5),
                &last_at(
                    &config_key("0.9.0", "sha256:0123456789ab"),
                    "2026-11-23T10:00:00Z",
                ),
            ),
            "reset",
            1,
        ),
        // The spec has changed, and Flux has not come to it yet.
        case(
            Live::stalled("edited").status(&json!({"lastAttemptedGeneration": 0})),
            "not-attempted",
            0,
        ),
    ];
    check(alerts_only(), cases).await;
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_suspended_or_deleted_during_a_wait_is_left_alone() {
    for (change, why) in [
        (json!({"spec": {"suspend": true}}), "suspended"),
        (
            json!({"metadata": {"annotations": {"helmreboot.io/enabled": "false"}}}),
            "opted-out",
        ),
    ] {
        let app = TestApp::new();
        let release = app.holds(restarted_as(
            "web",
            state(1),
            &last_at(
                &config_key("1.0.0", "sha256:0123456789abcdef"),
                "2026-11-23T11:59:50Z",
            ),
        ));
        app.alert(&release).await;
        pass(9).await;
        assert_eq!(app.why(&release), "backoff");
        app.cluster("a").apply(&release, &change);
        pass(600).await;
        assert_eq!((app.why(&release), app.writes().len()), (why, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn rules_of_ones_own_say_how_to_ask_and_how_often() {
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("own-rules.yaml");
    let yaml = "rules:\n\
        - name: moody-proxy\n  pattern: the proxy is having a moment\n  action: force\n  budget: 40%\n\
        - name: patient\n  pattern: come back tomorrow\n\
        - name: immutable-field\n  class: transient\n- name: invalid-object\n  enabled: false\n";
    std::fs::write(&file, yaml).expect("a file");
    let flags = [("config", file.display().to_string())].into();
    let env = |name: &str| (name == "HELMREBOOT_TOKEN").then(|| "a key".to_owned());
    let config = Config::load(&flags, &env).expect("a configuration");
    let options = Options {
        classifier: config.classifier,
        ..alerts_only()
    };
    let moody = |name, attempts| restarted(name, attempts).failed("the proxy is having a moment");
    let patient = |name, attempts| restarted(name, attempts).failed("come back tomorrow");
    let cases = vec![
        case(moody("one", 1), "force", 1),
        case(moody("two", 2), "budget-spent", 1),
        case(patient("four", 4), "reset", 1),
        case(patient("five", 5), "budget-spent", 1),
        case(
            patient("own", 4).annotated("helmreboot.io/limit", "4"),
            "budget-spent",
            1,
        ),
        case(Live::stalled("lasting").failed(IMMUTABLE), "reset", 1),
    ];
    check(options.clone(), cases).await;
    let app = TestApp::with(options, &["a"]);
    let release = app.holds(Live::stalled("web").failed("the proxy is having a moment"));
    app.alert(&release).await;
    pass(9).await;
    assert_eq!(app.writes().len(), 1);
    let annotation = |name| app.annotation(&release, name);
    assert!(annotation("reconcile.fluxcd.io/forceAt").is_some());
    assert_eq!(annotation("reconcile.fluxcd.io/resetAt"), None);
    assert_eq!(
        annotation("helmreboot.io/cause").as_deref(),
        Some("moody-proxy")
    );
    let restarts = app
        .metric("helmreboot_restarts_by_rule_total{rule=\"moody-proxy\"}")
        .await;
    assert!((restarts - 1.0).abs() < f64::EPSILON);
}
