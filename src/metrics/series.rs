//! The series: their labels, their registration, and that each exists from the start.

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

use super::{CONTROLLER, CallResult, Found, Metrics, Part, Reconciled, Verb};
use crate::domain::{
    alert::Ignored,
    alert_result::AlertResult,
    classify::{Class, Classifier, Verdict},
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
    IgnoredLabels { cluster: Arc<str>, why: &'static str },
    VerdictLabels { class: &'static str, rule: &'static str },
    DecisionLabels { cluster: Arc<str>, decision: &'static str, why: &'static str },
    RestartLabels { cluster: Arc<str>, action: &'static str },
    EndLabels { cluster: Arc<str>, result: &'static str },
    RuleLabels { rule: &'static str },
    RuleEndLabels { rule: &'static str, result: &'static str },
    FoundLabels { cluster: Arc<str>, when: &'static str },
    FailingLabels { cluster: Arc<str>, class: &'static str },
    ClusterLabels { cluster: Arc<str> },
    PanicLabels { part: &'static str },
    RequestLabels { cluster: Arc<str>, verb: &'static str, result: &'static str },
    VerbLabels { cluster: Arc<str>, verb: &'static str },
    ControllerLabels { controller: &'static str },
    ReconcileLabels { controller: &'static str, result: &'static str },
}

pub(super) type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

impl Metrics {
    /// Registers everything, and makes every series of these clusters appear.
    pub fn register<'a>(
        &self,
        clusters: impl IntoIterator<Item = &'a Arc<str>>,
        classifier: &Classifier,
    ) -> Registry {
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
            "tokens_resent",
            "Further tokens for a restart, because Flux swallowed the one before",
            self.resent.clone(),
        );
        own.register(
            "restarts_by_rule",
            "Restarts written, by the rule that named the cause",
            self.restarts_by_rule.clone(),
        );
        own.register(
            "restart_ends_by_rule",
            "Restarts whose end was seen, by the rule that named the cause",
            self.ends_by_rule.clone(),
        );
        own.register(
            "found_by_sweep",
            "Failing releases the sweep found and no alert had announced",
            self.found.clone(),
        );
        own.register(
            "failing_releases",
            "Releases that fail, but for those that are suspended or opted out, by the class of their cause, as the sweep sees them",
            self.failing.clone(),
        );
        own.register(
            "last_sweep_timestamp_seconds",
            "When all releases were last known to have been looked at by this replica; 0 if never",
            self.last_sweep.clone(),
        );
        own.register(
            "restarts_in_flight",
            "Restarts whose end has not been seen",
            self.in_flight.clone(),
        );
        own.register(
            "breakers_open",
            "Causes that so many releases share that one is tried at first",
            self.breakers.clone(),
        );
        own.register(
            "cluster_up",
            "1 while the cluster has a key, a kubeconfig that can be used, and an API server that answers",
            self.up.clone(),
        );
        own.register(
            "start_time_seconds",
            "When this process began to serve",
            self.start_time.clone(),
        );
        own.register(
            "paused",
            "1 while the pause file keeps everything from being written",
            self.paused.clone(),
        );
        own.register(
            "panics",
            "Internal errors that were caught, by what they interrupted; each is a fault of helmreboot",
            self.panics.clone(),
        );
        own.register(
            "gave_up",
            "Releases given up after their last restart",
            self.gave_up.clone(),
        );
        own.register(
            "alert_to_restart_seconds",
            "From the alert, or the end of a wait, to the restart it led to",
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
        self.touch(clusters, classifier);
        registry
    }

    /// Creates each series that can ever appear, at 0.
    fn touch<'a>(&self, clusters: impl IntoIterator<Item = &'a Arc<str>>, classifier: &Classifier) {
        for class in Class::ALL.iter().copied() {
            let rules = classifier.entries().iter().map(|entry| entry.rule);
            let rules = rules.filter(|rule| rule.class == class);
            let rules = rules.map(|rule| rule.name);
            for rule in rules.chain((class == Class::Unknown).then_some(Verdict::NO_RULE)) {
                appear(
                    &self.verdicts,
                    &VerdictLabels {
                        class: class.as_str(),
                        rule,
                    },
                );
                if class == Class::Permanent {
                    continue;
                }
                appear(&self.restarts_by_rule, &RuleLabels { rule });
                for end in RestartOutcome::ALL {
                    let result = end.as_str();
                    appear(&self.ends_by_rule, &RuleEndLabels { rule, result });
                }
            }
        }
        for answer in AlertResult::ALL {
            appear(&self.alerts, &alert_labels(Arc::default(), *answer));
        }
        for part in Part::ALL {
            let part = part.as_str();
            appear(&self.panics, &PanicLabels { part });
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
        for answer in AlertResult::ALL
            .iter()
            .filter(|answer| answer.knows_cluster())
        {
            appear(&self.alerts, &alert_labels(Arc::clone(cluster), *answer));
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
        for why in Reason::ALL {
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
        for end in RestartOutcome::ALL {
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
        let labels = cluster_labels(cluster);
        for when in Found::ALL {
            appear(&self.found, &found_labels(cluster, *when));
        }
        for counter in [&self.gave_up, &self.resent] {
            appear(counter, &labels);
        }
        for class in Class::ALL {
            appear(&self.failing, &failing_labels(cluster, *class));
        }
        for gauge in [&self.in_flight, &self.breakers, &self.up] {
            appear(gauge, &labels);
        }
        appear(&self.last_sweep, &labels);
        appear(&self.delay, &labels);
        appear(&self.queue, &labels);
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
    why: Reason,
) -> DecisionLabels {
    DecisionLabels {
        cluster: Arc::clone(cluster),
        decision,
        why: why.as_str(),
    }
}
