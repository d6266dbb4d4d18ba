//! Releases that Flux rolled back or uninstalled.

use helmreboot::{
    app::Options,
    domain::{
        classify::Class,
        policy::{AfterRemediation, Policy},
    },
};

use crate::support::{IMMUTABLE, Live, TestApp, alerts_only, pass};

use crate::decisions::{AWAY, case, check, remediated, restarted};

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
