use serde_json::json;

use super::*;

fn annotated(key: &str, value: &str) -> Release {
    serde_json::from_value(
        json!({"metadata": {"namespace": "apps", "annotations": {key: value},
        "labels": {"tier": "data"}}}),
    )
    .expect("a release")
}

fn with(policy: Policy, key: &str, value: &str) -> (Policy, Vec<InvalidAnnotation>) {
    Policies::from(policy).for_release("a", &annotated(key, value))
}

#[test]
fn waits_double_up_to_the_longest_and_never_come_early() {
    let backoff = Policy::default().backoff;
    let last = Timestamp::UNIX_EPOCH;
    for (attempts, least) in [
        (1, 60),
        (2, 120),
        (3, 240),
        (6, 1920),
        (7, 3600),
        (40, 3600),
        (u32::MAX, 3600),
    ] {
        let until = backoff.until(attempts, last, "token").as_second();
        assert!(
            (least..=least + least / 10).contains(&until),
            "{attempts}: {until}"
        );
    }
}

#[test]
fn jitter_differs_by_token_and_stays_within_its_share() {
    let backoff = Policy::default().backoff;
    let waits: std::collections::BTreeSet<_> = (0..50)
        .map(|n| {
            backoff
                .until(7, Timestamp::UNIX_EPOCH, &n.to_string())
                .as_millisecond()
        })
        .collect();
    assert!(waits.len() > 40);
    assert!(
        waits
            .iter()
            .all(|wait| (3_600_000..=3_960_000).contains(wait))
    );
}

#[test]
fn annotations_narrow_and_what_cannot_be_valid_is_said() {
    for (key, value, valid, narrowed) in [
        (LIMIT, "2", true, true),
        (LIMIT, " 2 ", true, true),
        (LIMIT, "0", true, true),
        (LIMIT, "5", true, false),
        (LIMIT, "50", false, false),
        (LIMIT, "-1", false, true),
        (LIMIT, "many", false, true),
        (LIMIT, "", false, true),
        (ENABLED, "false", true, true),
        (ENABLED, "False", true, true),
        (ENABLED, "true", true, false),
        (ENABLED, "TRUE", true, false),
        (ENABLED, "yes", true, false),
        (ENABLED, "no", true, true),
        (ENABLED, "off", true, true),
        (ENABLED, "0", true, true),
        (ENABLED, "Disabled", true, true),
        (ENABLED, "nope", false, true),
        (ENABLED, "", false, true),
        (MODE, "observe", true, true),
        (MODE, "Observe", true, true),
        (MODE, "act", true, false),
        (MODE, "ACT", true, false),
        (MODE, "dry-run", false, true),
        (MODE, "off", false, true),
        (MODE, "nope", false, true),
        (RENEW, "monday", true, false),
        (RENEW, " ", false, false),
        (AFTER_ROLLBACK, "false", true, true),
        (AFTER_ROLLBACK, "perhaps", false, true),
    ] {
        let (policy, invalid) = with(Policy::default(), key, value);
        assert_eq!(invalid.is_empty(), valid, "{key}: {value:?}: {invalid:?}");
        assert_eq!(policy != Policy::default(), narrowed, "{key}: {value:?}");
    }
}

#[test]
fn annotations_widen_only_as_far_as_allowed() {
    let strict = Policy {
        allow_after_rollback: false,
        ..Policy::default()
    };
    let after = |policy: Policy, value| {
        let (policy, invalid) = with(policy, AFTER_ROLLBACK, value);
        (policy.after_rollback, invalid.len())
    };
    use AfterRemediation::{Always, Infrastructure, Never};
    assert_eq!(after(Policy::default(), "true"), (Always, 0));
    assert_eq!(after(strict.clone(), "always"), (Infrastructure, 1));
    assert_eq!(after(strict.clone(), "infrastructure"), (Infrastructure, 0));
    assert_eq!(after(strict.clone(), "never"), (Never, 0));
    assert_eq!(with(strict.clone(), LIMIT, "3").0.limit, 3);
    let (policy, invalid) = with(strict.clone(), LIMIT, "9");
    assert_eq!((policy.limit, invalid.len()), (5, 1));
    let open = Policy {
        after_rollback: Always,
        ..strict
    };
    for narrow in ["false", "no", "perhaps"] {
        assert_eq!(after(open.clone(), narrow).0, Never, "{narrow}");
    }
    let (policy, _) = with(Policy::default(), LIMIT, "abc");
    assert_eq!(policy.limit, 0, "what cannot be read counts as 0");
}

#[test]
fn the_first_policy_that_matches_counts() {
    let policy = |name: &str, limit| Policy {
        name: name.into(),
        limit,
        ..Policy::default()
    };
    let wanted = |clusters: &[&str], namespaces: &[&str], labels: &[(&str, &str)]| Match {
        clusters: clusters.iter().map(|name| (*name).into()).collect(),
        namespaces: namespaces.iter().map(|name| (*name).into()).collect(),
        labels: labels
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
    };
    let release = annotated("x", "y");
    for (matching, expected) in [
        (wanted(&[], &[], &[]), 1),
        (wanted(&["a"], &["apps"], &[("tier", "data")]), 1),
        (wanted(&["b", "a*"], &["ap*"], &[]), 1),
        (wanted(&["b"], &[], &[]), 2),
        (wanted(&[], &["app"], &[]), 2),
        (wanted(&[], &[], &[("tier", "web")]), 2),
        (wanted(&[], &[], &[("other", "data")]), 2),
    ] {
        let policies = Policies {
            listed: vec![
                (matching.clone(), policy("first", 1)),
                (Match::default(), policy("second", 2)),
            ],
            ..Policies::default()
        };
        let (found, _) = policies.for_release("a", &release);
        assert_eq!(found.limit, expected, "{matching:?}");
    }
}

#[test]
fn observing_as_a_whole_or_by_cluster_outranks_every_policy() {
    let act = (Match::default(), Policy::default());
    let observing = Policies {
        base: Policy {
            mode: Mode::Observe,
            ..Policy::default()
        },
        listed: vec![act.clone()],
        ..Policies::default()
    };
    let one = Policies {
        listed: vec![act],
        observed: vec!["a".into()],
        ..Policies::default()
    };
    let mode = |policies: &Policies, cluster| {
        policies
            .for_release(cluster, &annotated(MODE, "act"))
            .0
            .mode
    };
    assert_eq!(mode(&observing, "a"), Mode::Observe);
    assert_eq!(mode(&one, "a"), Mode::Observe);
    assert_eq!(mode(&one, "b"), Mode::Act);
}

#[test]
fn a_rule_s_share_lowers_the_limit() {
    for (limit, share, expected) in [
        (5, 100, 5),
        (5, 60, 3),
        (5, 1, 1),
        (1, 60, 1),
        (5, 0, 0),
        (0, 100, 0),
        (u32::MAX, 100, u32::MAX),
    ] {
        let policy = Policy {
            limit,
            ..Policy::default()
        };
        assert_eq!(policy.limit_for(share), expected, "{limit} {share}");
    }
}
