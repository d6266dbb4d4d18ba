//! The stage: clusters, Flux, replicas, and the order of a history.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use helmreboot::{
    app::Options,
    clock::Clock,
    config::SweepMode,
    demo::{
        fake_cluster::{FakeCluster, Key},
        fake_flux::{Era, EventReceiver, FakeFlux, Notifier, Provider},
    },
    domain::signature::{Key as SigningKey, SIGNATURE_HEADER, Secret},
    kubernetes::{Connection, lease::Lease},
};
use http::{Request, StatusCode};
use jiff::SignedDuration;
use tokio::{task::JoinHandle, time::sleep};

use super::{
    Fate, Outcome,
    chaos::{self, Doors},
    check::Check,
    options::options,
    people,
    replica::{Counted, Replica},
};

/// One cluster with its Flux.
pub(super) struct Land {
    pub(super) name: &'static str,
    pub(super) cluster: FakeCluster,
    pub(super) flux: FakeFlux,
    pub(super) releases: Vec<Key>,
    /// Its notification-controller, where it takes events.
    pub(super) receiver: EventReceiver,
    key: SigningKey,
    running: JoinHandle<()>,
}

pub(super) struct Scene {
    fate: Fate,
    pub(super) lands: Vec<Land>,
    options: Options,
    /// The API server with the Lease, where there are several replicas.
    leases: Option<FakeCluster>,
    started: usize,
    doors: Doors,
    replicas: Vec<Replica>,
    counted: Vec<Counted>,
    killed: usize,
    check: Check,
}

impl Scene {
    pub(super) fn new(seed: u64, trace: bool) -> Self {
        let fate = Fate::new(seed, trace);
        let options = options(&fate);
        fate.note(|| format!("{:?} {:?}", options.policies, options.sweep));
        let doors = Doors::default();
        let names = ["eu", "us", "ap"];
        let many = usize::try_from(fate.number(1..4)).expect("small");
        let lands: Vec<_> = names[..many]
            .iter()
            .map(|name| Land::new(name, &doors, &fate))
            .collect();
        let check = Check::new(&options, fate.clone());
        Self {
            fate,
            lands,
            options,
            leases: None,
            started: 0,
            doors,
            replicas: Vec::new(),
            counted: Vec::new(),
            killed: 0,
            check,
        }
    }

    /// An hour or more in which everything goes wrong, and the time after it in which nothing does.
    pub(super) async fn play(&mut self) {
        let fate = self.fate.clone();
        let replicas = fate.one_of(&[1, 1, 1, 2, 3]);
        if replicas > 1 {
            self.leases = Some(FakeCluster::new(fate.clock.clone()));
            if self.options.sweep == SweepMode::Off {
                self.options.sweep = SweepMode::Watch;
            }
            self.check.several_replicas();
        }
        while self.replicas.len() < replicas {
            self.start();
        }
        // In every tenth history configurations alternate, sometimes more of them than are remembered.
        let variants = if fate.chance(0.1) {
            fate.number(2..7)
        } else {
            0
        };
        let calm_at =
            fate.now() + SignedDuration::from_mins(30 + fate.number(0..120).cast_signed());
        while fate.now() < calm_at {
            sleep(fate.seconds(1..120)).await;
            let land = usize::try_from(fate.number(0..3)).expect("small") % self.lands.len();
            if variants > 0 {
                people::flip(&self.lands[land], variants, &fate);
            }
            match fate.number(0..20) {
                0 if !self.replicas.is_empty() => self.kill().await,
                5 | 6 if replicas > 1 => self.disturb_the_lease(),
                0 | 1 if self.replicas.len() < replicas => self.start(),
                2 => self.forge(land).await,
                4 if !self.replicas.is_empty() => {
                    let index = usize::try_from(fate.number(0..2)).expect("small");
                    self.replicas[index % self.replicas.len()].plant(&fate);
                }
                3 => {
                    fate.fault(|| "watches cut, history compacted".into());
                    self.lands[land].cluster.compact();
                    self.lands[land].cluster.cut_watches();
                }
                _ => people::act(&mut self.lands[land], &fate),
            }
            self.look();
        }
        fate.note(|| "all faults end, and every cause that can pass has passed".into());
        fate.notes().calm = true;
        if let Some(leases) = &self.leases {
            leases.grant_leases(None);
        }
        while self.replicas.len() < replicas {
            self.start();
        }
        for land in &self.lands {
            land.remove_cause();
        }
        for _ in 0..30 {
            sleep(Duration::from_secs(600)).await;
            self.look();
        }
        for mut replica in std::mem::take(&mut self.replicas) {
            self.check.events(&mut replica, None);
            self.counted.push(replica.counted(&fate).await);
        }
        self.check.end(&self.lands, &self.counted, self.killed);
    }

