//! Two replicas with one Lease: one acts, and the other takes over.

use std::{net::SocketAddr, time::Duration};

use helmreboot::{
    app::Options,
    clock::Clock,
    config::SweepMode,
    demo::fake_cluster::{FakeCluster, FaultKind, Key},
    domain::limits::{LimitConfig, Rate},
    kubernetes::{Connection, lease::Lease},
};
use jiff::SignedDuration;
use serde_json::json;

use crate::{
    live::{self, Live},
    support::{NOW, TestApp, fault, pass},
};

/// The address at which the page of a replica would be.
fn page_of(identity: &str) -> SocketAddr {
    let last = if identity == "first" { 1 } else { 2 };
    SocketAddr::from(([10, 0, 0, last], 8082))
}

const OUTCOMES: &str = "helmreboot_restart_outcomes_total{cluster=\"a\"";

/// Replicas of one installation, and the cluster that they serve and that keeps their Lease.
pub(crate) struct Installation {
    pub(crate) cluster: FakeCluster,
    clock: Clock,
    options: Options,
}

impl Installation {
    pub(crate) fn new(options: Options) -> Self {
        let clock = Clock::with_tokio(NOW.parse().expect("a time"));
        Self {
            cluster: FakeCluster::new(clock.clone()),
            clock,
            options,
        }
    }

    fn replica(&self, identity: &str, ahead: SignedDuration) -> TestApp {
        let time = self.clock.clone();
        let clock = Clock::new(move || time.now() + ahead);
        let connection = Connection::to(self.cluster.client());
        let options = Options {
            lease: Some(
                Lease::new(connection, identity.into(), clock.clone())
                    .with_page(Some(page_of(identity))),
            ),
            ..self.options.clone()
        };
        let clusters = [("a".to_owned(), self.cluster.clone())];
        TestApp::around(options, clusters.into(), clock)
    }

    /// Two replicas, of which the first leads.
    pub(crate) async fn two(&self) -> (TestApp, TestApp) {
        let first = self.replica("first", SignedDuration::ZERO);
        pass(1).await;
        let second = self.replica("second", SignedDuration::ZERO);
        pass(1).await;
        assert_eq!(self.holder(), "first");
        assert_eq!((leader(&first).await, leader(&second).await), (1.0, 0.0));
        (first, second)
    }

    fn holder(&self) -> String {
        self.cluster.lease_holder(&lease())
    }

    /// Puts a stalled release into the cluster.
    fn holds(&self, name: &str) -> Key {
        let live = Live::stalled(name);
        live.put(&self.cluster);
        live.key
    }

    /// The names of the releases that were restarted, in order.
    fn restarted(&self) -> Vec<String> {
        let calls = self.cluster.calls().into_iter();
        let patches = calls.filter(|call| call.verb == "patch");
        let mut names: Vec<_> = patches
            .filter_map(|call| {
                let path = call.uri.split('?').next().unwrap_or_default().to_owned();
                path.rsplit('/').next().map(str::to_owned)
            })
            .collect();
        names.sort();
        names
    }
}

fn lease() -> Key {
    Key::new("default", "helmreboot")
}

async fn leader(replica: &TestApp) -> f64 {
    replica.metric("helmreboot_leader").await
}

fn look(replicas: &[&TestApp]) {
    for replica in replicas {
        replica.writes();
    }
}

