//! Policies, annotations and rules of users.

use helmreboot::{app::Options, config::Config, domain::policy::Policy};

use crate::support::{IMMUTABLE, Live, TestApp, alerts_only, pass};

use crate::decisions::{case, check, restarted};

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
