//! What a person with a pager reads: a thousand releases are stuck, the API server goes away, the process is restarted.

use std::collections::BTreeSet;

use helmreboot::{
    app::Options,
    demo::{
        fake_cluster::{Fault, FaultKind, Key},
        fake_flux::FakeFlux,
    },
};
use serde_json::json;

use crate::{
    log::Log,
    support::{TestApp, pass, ready},
};

/// Two of these last; the others pass once the release is healed.
const MODES: [&str; 5] = ["slow", "webhook", "refused", "immutable", "badname"];

/// So many lines are two screens.
const TWO_SCREENS: usize = 80;

/// Releases that Flux gives up at once, the same number for each cause.
fn stuck_releases(app: &TestApp, flux: &FakeFlux, many: usize) -> Vec<Key> {
    let releases = (0..many).map(|number| {
        let mode = MODES[number % MODES.len()];
        let release = Key::new("apps", &format!("{mode}-{number:04}"));
        flux.ail(&release);
        let spec = json!({"timeout": "30s", "values": {"mode": mode}});
        app.cluster("a").apply(&release, &json!({"spec": spec}));
        release
    });
    releases.collect()
}

fn lasts(release: &Key) -> bool {
    MODES[3..].iter().any(|mode| release.name.starts_with(mode))
}

#[tokio::test(start_paused = true)]
async fn a_thousand_stuck_releases_an_outage_and_a_restart_fit_on_two_screens() {
    let log = Log::capture();
    let app = TestApp::swept();
    let flux = app.flux(false);
    let running = tokio::spawn(flux.clone().run());
    let releases = stuck_releases(&app, &flux, 1000);
    pass(20 * 60).await;
    let down = Fault {
        verb: None,
        times: u32::MAX,
        kind: FaultKind::Refuse(503),
    };
    app.cluster("a").fault(down);
    app.cluster("a").cut_watches();
    pass(4 * 60).await;
    app.cluster("a").no_faults();
    pass(10 * 60).await;
    let (clusters, clock) = app.kill();
    let app = TestApp::around(Options::default(), clusters, clock);
    pass(10 * 60).await;
    releases
        .iter()
        .for_each(|release| flux.remove_cause(release));
    pass(3 * 3600).await;

    let healed = |release: &&Key| ready(&app.cluster("a").get(release).expect("the release"));
    let (lasting, passing): (Vec<_>, Vec<_>) = releases.iter().partition(|release| lasts(release));
    assert_eq!(
        passing.iter().filter(|release| healed(release)).count(),
        600
    );
    assert_eq!(lasting.iter().filter(|release| healed(release)).count(), 0);
    drop(app.writes());
    let lines = log.lines();
    assert!(
        lines.len() <= TWO_SCREENS,
        "{} lines: {lines:#?}",
        lines.len()
    );
    let count = |parts: &[&str]| log.with(parts).len();
    // A release that is being restarted at that moment is not failing.
    let permanent = "400 permanent (immutable-field 200, invalid-object 200)";
    let first = log.with(&[
        "INFO",
        "first list of cluster a: ",
        " HelmReleases fail: ",
        permanent,
    ]);
    let failing = |line: &String| {
        let number = line.split("first list of cluster a: ").nth(1)?;
        number.split(' ').next()?.parse::<usize>().ok()
    };
    let second: Vec<_> = first
        .iter()
        .filter_map(failing)
        .filter(|many| *many > 0)
        .collect();
    assert!(
        matches!(second[..], [many] if (980..=1000).contains(&many)),
        "the second start: {second:?}"
    );
    for cause in [
        "connection (host 10.96.0.1)",
        "wait-timeout (kind Widget)",
        "webhook-unreachable (webhook slow.demo.test)",
    ] {
        let breaker = format!("the breaker for {cause} of cluster a is");
        assert!(count(&["WARN", &breaker, "open"]) >= 1, "{cause}");
        assert!(
            count(&["INFO", &breaker, "closed", "restarted releases recovered"]) >= 1,
            "{cause}"
        );
        assert!(
            count(&["summary of cluster a", "delayed restarts", cause]) >= 1,
            "{cause}"
        );
    }
    for rule in ["immutable-field", "invalid-object"] {
        assert!(
            count(&["WARN", "not restarting a/", ": permanent", rule]) >= 1,
            "{rule}"
        );
    }
    let limited = count(&["WARN", "at its limit of 30 restarts per minute"]);
    assert!(limited >= 1);
    assert_eq!(count(&["INFO", "waits for a limit any more"]), limited);
    for summary in log.with(&["summary of cluster a"]) {
        let number = |before: &str| {
            let number = summary
                .split_once(before)?
                .1
                .split(|c: char| !c.is_ascii_digit())
                .next()?;
            number.parse::<usize>().ok()
        };
        let held = number("delayed restarts: ").unwrap_or_default();
        assert!(held <= 600, "no release is counted twice: {summary}");
    }
    assert_eq!(count(&["WARN", "cluster a is not available"]), 1);
    assert_eq!(
        count(&["INFO", "cluster a is available again, after 4 min"]),
        1
    );
    assert_eq!(count(&["is ready, nothing to do"]), 0);
    let gave_up = log.with(&["gave up on"]);
    let names: BTreeSet<_> = gave_up
        .iter()
        .filter_map(|line| line.split("gave up on ").nth(1)?.split(':').next())
        .collect();
    assert_eq!(names.len(), gave_up.len(), "told once: {gave_up:#?}");
    let failed_again = log.with(&["failed again after its restart"]);
    assert!(
        failed_again
            .iter()
            .all(|line| line.contains("the next attempt is not before")),
        "{failed_again:#?}"
    );
    let last = log
        .with(&["summary of cluster a"])
        .pop()
        .expect("a summary");
    assert!(
        last.contains("400 HelmReleases fail: 400 permanent")
            && last.contains("no restart is delayed"),
        "{last}"
    );
    running.abort();
}