#[tokio::test(start_paused = true)]
async fn the_leader_restarts_what_a_standby_was_told_of_and_nothing_twice() {
    let installation = Installation::new(Options::default());
    let (first, second) = installation.two().await;
    let (web, api) = (installation.holds("web"), installation.holds("api"));
    for (replica, release) in [(&first, &web), (&second, &web), (&second, &api)] {
        let answer = replica.alert(release).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    pass(60).await;
    assert_eq!(installation.restarted(), ["api", "web"]);
    let restarts = "helmreboot_restarts_total{cluster=\"a\"";
    assert_eq!(first.metric(restarts).await, 2.0);
    assert_eq!(second.metric(restarts).await, 0.0);
    look(&[&first, &second]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_holds_for_all_replicas_together() {
    let limits = LimitConfig {
        rate: Rate {
            per_minute: 1,
            burst: 2,
        },
        threshold: 100,
        ..LimitConfig::default()
    };
    let installation = Installation::new(Options {
        limits,
        ..Options::default()
    });
    let (first, second) = installation.two().await;
    for number in 0..6 {
        let release = installation.holds(&format!("web-{number}"));
        let replica = if number % 2 == 0 { &first } else { &second };
        replica.alert(&release).await;
    }
    pass(30).await;
    assert_eq!(installation.restarted().len(), 2);
    look(&[&first, &second]);
}

#[tokio::test(start_paused = true)]
async fn a_standby_leads_30_s_after_the_death_of_the_leader_and_works_off_what_it_was_told() {
    let installation = Installation::new(Options::default());
    let (first, second) = installation.two().await;
    first.kill();
    let told = installation.holds("told");
    let untold = installation.holds("untold");
    second.alert(&told).await;
    pass(24).await;
    assert_eq!(installation.restarted(), [""; 0]);
    pass(10).await;
    assert_eq!(
        (installation.holder(), leader(&second).await),
        ("second".into(), 1.0)
    );
    pass(30).await;
    assert_eq!(installation.restarted(), [told.name, untold.name]);
    look(&[&second]);
}

/// While lists fail, the alerts that a standby accepted are all that a new leader has.
#[tokio::test(start_paused = true)]
async fn what_a_standby_accepted_is_restarted_although_lists_fail() {
    let installation = Installation::new(Options::default());
    let (first, second) = installation.two().await;
    first.kill();
    let lists_fail = fault("list", u32::MAX, FaultKind::Refuse(503));
    installation.cluster.fault(lists_fail);
    let told = installation.holds("told");
    installation.holds("untold");
    second.alert(&told).await;
    pass(60).await;
    assert_eq!(installation.restarted(), [told.name]);
    look(&[&second]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_ends_hands_over_within_2_s() {
    let installation = Installation::new(Options::default());
    let (first, second) = installation.two().await;
    first.leads.finish().await;
    first.resign.send_replace(true);
    tokio::time::sleep(Duration::from_millis(1900)).await;
    assert_eq!(
        (installation.holder(), leader(&second).await),
        ("second".into(), 1.0)
    );
    let release = installation.holds("web");
    first.alert(&release).await;
    pass(30).await;
    assert_eq!(installation.restarted(), ["web"]);
    look(&[&first, &second]);
}

/// Clocks of machines differ, and a holder may have died with a time in its Lease that lies ahead.
#[tokio::test(start_paused = true)]
async fn a_dead_holder_is_replaced_whatever_its_clock_was() {
    for ahead in [
        SignedDuration::from_hours(1),
        -SignedDuration::from_hours(1),
    ] {
        let installation = Installation::new(Options::default());
        let time = format!("{:.6}", installation.clock.now() + ahead);
        let spec = json!({"holderIdentity": "dead", "leaseDurationSeconds": 30, "renewTime": time, "acquireTime": time});
        installation.cluster.write_lease(&lease(), &spec);
        let replica = installation.replica("first", ahead);
        pass(28).await;
        assert_eq!(
            (installation.holder(), leader(&replica).await),
            ("dead".into(), 0.0)
        );
        pass(4).await;
        assert_eq!(
            (installation.holder(), leader(&replica).await),
            ("first".into(), 1.0)
        );
        look(&[&replica]);
    }
}

#[tokio::test(start_paused = true)]
async fn without_rights_on_leases_each_replica_acts_and_with_them_one_again() {
    let installation = Installation::new(Options::default());
    let (first, second) = installation.two().await;
    installation.cluster.grant_leases(Some(vec!["get"]));
    pass(14).await;
    assert_eq!((leader(&first).await, leader(&second).await), (1.0, 0.0));
    pass(50).await;
    assert_eq!((leader(&first).await, leader(&second).await), (1.0, 1.0));
    let release = installation.holds("web");
    pass(30).await;
    assert_eq!(installation.restarted().first(), Some(&release.name));
    installation.cluster.grant_leases(None);
    pass(10).await;
    assert_eq!(leader(&first).await + leader(&second).await, 1.0);
    look(&[&first, &second]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_lost_the_lease_acts_no_longer() {
    let installation = Installation::new(Options::default());
    let (first, second) = installation.two().await;
    let spec = json!({"holderIdentity": "third", "leaseDurationSeconds": 30});
    installation.cluster.write_lease(&lease(), &spec);
    pass(6).await;
    assert_eq!((leader(&first).await, leader(&second).await), (0.0, 0.0));
    let release = installation.holds("web");
    first.alert(&release).await;
    pass(10).await;
    assert_eq!(installation.restarted(), [""; 0]);
    assert_eq!(
        first
            .metric("helmreboot_failing_releases{cluster=\"a\"")
            .await,
        0.0
    );
    pass(30).await;
    assert_eq!(
        installation.restarted(),
        ["web"],
        "the third has not renewed it"
    );
    look(&[&first, &second]);
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_every_alert_and_keeps_the_newest() {
    let installation = Installation::new(Options {
        queue_capacity: 2,
        sweep: SweepMode::Every(Duration::from_secs(3600)),
        ..Options::default()
    });
    let (first, second) = installation.two().await;
    pass(60).await;
    let releases = ["a", "b", "c", "d"].map(|name| installation.holds(name));
    for release in &releases {
        assert_eq!(second.alert(release).await.status, 202);
    }
    let queued = "helmreboot_queue_items{cluster=\"a\"";
    assert_eq!(second.metric(queued).await, 2.0);
    // Alerts that are too old are forgotten.
    pass(16 * 60).await;
    second.alert(&releases[3]).await;
    assert_eq!(second.metric(queued).await, 1.0);
    look(&[&first, &second]);
}

#[tokio::test(start_paused = true)]
async fn a_standby_refuses_what_no_watcher_of_the_leader_reads() {
    let app = TestApp::swept_in(
        Options::default(),
        &["get", "list", "watch", "patch"],
        &["one"],
    );
    app.leads.set(false);
    for (namespace, status) in [("one", 202), ("two", 503)] {
        let answer = app.alert(&Key::new(namespace, "web")).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    app.leads.set(true);
    assert_eq!(app.alert(&Key::new("two", "web")).await.status, 202);
}

/// Without the Lease, both replicas see the end of each restart.
#[tokio::test(start_paused = true)]
async fn of_two_replicas_that_act_one_counts_the_outcome() {
    let installation = Installation::new(Options::default());
    let (first, second) = installation.two().await;
    installation.cluster.grant_leases(Some(vec![]));
    pass(70).await;
    assert_eq!(leader(&first).await + leader(&second).await, 2.0);
    let release = installation.holds("web");
    pass(30).await;
    live::recovers(&installation.cluster, &release);
    pass(60).await;
    assert_eq!(
        first.metric(OUTCOMES).await + second.metric(OUTCOMES).await,
        1.0
    );
    look(&[&first, &second]);
}

/// Flux works on the restart when the leader dies: the release does not fail, and no alert and no list names it.
#[tokio::test(start_paused = true)]
async fn a_new_leader_reports_the_outcome_of_a_restart_that_the_old_one_wrote() {
    let installation = Installation::new(Options::default());
    let (first, second) = installation.two().await;
    let release = installation.holds("web");
    first.alert(&release).await;
    pass(10).await;
    assert_eq!(installation.restarted(), ["web"]);
    live::works_on(&installation.cluster, &release);
    first.kill();
    pass(40).await;
    let in_flight = "helmreboot_restarts_in_flight{cluster=\"a\"";
    assert_eq!(
        (leader(&second).await, second.metric(in_flight).await),
        (1.0, 1.0)
    );
    live::recovers(&installation.cluster, &release);
    pass(60).await;
    let recovered = "helmreboot_restart_outcomes_total{cluster=\"a\",outcome=\"recovered\"";
    assert_eq!(
        (
            second.metric(recovered).await,
            second.metric(in_flight).await
        ),
        (1.0, 0.0)
    );
    look(&[&second]);
}
