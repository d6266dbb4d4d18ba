//! Metrics. Values of labels come from closed lists, from names of rules and from configured names of clusters,
//! never from a release or a message.

use std::sync::{Arc, atomic::AtomicU64};

use jiff::Timestamp;
use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};
use tokio::time::Instant;

mod exposition;
mod health;
mod label;
mod series;
pub use exposition::Exposition;
pub use health::{Health, Outage};
pub use label::{CallResult, Destination, Found, Part, Reconciled, Verb};
use series::{
    ClusterLabels, ControllerLabels, DecisionLabels, EventLabels, FailingLabels, FoundLabels,
    Histograms, IgnoredLabels, OutcomeLabels, PanicLabels, ReconcileLabels, RequestLabels,
    RestartLabels, RuleLabels, RuleOutcomeLabels, VerbLabels, VerdictLabels, alert_labels,
    cluster_labels, decision_labels, event_labels, failing_labels, found_labels, reconcile_labels,
    request_labels,
};

use crate::domain::{
    alert::Ignored,
    alert_result::AlertResult,
    classify::{Class, Verdict},
    decide::Decision,
    failing::Failing,
    ledger::{Action, RestartOutcome},
};

/// The gauges of one cluster.
#[derive(Clone, Debug)]
pub struct ClusterGauges {
    /// Releases in the work queue.
    pub queued: usize,
    /// Releases that fail.
    pub failing: Failing,
    /// Restarts that have not ended.
    pub in_flight: usize,
    /// Circuit breakers that are open.
    pub breakers: usize,
    /// When the current state of all releases was last known.
    pub up_to_date: Option<Timestamp>,
    /// Whether alerts can be verified, and the API server answers.
    pub up: bool,
}

/// A point in time, in seconds since 1970.
type Seconds = Gauge<f64, AtomicU64>;

fn unix(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

/// All metrics. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    alerts: Family<series::AlertLabels, Counter>,
    ignored: Family<IgnoredLabels, Counter>,
    verdicts: Family<VerdictLabels, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    restarts: Family<RestartLabels, Counter>,
    outcomes: Family<OutcomeLabels, Counter>,
    resent: Family<ClusterLabels, Counter>,
    restarts_by_rule: Family<RuleLabels, Counter>,
    outcomes_by_rule: Family<RuleOutcomeLabels, Counter>,
    gave_up: Family<ClusterLabels, Counter>,
    found: Family<FoundLabels, Counter>,
    failing: Family<FailingLabels, Gauge>,
    watch_success: Family<ClusterLabels, Seconds>,
    start_time: Seconds,
    in_flight: Family<ClusterLabels, Gauge>,
    breakers: Family<ClusterLabels, Gauge>,
    up: Family<ClusterLabels, Gauge>,
    paused: Gauge,
    leader: Gauge,
    panics: Family<PanicLabels, Counter>,
    events: Family<EventLabels, Counter>,
    delay: Histogram,
    queue: Family<ClusterLabels, Gauge>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histograms<VerbLabels>,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_errors: Family<ControllerLabels, Counter>,
    reconcile_seconds: Histograms<ControllerLabels>,
}

/// The name of the controller, as in the metrics of the first HelmReboot.
const CONTROLLER: &str = "helmrelease";

fn call_seconds() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ])
}