    pub(super) fn outcome(mut self) -> Outcome {
        for land in &self.lands {
            land.running.abort();
        }
        let ready = |land: &Land| {
            land.releases
                .iter()
                .filter(|key| land.is_ready(key))
                .count()
        };
        let all = self.lands.iter().map(|land| land.releases.len()).sum();
        let mut notes = self.fate.notes();
        Outcome {
            broken: std::mem::take(&mut self.check.broken),
            trace: std::mem::take(&mut notes.trace),
            steps: self.check.steps,
            faults: notes.faults,
            restarts: self.check.restarts,
            ready: (self.lands.iter().map(ready).sum(), all),
        }
    }

    /// Holds everything that was written since the last time to what was promised.
    fn look(&mut self) {
        for replica in &mut self.replicas {
            replica.read(&self.fate);
            for broken in replica.limits(&self.lands, &self.fate) {
                self.check.fail(format!("{}: {broken}", replica.name));
            }
        }
        let unled = std::mem::take(&mut self.fate.notes().unled);
        if unled > 0 {
            self.check
                .fail(format!("{unled} writes by a replica that does not act"));
        }
        for land in &self.lands {
            self.check.look(land);
        }
    }

    fn start(&mut self) {
        let owner = chaos::Owner::default();
        let ways: Vec<_> = self
            .lands
            .iter()
            .map(|land| {
                let client =
                    chaos::client(land.cluster.router(), self.fate.clone(), Arc::clone(&owner));
                let receiver = chaos::receiver(&land.receiver, self.fate.clone());
                (land.name, client, land.key.clone(), receiver)
            })
            .collect();
        let ahead = SignedDuration::from_secs(self.fate.number(0..600).cast_signed() - 300);
        let name = ["first", "second", "third"]
            .into_iter()
            .find(|name| self.replicas.iter().all(|replica| replica.name != *name));
        let name = name.expect("at most three");
        self.started += 1;
        let identity = format!("{name}-{}", self.started);
        let lease = self.leases.as_ref().map(|leases| {
            let client = chaos::client(leases.router(), self.fate.clone(), chaos::Owner::default());
            let time = self.fate.clock.clone();
            let clock = Clock::new(move || time.now() + ahead);
            Lease::new(Connection::to(client), identity, clock)
                .retrying_every(Duration::from_secs(10))
        });
        let options = Options {
            lease,
            salt: u32::try_from(self.fate.number(0..1_000_000_000)).expect("small"),
            ..self.options.clone()
        };
        let replica = Replica::start(name, options, &ways, &self.fate, ahead);
        let _ = owner.set(replica.leadership.clone());
        self.replicas.push(replica);
        self.open_doors();
    }

    async fn kill(&mut self) {
        let index = usize::try_from(self.fate.number(0..6)).expect("small") % self.replicas.len();
        let mut replica = self.replicas.remove(index);
        self.open_doors();
        if self.leases.is_some() && self.fate.chance(0.5) {
            replica.hand_over(&self.fate).await;
        }
        replica.kill(&self.fate);
        self.check.events(&mut replica, Some(self.fate.now()));
        self.killed += 1;
        self.counted.push(replica.counted(&self.fate).await);
    }

    fn open_doors(&self) {
        let doors = self.replicas.iter().map(|replica| replica.door.clone());
        *self.doors.lock().expect("one thread") = doors.collect();
    }

