use jiff::Timestamp;

use super::*;
use crate::domain::release::Release;

fn release() -> Release {
    let object = serde_json::json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": "web", "namespace": "apps", "uid": "u", "resourceVersion": "7", "generation": 1,
            "annotations": {"event.toolkit.fluxcd.io/team": "shop", "other": "x"}},
        "status": {"lastAttemptedRevision": "1.2.3", "history": [
            {"version": 1, "chartVersion": "1.2.2", "appVersion": "9", "ociDigest": "sha256:aa",
             "lastDeployed": "2026-11-23T11:00:00Z"}]},
    });
    serde_json::from_value(object).expect("a release")
}

fn report(fact: Fact) -> Report {
    Report {
        release: ReleaseRef {
            cluster: "eu".into(),
            namespace: "apps".into(),
            name: "web".into(),
        },
        rule: "wait-timeout",
        meaning: "the resources were not ready in time",
        attempts: 2,
        fact,
    }
}

fn at() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().expect("a time")
}

fn left(reason: Reason, class: Class) -> Report {
    report(Fact::Left {
        reason,
        class,
        retry_at: None,
        now: at(),
        limit: 5,
        action_minutes: 5,
    })
}

#[test]
fn what_needs_a_person_is_a_warning_with_a_next_step_and_nothing_else_is() {
    for reason in Reason::ALL
        .iter()
        .filter(|reason| reason.decides() == "leave")
    {
        for class in Class::ALL {
            let report = left(*reason, *class);
            let notice = report.notice(&release(), at());
            assert_eq!(report.needs_person(), notice.is_some(), "{reason:?}");
            assert_eq!(
                report.level() == Level::Warn,
                notice.is_some(),
                "{reason:?}"
            );
            let Some(notice) = notice else { continue };
            let step = next_step(*reason, *class, "apps", "web").expect("a next step");
            assert!(notice.message.ends_with(&step), "{notice:?}");
            assert_eq!(notice.kind, EventType::Warning);
        }
    }
}

/// The Flux Web UI shows neither the reason nor the controller of an Event.
#[test]
fn every_message_names_helmreboot_and_fits_into_an_event() {
    let mut facts = vec![
        Fact::Waits {
            reason: Reason::BreakerOpen,
        },
        Fact::InvalidAnnotation {
            annotation: "helmreboot.io/limit",
            problem: "expected a number ".repeat(200),
        },
    ];
    for sends in [1, 2] {
        facts.push(Fact::Restarted {
            action: Action::Reset,
            limit: 5,
            sends,
            token: "t".into(),
        });
    }
    for outcome in RestartOutcome::ALL {
        facts.push(Fact::Ended {
            outcome: *outcome,
            token: "t".into(),
            next: None,
            now: at(),
        });
    }
    let reasons = Reason::ALL
        .iter()
        .map(|reason| left(*reason, Class::Permanent));
    let reports: Vec<_> = facts.into_iter().map(report).chain(reasons).collect();
    let notices: Vec<_> = reports
        .iter()
        .filter_map(|report| report.notice(&release(), at()))
        .collect();
    assert!(notices.len() > 12, "{notices:#?}");
    for notice in notices {
        assert!(notice.message.len() <= 1024, "{notice:?}");
        assert!(notice.message.contains("helmreboot"), "{notice:?}");
        assert!(!notice.message.contains("  "), "{notice:?}");
    }
}

#[test]
fn the_same_fact_has_the_same_id_and_another_one_has_another() {
    let restarted = |token: &str| {
        let fact = Fact::Restarted {
            action: Action::Reset,
            limit: 5,
            sends: 1,
            token: token.into(),
        };
        report(fact).notice(&release(), at()).expect("a notice")
    };
    assert_eq!(restarted("a").id, restarted("a").id);
    assert_ne!(restarted("a").id, restarted("b").id);
    let permanent = left(Reason::Permanent, Class::Permanent);
    let mut other = release();
    other.metadata.generation = Some(2);
    let ids =
        [release(), other].map(|release| permanent.notice(&release, at()).expect("a notice").id);
    assert_ne!(ids[0], ids[1], "another configuration");
}

#[test]
fn the_metadata_is_that_of_helm_controller_with_a_token_and_what_people_set() {
    let fact = Fact::Restarted {
        action: Action::Reset,
        limit: 5,
        sends: 1,
        token: "a".into(),
    };
    let notice = report(fact).notice(&release(), at()).expect("a notice");
    let metadata: Vec<_> = notice
        .metadata
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        metadata,
        [
            ("event.toolkit.fluxcd.io/team", "shop"),
            ("helm.toolkit.fluxcd.io/app-version", "9"),
            ("helm.toolkit.fluxcd.io/oci-digest", "sha256:aa"),
            ("helm.toolkit.fluxcd.io/revision", "1.2.3"),
            ("helm.toolkit.fluxcd.io/token", notice.id.as_str()),
        ]
    );
}