fn delay_seconds() -> Histogram {
    Histogram::new([1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let calls: fn() -> Histogram = call_seconds;
        Self {
            alerts: Family::default(),
            ignored: Family::default(),
            verdicts: Family::default(),
            decisions: Family::default(),
            restarts: Family::default(),
            outcomes: Family::default(),
            resent: Family::default(),
            restarts_by_rule: Family::default(),
            outcomes_by_rule: Family::default(),
            gave_up: Family::default(),
            found: Family::default(),
            failing: Family::default(),
            watch_success: Family::default(),
            start_time: Gauge::default(),
            in_flight: Family::default(),
            breakers: Family::default(),
            up: Family::default(),
            paused: Gauge::default(),
            leader: Gauge::default(),
            panics: Family::default(),
            events: Family::default(),
            delay: delay_seconds(),
            queue: Family::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(calls),
            reconciles: Family::default(),
            reconcile_errors: Family::default(),
            reconcile_seconds: Family::new_with_constructor(calls),
        }
    }
}

impl Metrics {
    /// A request at the webhook was answered whose signature was right.
    pub fn answered(&self, cluster: &Arc<str>, answer: AlertResult) {
        self.alerts
            .get_or_create(&alert_labels(Arc::clone(cluster), answer))
            .inc();
    }

    /// A request was refused before its signature was verified.
    pub fn refused(&self, answer: AlertResult) {
        self.alerts
            .get_or_create(&alert_labels(Arc::default(), answer))
            .inc();
    }

    /// An accepted alert did not lead to a reconcile.
    pub fn ignored(&self, reason: Ignored) {
        let reason = reason.as_str();
        self.ignored.get_or_create(&IgnoredLabels { reason }).inc();
    }

    /// A failure was classified, and a decision made.
    pub fn decided(&self, cluster: &Arc<str>, verdict: Verdict, decision: &Decision) {
        self.verdicts
            .get_or_create(&VerdictLabels {
                class: verdict.class.as_str(),
                rule: verdict.rule,
            })
            .inc();
        self.decisions
            .get_or_create(&decision_labels(
                cluster,
                decision.as_str(),
                decision.reason(),
            ))
            .inc();
    }

    /// A restart was written, so long after the alert.
    pub fn restarted(
        &self,
        cluster: &Arc<str>,
        action: Action,
        rule: &'static str,
        since: Instant,
    ) {
        self.restarts_by_rule
            .get_or_create(&RuleLabels { rule })
            .inc();
        self.restarts
            .get_or_create(&RestartLabels {
                cluster: Arc::clone(cluster),
                action: action.as_str(),
            })
            .inc();
        self.delay.observe(since.elapsed().as_secs_f64());
    }

    /// A new token was written, because Flux handled the last one and did nothing.
    pub fn resent(&self, cluster: &Arc<str>) {
        self.resent.get_or_create(&cluster_labels(cluster)).inc();
    }

    /// A restart ended.
    pub fn ended(&self, cluster: &Arc<str>, rule: &'static str, outcome: RestartOutcome) {
        self.outcomes_by_rule
            .get_or_create(&RuleOutcomeLabels {
                rule,
                outcome: outcome.as_str(),
            })
            .inc();
        self.outcomes
            .get_or_create(&OutcomeLabels {
                cluster: Arc::clone(cluster),
                outcome: outcome.as_str(),
            })
            .inc();
    }

    /// A release was given up.
    pub fn gave_up(&self, cluster: &Arc<str>) {
        self.gave_up
            .get_or_create(&ClusterLabels {
                cluster: Arc::clone(cluster),
            })
            .inc();
    }

    /// The watcher enqueued a release that was not in the queue.
    pub fn found(&self, cluster: &Arc<str>, when: Found) {
        self.found.get_or_create(&found_labels(cluster, when)).inc();
    }

    /// Sets the gauges of a cluster.
    pub fn set_gauges(&self, cluster: &Arc<str>, now: ClusterGauges) {
        let labels = cluster_labels(cluster);
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.queue.get_or_create(&labels).set(count(now.queued));
        for class in Class::ALL {
            let failing = count(now.failing.of(*class));
            self.failing
                .get_or_create(&failing_labels(cluster, *class))
                .set(failing);
        }
        self.in_flight
            .get_or_create(&labels)
            .set(count(now.in_flight));
        self.breakers
            .get_or_create(&labels)
            .set(count(now.breakers));
        self.watch_success
            .get_or_create(&labels)
            .set(now.up_to_date.map_or(0.0, unix));
        self.up.get_or_create(&labels).set(i64::from(now.up));
    }

    /// This process started to serve.
    pub fn started(&self, now: Timestamp) {
        self.start_time.set(unix(now));
    }

    /// Whether this replica acts.
    pub fn leader(&self, acts: bool) {
        self.leader.set(i64::from(acts));
    }

    /// Whether helmreboot is paused.
    pub fn paused(&self, paused: bool) {
        self.paused.set(i64::from(paused));
    }

    /// A panic was caught.
    pub fn panicked(&self, part: Part) {
        let part = part.as_str();
        self.panics.get_or_create(&PanicLabels { part }).inc();
    }

    /// An event about a release was delivered, or dropped.
    pub fn event(&self, destination: Destination, delivered: bool) {
        self.events
            .get_or_create(&event_labels(destination, delivered))
            .inc();
    }

    /// A reconcile begins.
    pub fn reconcile(&self) -> ReconcileTimer<'_> {
        ReconcileTimer {
            metrics: self,
            start: Instant::now(),
        }
    }

    /// A request to an API server begins.
    pub fn kubernetes_request<'a>(&'a self, cluster: &'a Arc<str>, verb: Verb) -> RequestTimer<'a> {
        RequestTimer {
            metrics: self,
            cluster,
            verb,
            start: Instant::now(),
        }
    }
}

/// Measures one reconcile.
#[derive(Debug)]
pub struct ReconcileTimer<'a> {
    metrics: &'a Metrics,
    start: Instant,
}

impl ReconcileTimer<'_> {
    /// The reconcile has ended.
    pub fn done(self, result: Reconciled) {
        let labels = ControllerLabels {
            controller: CONTROLLER,
        };
        self.metrics
            .reconciles
            .get_or_create(&reconcile_labels(result))
            .inc();
        if result == Reconciled::Error {
            self.metrics.reconcile_errors.get_or_create(&labels).inc();
        }
        self.metrics
            .reconcile_seconds
            .get_or_create(&labels)
            .observe(self.start.elapsed().as_secs_f64());
    }
}

/// Measures one request to an API server.
#[derive(Debug)]
pub struct RequestTimer<'a> {
    metrics: &'a Metrics,
    cluster: &'a Arc<str>,
    verb: Verb,
    start: Instant,
}

impl RequestTimer<'_> {
    /// The request has ended.
    pub fn done(self, result: CallResult) {
        let labels = VerbLabels {
            verb: self.verb.as_str(),
        };
        self.metrics
            .requests
            .get_or_create(&request_labels(self.cluster, self.verb, result))
            .inc();
        let seconds = self.metrics.request_seconds.get_or_create(&labels);
        seconds.observe(self.start.elapsed().as_secs_f64());
    }
}
