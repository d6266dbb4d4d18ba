//! What a success changes.

use crate::domain::release::Snapshot;

use super::*;

fn snapshot(version: i64, digest: &str, status: &str) -> Snapshot {
    Snapshot {
        version,
        status: status.into(),
        chart_version: "1.0.0".into(),
        config_digest: format!("sha256:{digest}"),
        ..Snapshot::default()
    }
}

#[test]
fn a_success_starts_afresh_also_where_another_configuration_followed_it() {
    let spent = restarted(&restarted(&release(serde_json::json!({}))));
    let with = |release: &Release, snapshot| {
        let mut release = release.clone();
        release.status.history = vec![snapshot];
        release
    };
    assert_eq!(
        attempt_state(&with(&spent, snapshot(4, "abc", "deployed"))).total,
        0
    );
    assert_eq!(
        attempt_state(&with(&spent, snapshot(4, "abc", "failed"))).total,
        2
    );
    assert_eq!(
        attempt_state(&with(&spent, snapshot(4, "old", "deployed"))).total,
        2
    );
    let followed = with_digest(with(&spent, snapshot(4, "abc", "superseded")), "other");
    assert_eq!(attempt_state(&followed), AttemptState::default());
}

#[test]
fn a_success_that_flux_no_longer_lists_ends_the_shared_budget() {
    let mut failed = release(serde_json::json!({}));
    failed.status.history = vec![snapshot(2, "abc", "failed"), snapshot(1, "old", "deployed")];
    let restarted = restarted(&failed);
    let attempts = |history: &[Snapshot]| {
        let mut release = with_digest(restarted.clone(), "new");
        release.status.history = history.to_vec();
        attempt_state_with_limit(&release, 1, now()).attempts
    };
    let success = [
        snapshot(9, "new", "failed"),
        snapshot(8, "other", "deployed"),
    ];
    assert_eq!(
        attempts(&success),
        0,
        "revision 8 can only follow a success"
    );
    let rollback = [snapshot(9, "new", "failed"), snapshot(8, "old", "deployed")];
    assert_eq!(attempts(&rollback), 1, "revision 8 may be a rollback to 1");
    assert_eq!(attempts(&failed.status.history), 1, "nothing was deployed");
}
