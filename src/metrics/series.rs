//! The series: their labels, their registration, and which of them exist from the start.

use std::{hash::Hash, sync::Arc};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        family::{Family, MetricConstructor},
        histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};

use super::{CONTROLLER, CallResult, Destination, Found, Metrics, Part, Reconciled, Verb};
use crate::domain::{
    alert::Ignored,
    alert_result::AlertResult,
    classify::Class,
    decide::Reason,
    ledger::{Action, RestartOutcome},
};

macro_rules! labels {
    ($($name:ident { $($field:ident: $type:ty),+ }),+ $(,)?) => { $(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub(super) struct $name { $(pub(super) $field: $type),+ }
    )+ };
}

labels! {
    AlertLabels { cluster: Arc<str>, result: &'static str },
    IgnoredLabels { reason: &'static str },
    VerdictLabels { class: &'static str, rule: &'static str },
    DecisionLabels { cluster: Arc<str>, decision: &'static str, reason: &'static str },
    RestartLabels { cluster: Arc<str>, action: &'static str },
    OutcomeLabels { cluster: Arc<str>, outcome: &'static str },
    RuleLabels { rule: &'static str },
    RuleOutcomeLabels { rule: &'static str, outcome: &'static str },
    FoundLabels { cluster: Arc<str>, when: &'static str },
    FailingLabels { cluster: Arc<str>, class: &'static str },
    ClusterLabels { cluster: Arc<str> },
    PanicLabels { part: &'static str },
    EventLabels { destination: &'static str, result: &'static str },
    RequestLabels { cluster: Arc<str>, verb: &'static str, result: &'static str },
    VerbLabels { verb: &'static str },
    ControllerLabels { controller: &'static str },
    ReconcileLabels { controller: &'static str, result: &'static str },
}

pub(super) type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

impl Metrics {
    /// Registers all metrics, and creates the series of these clusters that exist from the start.
    pub fn register<'a>(&self, clusters: impl IntoIterator<Item = &'a Arc<str>>) -> Registry {
        let mut registry = Registry::default();
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let own = registry.sub_registry_with_prefix("helmreboot");
        own.register("build", "The running version", version);
        own.register(
            "alerts",
            "Requests at the webhook, by result",
            self.alerts.clone(),
        );
        own.register(
            "alerts_ignored",
            "Accepted alerts that did not lead to a reconcile, by reason",
            self.ignored.clone(),
        );
        own.register(
            "verdicts",
            "Failures classified in reconciles, by class and rule",
            self.verdicts.clone(),
        );
        own.register(
            "decisions",
            "Decisions of reconciles, by reason",
            self.decisions.clone(),
        );
        own.register(
            "restarts",
            "Restarts written to HelmReleases, by action",
            self.restarts.clone(),
        );
        own.register(
            "restart_outcomes",
            "Restarts that ended, by outcome",
            self.outcomes.clone(),
        );
        own.register(
            "tokens_resent",
            "New tokens written because Flux handled the last one and did nothing",
            self.resent.clone(),
        );
        own.register(
            "restarts_by_rule",
            "Restarts written to HelmReleases, by the rule that matched the failure",
            self.restarts_by_rule.clone(),
        );
        own.register(
            "restart_outcomes_by_rule",
            "Restarts that ended, by the rule that matched the failure, and outcome",
            self.outcomes_by_rule.clone(),
        );
        own.register(
            "found_by_watch",
            "Failing HelmReleases found by the watch before any alert arrived",
            self.found.clone(),
        );
        own.register(
            "failing_releases",
            "HelmReleases that fail and are neither suspended nor opted out, by the class of the failure",
            self.failing.clone(),
        );
        own.register(
            "watch_last_success_timestamp_seconds",
            "When this replica last knew the current state of all HelmReleases of the cluster; 0 if never",
            self.watch_success.clone(),
        );
        own.register(
            "restarts_in_flight",
            "Restarts that occupy a slot of limits.inFlight",
            self.in_flight.clone(),
        );
        own.register(
            "breakers_open",
            "Circuit breakers that are open",
            self.breakers.clone(),
        );
        own.register(
            "cluster_up",
            "1 while the cluster has a key, a kubeconfig that can be used, and an API server that answers",
            self.up.clone(),
        );
        own.register(
            "start_time_seconds",
            "When this process started to serve",
            self.start_time.clone(),
        );
        own.register(
            "leader",
            "1 while this replica acts: the leader, every replica that acts without the Lease, or the only one",
            self.leader.clone(),
        );
        own.register(
            "paused",
            "1 while the pause file exists, so that nothing is written",
            self.paused.clone(),
        );
        own.register(
            "panics",
            "Panics that were caught, by the part of the program; each is a bug of helmreboot",
            self.panics.clone(),
        );
        own.register(
            "events",
            "Events about HelmReleases, by destination (kubernetes, flux) and result (delivered, dropped)",
            self.events.clone(),
        );
        own.register(
            "gave_up",
            "HelmReleases given up because their budget was spent",
            self.gave_up.clone(),
        );
        own.register(
            "alert_to_restart_seconds",
            "Time from the alert, or from the end of a wait, to the restart",
            self.delay.clone(),
        );
        own.register(
            "queue_items",
            "HelmReleases in the work queue",
            self.queue.clone(),
        );
        own.register(
            "kubernetes_requests",
            "Requests to API servers, by verb and result",
            self.requests.clone(),
        );
        own.register(
            "kubernetes_request_seconds",
            "Duration of requests to API servers",
            self.request_seconds.clone(),
        );
        let seed = registry.sub_registry_with_prefix("controller_runtime");
        seed.register(
            "reconcile",
            "Reconciles of HelmReleases, by result",
            self.reconciles.clone(),
        );
        seed.register(
            "reconcile_errors",
            "Reconciles of HelmReleases that failed",
            self.reconcile_errors.clone(),
        );
        seed.register(
            "reconcile_time_seconds",
            "Duration of reconciles of HelmReleases",
            self.reconcile_seconds.clone(),
        );
        self.touch(clusters);
        registry
    }

    /// Creates the series that alert rules and panels use, at 0. The first increment of a series that appears later is
    /// no increase for Prometheus.
    fn touch<'a>(&self, clusters: impl IntoIterator<Item = &'a Arc<str>>) {
        for result in AlertResult::ALL {
            appear(&self.alerts, &alert_labels(Arc::default(), *result));
        }
        for reason in Ignored::ALL {
            let reason = reason.as_str();
            appear(&self.ignored, &IgnoredLabels { reason });
        }
        for part in Part::ALL {
            let part = part.as_str();
            appear(&self.panics, &PanicLabels { part });
        }
        for destination in Destination::ALL {
            for delivered in [true, false] {
                appear(&self.events, &event_labels(*destination, delivered));
            }
        }
        for result in Reconciled::ALL {
            appear(&self.reconciles, &reconcile_labels(*result));
        }
        let controller = ControllerLabels {
            controller: CONTROLLER,
        };
        appear(&self.reconcile_errors, &controller);
        appear(&self.reconcile_seconds, &controller);
        for verb in Verb::ALL {
            let verb = verb.as_str();
            appear(&self.request_seconds, &VerbLabels { verb });
        }
        for cluster in clusters {
            self.touch_cluster(cluster);
        }
    }

    /// The series of one cluster, of which there may be a thousand: at most 40.
    fn touch_cluster(&self, cluster: &Arc<str>) {
        let results = AlertResult::ALL.iter();
        for result in results.filter(|result| result.knows_cluster()) {
            appear(&self.alerts, &alert_labels(Arc::clone(cluster), *result));
        }
        for outcome in RestartOutcome::ALL {
            let labels = OutcomeLabels {
                cluster: Arc::clone(cluster),
                outcome: outcome.as_str(),
            };
            appear(&self.outcomes, &labels);
        }
        for action in Action::ALL {
            let labels = RestartLabels {
                cluster: Arc::clone(cluster),
                action: action.as_str(),
            };
            appear(&self.restarts, &labels);
        }
        for verb in Verb::ALL {
            let refused = request_labels(cluster, *verb, CallResult::Forbidden);
            appear(&self.requests, &refused);
        }
        for when in Found::ALL {
            appear(&self.found, &found_labels(cluster, *when));
        }
        for class in Class::ALL {
            appear(&self.failing, &failing_labels(cluster, *class));
        }
        let labels = cluster_labels(cluster);
        for counter in [&self.gave_up, &self.resent] {
            appear(counter, &labels);
        }
        for gauge in [&self.in_flight, &self.breakers, &self.up, &self.queue] {
            appear(gauge, &labels);
        }
        appear(&self.watch_success, &labels);
    }
}

/// Makes a series exist, at 0.
pub(super) fn appear<S: Clone + Hash + Eq, M, C: MetricConstructor<M>>(
    family: &Family<S, M, C>,
    labels: &S,
) {
    drop(family.get_or_create(labels));
}

pub(super) fn cluster_labels(cluster: &Arc<str>) -> ClusterLabels {
    ClusterLabels {
        cluster: Arc::clone(cluster),
    }
}

pub(super) fn event_labels(destination: Destination, delivered: bool) -> EventLabels {
    EventLabels {
        destination: destination.as_str(),
        result: if delivered { "delivered" } else { "dropped" },
    }
}

pub(super) fn failing_labels(cluster: &Arc<str>, class: Class) -> FailingLabels {
    FailingLabels {
        cluster: Arc::clone(cluster),
        class: class.as_str(),
    }
}

pub(super) fn found_labels(cluster: &Arc<str>, when: Found) -> FoundLabels {
    FoundLabels {
        cluster: Arc::clone(cluster),
        when: when.as_str(),
    }
}

/// An empty cluster is one that was not known yet.
pub(super) fn alert_labels(cluster: Arc<str>, answer: AlertResult) -> AlertLabels {
    AlertLabels {
        cluster,
        result: answer.as_str(),
    }
}

pub(super) fn reconcile_labels(result: Reconciled) -> ReconcileLabels {
    ReconcileLabels {
        controller: CONTROLLER,
        result: result.as_str(),
    }
}

pub(super) fn request_labels(cluster: &Arc<str>, verb: Verb, result: CallResult) -> RequestLabels {
    RequestLabels {
        cluster: Arc::clone(cluster),
        verb: verb.as_str(),
        result: result.as_str(),
    }
}

pub(super) fn decision_labels(
    cluster: &Arc<str>,
    decision: &'static str,
    reason: Reason,
) -> DecisionLabels {
    DecisionLabels {
        cluster: Arc::clone(cluster),
        decision,
        reason: reason.as_str(),
    }
}
