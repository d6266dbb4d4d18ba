//! Two processes against one embedded API server, and alerts through both: one ends or is killed, and the other one takes
//! over. In real time. `HELMREBOOT_TEST_HANDOVERS` repeats each case.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use helmreboot::{
    clock::Clock,
    demo::fake_cluster::{FakeCluster, Key},
    domain::release::REQUESTED_AT,
};
use serde_json::json;

use crate::{
    clusters::at,
    live::Live,
    running::{Running, config_file, helmreboot, kubeconfig, listen, post},
    support::key,
};

/// Limits that no test reaches, so that each release is restarted as soon as it is reconciled.
const UNLIMITED: &str = "shutdownDelay: 5s\nlimits: {ratePerMinute: 6000, burst: 1000, inFlight: 1000, breakerThreshold: 10000}\n";

/// Alerts per second, and how long they are sent before and after the end of the leader.
const PER_SECOND: u32 = 50;
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(3);

fn repeats() -> usize {
    let repeats = std::env::var("HELMREBOOT_TEST_HANDOVERS");
    repeats
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(1)
}

fn start(name: &str, api_server: std::net::SocketAddr) -> Running {
    Running::start(
        helmreboot()
            .args(["serve", "--cluster-name=a", "--leader-elect", "--config"])
            .arg(config_file("handover", UNLIMITED))
            .arg("--kubeconfig")
            .arg(kubeconfig(name, &at(api_server), &json!({})))
            .env(
                "KUBECONFIG",
                kubeconfig(&format!("{name}-lease"), &at(api_server), &json!({})),
            )
            .env("HOSTNAME", name)
            .env("HELMREBOOT_TOKEN", "the key"),
    )
}

/// Puts a stalled release into the cluster, and tells one of the replicas.
fn fails(cluster: &FakeCluster, number: usize, webhooks: &[std::net::SocketAddr]) -> Key {
    let live = Live::stalled(&format!("web-{number}"));
    live.put(cluster);
    let event = json!({
        "involvedObject": {"kind": "HelmRelease", "namespace": live.key.namespace, "name": live.key.name,
            "apiVersion": "helm.toolkit.fluxcd.io/v2"},
        "severity": "error", "timestamp": jiff::Timestamp::now().to_string(), "message": "timeout",
        "reason": "UpgradeFailed", "reportingController": "helm-controller",
    });
    let body = event.to_string();
    let signature = key("the key").sign(body.as_bytes());
    let answer = post(
        webhooks[number % webhooks.len()],
        "/webhook/a",
        &signature,
        &body,
    );
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    live.key
}

/// Sends alerts for so long, and returns their releases.
fn alerts(
    cluster: &FakeCluster,
    webhooks: &[std::net::SocketAddr],
    from: usize,
    lasting: Duration,
) -> Vec<Key> {
    let (begun, mut releases) = (Instant::now(), Vec::new());
    while begun.elapsed() < lasting {
        releases.push(fails(cluster, from + releases.len(), webhooks));
        std::thread::sleep(Duration::from_secs(1) / PER_SECOND);
    }
    releases
}

fn restarts(cluster: &FakeCluster, release: &Key) -> usize {
    let versions = cluster.versions_of(release).into_iter();
    let tokens = versions.map(|object| object["metadata"]["annotations"][REQUESTED_AT].to_string());
    tokens
        .filter(|token| token != "null")
        .collect::<BTreeSet<_>>()
        .len()
}

/// The leader gets a signal in the middle of many alerts. Returns how long it took until the other one led.
async fn hand_over(case: &str, signal: &str) -> Duration {
    let cluster = FakeCluster::new(Clock::system());
    let address = listen(cluster.router()).await;
    let (case, signal) = (case.to_owned(), signal.to_owned());
    let test = move || {
        let case = format!("{case}-{}", std::process::id());
        let mut first = start(&format!("{case}-first"), address);
        let webhooks = [first.address("webhook")];
        first.wait_for(&["this replica is the leader and acts"]);
        let mut second = start(&format!("{case}-second"), address);
        let webhooks = [webhooks[0], second.address("webhook")];
        second.wait_for(&["this replica is a standby and does not act"]);
        let mut releases = alerts(&cluster, &webhooks, 0, BEFORE);
        first.signal(&signal);
        let begun = Instant::now();
        // The Service sends nothing to a process that is gone.
        let left = &webhooks[1..];
        releases.extend(alerts(&cluster, left, releases.len(), AFTER));
        let lease = Key::new("default", "helmreboot");
        let led = second.wait_for(&["this replica is the leader and acts"]);
        let at: jiff::Timestamp = led["timestamp"]
            .as_str()
            .expect("a time")
            .parse()
            .expect("a time");
        let behind = jiff::Timestamp::now().duration_since(at).unsigned_abs();
        let took = begun.elapsed().saturating_sub(behind);
        assert!(
            cluster
                .lease_holder(&lease)
                .starts_with(&format!("{case}-second"))
        );
        let deadline = Instant::now() + Duration::from_secs(20);
        let open = |releases: &[Key]| {
            releases
                .iter()
                .filter(|key| restarts(&cluster, key) == 0)
                .count()
        };
        while open(&releases) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_secs(1));
        let counts: BTreeSet<_> = releases.iter().map(|key| restarts(&cluster, key)).collect();
        assert_eq!(
            counts,
            BTreeSet::from([1]),
            "{} of {} not restarted",
            open(&releases),
            releases.len()
        );
        took
    };
    tokio::task::spawn_blocking(test).await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_asked_to_end_hands_over_in_time_and_nothing_is_lost_or_doubled() {
    for _ in 0..repeats() {
        let took = hand_over("ends", "-TERM").await;
        println!("handed over in {took:?}");
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_replaced_within_the_lease_and_nothing_is_lost_or_doubled() {
    for _ in 0..repeats() {
        let took = hand_over("killed", "-KILL").await;
        println!("replaced in {took:?}");
        assert!(took < Duration::from_secs(40), "{took:?}");
    }
}
