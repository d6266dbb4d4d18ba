//! `helmreboot demo`: the service with two embedded clusters. Prints what happens.
//!
//! Everything but the clusters is real: alerts are signed and come over HTTP, decisions are made and
//! written as they would be in production. The tests use the same house.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use anyhow::Context;
use http::Uri;
use jiff::SignedDuration;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    app::{App, ClusterHandle, Listeners, Options, address_of, bind},
    clock::Clock,
    config::{
        clusters::{ClusterAccess, ClusterConfig},
        keys::KeySource,
    },
    controller::Intervals,
    domain::{
        journal::Journal,
        policy::{Backoff, Mode, Policy},
        signature::{Key as SigningKey, Secret},
    },
    kubernetes::Connection,
    notify::{Destinations, FluxReceiver},
    telemetry, webhook,
};

pub mod fake_cluster;
pub mod fake_flux;
mod later;
mod narrator;
mod readers;
pub mod story;

use fake_cluster::FakeCluster;
use fake_flux::{Era, EventReceiver, FakeFlux, Notifier, Provider, over_http};
use narrator::Narrator;

/// How many times faster than life the story goes at `--speed 1`: Flux's own waits are up to 30 s.
const HURRY: f64 = 4.0;

/// The arguments of the demo.
#[derive(Clone, Debug)]
pub struct Args {
    /// 1 is about half a minute; more is faster.
    pub speed: f64,
    /// One JSON document at the end instead of a story.
    pub json: bool,
    /// Go on after the story, with metrics at this address.
    pub serve: Option<String>,
}

/// One embedded cluster with its controllers.
pub(crate) struct Spoke {
    name: &'static str,
    cluster: FakeCluster,
    flux: FakeFlux,
    /// Where its Flux takes events.
    receiver: EventReceiver,
    key: SigningKey,
    address: String,
}

/// Runs the demo. True if every release had the expected end.
///
/// # Errors
/// No port can be had on the loopback address.
pub async fn run(args: Args) -> anyhow::Result<bool> {
    let speed = args.speed * HURRY;
    let clock = Clock::system();
    let listeners = Listeners {
        webhook: bind("127.0.0.1:0")?,
        metrics: bind(args.serve.as_deref().unwrap_or("127.0.0.1:0"))?,
        probes: bind("127.0.0.1:0")?,
        dashboard: None,
    };
    let base = format!("http://{}{}", address_of(&listeners.webhook), webhook::PATH);
    let page = format!("http://{}/", address_of(&listeners.metrics));
    let metrics = format!("{page}metrics");
    let (mut spokes, mut handles) = (Vec::new(), Vec::new());
    for name in story::CLUSTERS {
        let secret = Secret::new(format!("the demo's key of {name}")).context("a key")?;
        let cluster = FakeCluster::new(clock.clone());
        let config = ClusterConfig {
            name: Arc::from(name),
            keys: vec![KeySource::value(secret.clone())],
            access: ClusterAccess::default(),
            mode: Mode::Act,
            namespaces: Vec::new(),
            events_addr: None,
            place: "demo".into(),
            access_place: String::new(),
        };
        let keys = config.read_keys().map_err(anyhow::Error::msg)?;
        let key = SigningKey::new(secret, None);
        let address = format!("{base}/{name}");
        let target = Provider {
            address: address.clone(),
            key: key.clone(),
            cluster: name.into(),
            info: false,
            transport: over_http(),
        };
        let notifier = Notifier::new(Some(target), speed);
        let receiver = EventReceiver::new(notifier.clone());
        handles.push(ClusterHandle {
            config,
            keys,
            connection: Connection::to(cluster.client()),
            destinations: Destinations {
                kubernetes: true,
                flux: Some(FluxReceiver::with(
                    Uri::from_static("http://notification-controller/"),
                    receiver.transport(),
                )),
            },
        });
        let flux = FakeFlux::new(
            cluster.clone(),
            notifier,
            clock.clone(),
            Era::Current,
            speed,
        );
        spokes.push(Spoke {
            name,
            cluster,
            flux,
            receiver,
            key,
            address,
        });
    }
    let app = App::new(options(speed), handles, clock);
    let journal = app.journal();
    let (stop, stopped) = mpsc::channel(1);
    let service = tokio::spawn(app.run(listeners, stopped));
    let controllers: Vec<_> = spokes
        .iter()
        .map(|spoke| tokio::spawn(spoke.flux.clone().run()))
        .collect();

    let mut narrator = Narrator::new(args.json);
    narrator.say(&format!(
        "helmreboot takes alerts at {base}/{{cluster}} and serves {metrics}.\n\
         Two embedded clusters run Flux; the demo runs {speed:.0} times as fast as a real cluster.\n"
    ));
    let outcome = story::play(&spokes, &journal, &mut narrator, speed).await;
    let good = outcome.iter().all(|end| end.as_expected);
    narrator.end(&outcome, good);
    readers::delivered(&spokes).await;
    narrator.say(&readers::text(&spokes));
    if args.serve.is_some() {
        // Until now, Ctrl-C ended it as it ends any program.
        let mut signals = telemetry::signals().context("cannot handle signals")?;
        narrator.say(&format!(
            "\nThe page is at {page}, and the metrics are at {metrics}. Releases fail and recover until Ctrl-C."
        ));
        tokio::select! {
            biased;
            _ = signals.recv() => {}
            () = later::go_on(&spokes, speed) => {}
        }
    }
    finish(stop, service, controllers).await?;
    narrator
        .finish()
        .context("the story could not be written to standard output")?;
    Ok(good)
}

