//! What is counted. Every series exists from the start, at 0; labels come from closed lists and
//! configured cluster names, never from a release or a message.

use std::{hash::Hash, sync::Arc};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};
use tokio::time::Instant;

use crate::domain::{
    alert::Ignored,
    answer::Answer,
    classify::{Class, Verdict},
    decide::{Decision, Why},
    ledger::{Action, Ended},
    rules::BUILT_IN,
    words,
};

/// The cluster label of what came before a cluster was known.
pub const NO_CLUSTER: &str = "";

macro_rules! labels {
    ($($name:ident { $($field:ident: $type:ty),+ }),+ $(,)?) => { $(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $($field: $type),+ }
    )+ };
}

labels! {
    AlertLabels { cluster: Arc<str>, result: &'static str },
    IgnoredLabels { cluster: Arc<str>, why: &'static str },
    VerdictLabels { class: &'static str, rule: &'static str },
    DecisionLabels { cluster: Arc<str>, decision: &'static str, why: &'static str },
    RestartLabels { cluster: Arc<str>, action: &'static str },
    EndLabels { cluster: Arc<str>, result: &'static str },
    ClusterLabels { cluster: Arc<str> },
    RequestLabels { cluster: Arc<str>, verb: &'static str, result: &'static str },
    VerbLabels { cluster: Arc<str>, verb: &'static str },
    ControllerLabels { controller: &'static str },
    ReconcileLabels { controller: &'static str, result: &'static str },
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

words! {
    /// A call to an API server.
    Verb {
        /// Which versions of HelmRelease are served.
        Discover = "discover",
        /// One release.
        Get = "get",
        /// Annotations on one release.
        Patch = "patch",
    }
}

words! {
    /// How a call to an API server came out.
    CallResult {
        /// As asked.
        Ok = "ok",
        /// No such object.
        Gone = "gone",
        /// The object was changed in between.
        Conflict = "conflict",
        /// No rights.
        Forbidden = "forbidden",
        /// Refused for what it holds.
        Rejected = "rejected",
        /// No such API.
        Unsupported = "unsupported",
        /// An answer that makes no sense.
        Unreadable = "unreadable",
        /// Too busy.
        Throttled = "throttled",
        /// No answer, a late one, or a server error.
        Unavailable = "unavailable",
    }
}

words! {
    /// The result of one look, in controller-runtime's words.
    Reconciled {
        /// Nothing left to do.
        Success = "success",
        /// To be looked at again.
        RequeueAfter = "requeue_after",
        /// The API server did not play along.
        Error = "error",
    }
}

/// All counters; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    alerts: Family<AlertLabels, Counter>,
    ignored: Family<IgnoredLabels, Counter>,
    verdicts: Family<VerdictLabels, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    restarts: Family<RestartLabels, Counter>,
    ends: Family<EndLabels, Counter>,
    gave_up: Family<ClusterLabels, Counter>,
    delay: Histograms<ClusterLabels>,
    queue: Family<ClusterLabels, Gauge>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histograms<VerbLabels>,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_errors: Family<ControllerLabels, Counter>,
    reconcile_seconds: Histograms<ControllerLabels>,
}

/// The name of the one controller, as the first helmreboot called it.
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
            ends: Family::default(),
            gave_up: Family::default(),
            delay: Family::new_with_constructor(delay_seconds),
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
    /// Registers everything, and makes every series of these clusters appear.
    pub fn register<'a>(&self, clusters: impl IntoIterator<Item = &'a Arc<str>>) -> Registry {
        let mut registry = Registry::default();
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let own = registry.sub_registry_with_prefix("helmreboot");
        own.register("build", "The running version", version);
        own.register(
            "alerts",
            "Requests at the webhook, by what they were answered",
            self.alerts.clone(),
        );
        own.register(
            "alerts_ignored",
            "Good alerts that ask for nothing, by why",
            self.ignored.clone(),
        );
        own.register(
            "verdicts",
            "Causes of failures looked at, by class and rule",
            self.verdicts.clone(),
        );
        own.register(
            "decisions",
            "Decisions, by the row of the table that held",
            self.decisions.clone(),
        );
        own.register(
            "restarts",
            "Restarts written, by how Flux was asked",
            self.restarts.clone(),
        );
        own.register(
            "restart_ends",
            "Restarts whose end was seen, by how they ended",
            self.ends.clone(),
        );
        own.register(
            "gave_up",
            "Releases given up after their last restart",
            self.gave_up.clone(),
        );
        own.register(
            "alert_to_restart_seconds",
            "From the alert to the restart it led to",
            self.delay.clone(),
        );
        own.register(
            "queue_entries",
            "Releases that are waited for or worked on",
            self.queue.clone(),
        );
        own.register(
            "kubernetes_requests",
            "Calls to API servers, by result",
            self.requests.clone(),
        );
        own.register(
            "kubernetes_request_seconds",
            "How long calls took",
            self.request_seconds.clone(),
        );
        let seed = registry.sub_registry_with_prefix("controller_runtime");
        seed.register(
            "reconcile",
            "Looks at releases, by result",
            self.reconciles.clone(),
        );
        seed.register(
            "reconcile_errors",
            "Looks that failed",
            self.reconcile_errors.clone(),
        );
        seed.register(
            "reconcile_time_seconds",
            "How long a look took",
            self.reconcile_seconds.clone(),
        );
        self.touch(clusters);
        registry
    }

    /// Creates each series that can ever appear, at 0.
    fn touch<'a>(&self, clusters: impl IntoIterator<Item = &'a Arc<str>>) {
        for class in Class::ALL.iter().copied() {
            let rules = BUILT_IN
                .iter()
                .filter(|rule| rule.class == class)
                .map(|rule| rule.name);
            for rule in rules.chain((class == Class::Unknown).then_some(Verdict::NO_RULE)) {
                appear(
                    &self.verdicts,
                    &VerdictLabels {
                        class: class.as_str(),
                        rule,
                    },
                );
            }
        }
        for answer in Answer::ALL {
            self.answered(NO_CLUSTER, *answer, 0);
        }
        for result in Reconciled::ALL {
            appear(&self.reconciles, &reconcile_labels(*result));
        }
        appear(
            &self.reconcile_errors,
            &ControllerLabels {
                controller: CONTROLLER,
            },
        );
        appear(
            &self.reconcile_seconds,
            &ControllerLabels {
                controller: CONTROLLER,
            },
        );
        for cluster in clusters {
            self.touch_cluster(cluster);
        }
    }

    fn touch_cluster(&self, cluster: &Arc<str>) {
        for answer in Answer::ALL.iter().filter(|answer| answer.knows_cluster()) {
            self.answered(cluster, *answer, 0);
        }
        for why in Ignored::ALL {
            appear(
                &self.ignored,
                &IgnoredLabels {
                    cluster: Arc::clone(cluster),
                    why: why.as_str(),
                },
            );
        }
        for why in Why::ALL {
            let decision = why.decides();
            appear(&self.decisions, &decision_labels(cluster, decision, *why));
        }
        for action in Action::ALL {
            appear(
                &self.restarts,
                &RestartLabels {
                    cluster: Arc::clone(cluster),
                    action: action.as_str(),
                },
            );
        }
        for end in Ended::ALL {
            appear(
                &self.ends,
                &EndLabels {
                    cluster: Arc::clone(cluster),
                    result: end.as_str(),
                },
            );
        }
        for verb in Verb::ALL {
            for result in CallResult::ALL {
                appear(&self.requests, &request_labels(cluster, *verb, *result));
            }
            appear(
                &self.request_seconds,
                &VerbLabels {
                    cluster: Arc::clone(cluster),
                    verb: verb.as_str(),
                },
            );
        }
        let labels = ClusterLabels {
            cluster: Arc::clone(cluster),
        };
        appear(&self.gave_up, &labels);
        appear(&self.delay, &labels);
        appear(&self.queue, &labels);
    }

    /// A request at the webhook was answered.
    pub fn answered(&self, cluster: &str, answer: Answer, times: u64) {
        let labels = AlertLabels {
            cluster: Arc::from(cluster),
            result: answer.as_str(),
        };
        self.alerts.get_or_create(&labels).inc_by(times);
    }

    /// A good alert asks for nothing.
    pub fn ignored(&self, cluster: &Arc<str>, why: Ignored) {
        self.ignored
            .get_or_create(&IgnoredLabels {
                cluster: Arc::clone(cluster),
                why: why.as_str(),
            })
            .inc();
    }

    /// A cause was classified and a decision made.
    pub fn decided(&self, cluster: &Arc<str>, verdict: Verdict, decision: &Decision) {
        self.verdicts
            .get_or_create(&VerdictLabels {
                class: verdict.class.as_str(),
                rule: verdict.rule,
            })
            .inc();
        self.decisions
            .get_or_create(&decision_labels(cluster, decision.as_str(), decision.why()))
            .inc();
    }

    /// A restart was written, so long after the alert.
    pub fn restarted(&self, cluster: &Arc<str>, action: Action, announced: Instant) {
        self.restarts
            .get_or_create(&RestartLabels {
                cluster: Arc::clone(cluster),
                action: action.as_str(),
            })
            .inc();
        let delay = self.delay.get_or_create(&ClusterLabels {
            cluster: Arc::clone(cluster),
        });
        delay.observe(announced.elapsed().as_secs_f64());
    }

    /// The end of an episode was seen.
    pub fn ended(&self, cluster: &Arc<str>, end: Ended) {
        self.ends
            .get_or_create(&EndLabels {
                cluster: Arc::clone(cluster),
                result: end.as_str(),
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

    /// The length of a queue.
    pub fn queue_entries(&self, cluster: &Arc<str>, entries: usize) {
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.queue
            .get_or_create(&ClusterLabels {
                cluster: Arc::clone(cluster),
            })
            .set(entries);
    }

    /// A look at a release begins.
    pub fn reconcile(&self) -> ReconcileTimer<'_> {
        ReconcileTimer {
            metrics: self,
            start: Instant::now(),
        }
    }

    /// A call to an API server begins.
    pub fn kubernetes_request<'a>(&'a self, cluster: &'a Arc<str>, verb: Verb) -> RequestTimer<'a> {
        RequestTimer {
            metrics: self,
            cluster,
            verb,
            start: Instant::now(),
        }
    }
}

/// Measures one look at a release.
#[derive(Debug)]
pub struct ReconcileTimer<'a> {
    metrics: &'a Metrics,
    start: Instant,
}

impl ReconcileTimer<'_> {
    /// The look is over.
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

/// Measures one call to an API server.
#[derive(Debug)]
pub struct RequestTimer<'a> {
    metrics: &'a Metrics,
    cluster: &'a Arc<str>,
    verb: Verb,
    start: Instant,
}

impl RequestTimer<'_> {
    /// The call is over.
    pub fn done(self, result: CallResult) {
        let labels = VerbLabels {
            cluster: Arc::clone(self.cluster),
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

/// Makes a series exist, at 0.
fn appear<S: Clone + Hash + Eq, M, C: MetricConstructor<M>>(family: &Family<S, M, C>, labels: &S) {
    drop(family.get_or_create(labels));
}

fn reconcile_labels(result: Reconciled) -> ReconcileLabels {
    ReconcileLabels {
        controller: CONTROLLER,
        result: result.as_str(),
    }
}

fn request_labels(cluster: &Arc<str>, verb: Verb, result: CallResult) -> RequestLabels {
    RequestLabels {
        cluster: Arc::clone(cluster),
        verb: verb.as_str(),
        result: result.as_str(),
    }
}

fn decision_labels(cluster: &Arc<str>, decision: &'static str, why: Why) -> DecisionLabels {
    DecisionLabels {
        cluster: Arc::clone(cluster),
        decision,
        why: why.as_str(),
    }
}

/// The OpenMetrics text of a registry.
pub fn encode(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    text::encode(&mut out, registry)?;
    Ok(out)
}

/// The content type of [`encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