    /// Another client writes the Lease, so that two replicas lead for a moment or none does, or takes rights away.
    fn disturb_the_lease(&self) {
        let (Some(leases), fate) = (&self.leases, &self.fate) else {
            return;
        };
        match fate.number(0..4) {
            0 => {
                let verbs = fate.one_of(&[vec![], vec!["get"]]);
                fate.fault(|| format!("rights on the Lease: {verbs:?}"));
                leases.grant_leases(Some(verbs));
            }
            1 => {
                fate.fault(|| "all rights on the Lease".into());
                leases.grant_leases(None);
            }
            other => {
                let holder = fate.one_of(&["", "a stranger"]);
                fate.fault(|| format!("the Lease is given to {holder:?}"));
                let seconds = 5 + 25 * (other - 2);
                let spec =
                    serde_json::json!({"holderIdentity": holder, "leaseDurationSeconds": seconds});
                leases.write_lease(&Key::new("default", "helmreboot"), &spec);
            }
        }
    }

    /// Somebody without the key, or with an old recording.
    async fn forge(&mut self, land: usize) {
        let land = &self.lands[land];
        let alerts = land.flux.alerts();
        if alerts.is_empty() {
            return;
        }
        let alert = self.fate.one_of(&alerts);
        let replayed = self.fate.chance(0.5);
        let signature = if replayed {
            alert.signature.clone()
        } else {
            key("a guess").sign(alert.body.as_bytes())
        };
        let what = if replayed { "replayed" } else { "forged" };
        self.fate.fault(|| format!("alert {what}"));
        let request = Request::post(format!("/webhook/{}", land.name))
            .header("content-type", "application/json")
            .header(SIGNATURE_HEADER, signature)
            .body(Body::from(alert.body))
            .expect("a request");
        let answer = chaos::deliver(&self.doors, &self.fate, request).await;
        let status = answer.map(|answer| answer.status());
        if !replayed
            && status
                .as_ref()
                // A planted panic may strike here.
                .is_ok_and(|status| {
                    ![StatusCode::UNAUTHORIZED, StatusCode::INTERNAL_SERVER_ERROR].contains(status)
                })
        {
            self.check
                .fail(format!("a forged alert was answered {status:?}"));
        }
    }
}

impl Land {
    fn new(name: &'static str, doors: &Doors, fate: &Fate) -> Self {
        let cluster = FakeCluster::new(fate.clock.clone());
        let secret = key(&format!("key of {name}"));
        let target = Provider {
            address: format!("http://helmreboot/webhook/{name}"),
            key: secret.clone(),
            cluster: name.into(),
            info: fate.chance(0.5),
            transport: chaos::post(Arc::clone(doors), fate.clone()),
        };
        let notifier = Notifier::new(Some(target), 1.0);
        let receiver = EventReceiver::new(notifier.clone());
        let flux = FakeFlux::new(
            cluster.clone(),
            notifier,
            fate.clock.clone(),
            Era::Current,
            1.0,
        );
        let running = tokio::spawn(flux.clone().run());
        let mut land = Self {
            name,
            cluster,
            flux,
            releases: Vec::new(),
            receiver,
            key: secret,
            running,
        };
        // Now and then many that share a cause: a limits.
        let limits = fate.chance(0.15);
        for number in 0..fate.number(if limits { 5..9 } else { 1..5 }) {
            people::create(&mut land, number, limits, fate);
        }
        land
    }

    fn remove_cause(&self) {
        self.flux.set_running(true);
        for release in &self.releases {
            self.flux.remove_cause(release);
        }
        self.flux.set_ready(&people::dependency(), true);
    }

    /// Whether Flux works on a release, or has yet to take notice of a request.
    pub(super) fn is_working(&self, key: &Key) -> bool {
        let Some(object) = self.cluster.get(key) else {
            return false;
        };
        let conditions = object["status"]["conditions"].as_array().cloned();
        let works = |condition: &serde_json::Value| {
            condition["type"] == "Reconciling" && condition["status"] == "True"
        };
        let requested = &object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
        conditions.iter().flatten().any(works)
            || object["status"]["lastHandledReconcileAt"] != *requested
    }

    fn is_ready(&self, key: &Key) -> bool {
        let object = self.cluster.get(key).unwrap_or_default();
        let conditions = object["status"]["conditions"].as_array().cloned();
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    }
}

fn key(secret: &str) -> SigningKey {
    SigningKey::new(Secret::new(secret).expect("a key"), None)
}