/// The usual settings, as much faster as the story; three restarts instead of five.
fn options(speed: f64) -> Options {
    let seconds = |seconds: f64| SignedDuration::from_secs_f64(seconds / speed);
    let backoff = Backoff {
        duration: seconds(8.0),
        factor: 2.0,
        max_duration: seconds(60.0),
        jitter: 0.1,
    };
    let policy = Policy {
        limit: 3,
        backoff,
        ..Policy::default()
    };
    Options {
        policies: policy.into(),
        intervals: Intervals::default().faster(speed),
        ..Options::default()
    }
}

async fn finish(
    stop: mpsc::Sender<&'static str>,
    service: JoinHandle<anyhow::Result<()>>,
    controllers: Vec<JoinHandle<()>>,
) -> anyhow::Result<()> {
    let _ = stop.send("the end of the demo").await;
    service.await.context("the service panicked")??;
    controllers.iter().for_each(JoinHandle::abort);
    Ok(())
}

/// Waits a little between two reads of the clusters.
pub(crate) async fn breathe(speed: f64) {
    tokio::time::sleep(
        Duration::from_millis(120)
            .div_f64(speed)
            .max(Duration::from_millis(5)),
    )
    .await;
}

/// The words of the journal that people read here.
pub(crate) fn words(entry: &crate::domain::journal::Entry) -> String {
    let mut text = String::new();
    let _ = match (entry.what, entry.reason) {
        ("restart", action) => write!(
            text,
            "restarts it ({action}, attempt {}): {}",
            entry.attempt, entry.rule
        ),
        ("resend", action) => write!(
            text,
            "sends a new token ({action}), which is not counted as a restart"
        ),
        ("ended", "recovered") => write!(text, "sees it recovered"),
        ("ended", "swallowed") => write!(
            text,
            "sees that Flux handled the request without an attempt"
        ),
        ("ended", end) => write!(text, "sees how the restart ended: {end}"),
        ("wait", "backoff") => write!(text, "waits before the next restart: backoff"),
        ("wait", why) => write!(text, "waits: {why}"),
        ("leave", "budget-spent") => write!(
            text,
            "gives up after {} restarts: budget-spent",
            entry.attempt
        ),
        ("leave", "permanent") => write!(text, "does not restart it: permanent ({})", entry.rule),
        ("leave", why) => write!(text, "does not restart it: {why}"),
        (what, why) => write!(text, "{what}: {why}"),
    };
    text
}

/// What the journal says last about a release: how it ended for helmreboot.
pub(crate) fn last_word(
    journal: &Journal,
    cluster: &str,
    namespace: &str,
    name: &str,
) -> Option<&'static str> {
    let (entries, _) = journal.since(0);
    let mut ours = entries.iter().filter(|entry| {
        entry.about.release().is_some_and(|release| {
            &*release.cluster == cluster
                && &*release.namespace == namespace
                && &*release.name == name
        })
    });
    ours.rfind(|entry| entry.what == "leave")
        .map(|entry| entry.reason)
}
