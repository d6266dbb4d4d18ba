//! Who plays in the demo: what each release fails of, what the world does about it, how it must end.

use serde_json::{Value, json};

use crate::demo::fake_cluster::Key;

/// The embedded clusters.
pub(crate) const CLUSTERS: [&str; 2] = ["prod-eu", "prod-us"];

/// A release and its fate.
pub(super) struct Role {
    pub(super) cluster: &'static str,
    pub(super) release: &'static str,
    pub(super) story: &'static str,
    pub(super) spec: fn() -> Value,
    /// What the world does once, and when.
    pub(super) turn: Option<(Cue, Turn)>,
    /// The last word of the decision table.
    pub(super) expected: &'static str,
    pub(super) restarts: i64,
    /// Further tokens, uncharged, because Flux swallowed one.
    pub(super) resent: i64,
}

/// When the world does something.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Cue {
    /// Flux sent the first alert about it.
    Alerted,
    /// Flux has given it up.
    Stalled,
}

/// What the world does.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Turn {
    Heal(&'static str),
    Suspend,
    /// A dependency goes away, and comes back when Flux has noticed.
    LoseDependency,
}

pub(super) const ROLES: [Role; 7] = [
    Role {
        cluster: "prod-eu",
        release: "shop/checkout",
        story: "slow start",
        spec: || spec("slow", json!({})),
        turn: Some((Cue::Stalled, Turn::Heal("its pods are up at last"))),
        expected: "recovered",
        restarts: 1,
        resent: 0,
    },
    Role {
        cluster: "prod-eu",
        release: "shop/payments",
        story: "admission webhook hangs",
        spec: || spec("webhook", json!({})),
        turn: Some((Cue::Stalled, Turn::Heal("the webhook answers again"))),
        expected: "recovered",
        restarts: 1,
        resent: 0,
    },
    Role {
        cluster: "prod-eu",
        release: "shop/search",
        story: "immutable field changed",
        spec: || spec("immutable", json!({})),
        turn: None,
        expected: "permanent",
        restarts: 0,
        resent: 0,
    },
    Role {
        cluster: "prod-us",
        release: "team/frontend",
        story: "rolled back by Flux",
        spec: || {
            spec(
                "ok",
                json!({
            "upgrade": {"remediation": {"retries": 0, "remediateLastFailure": true, "strategy": "rollback"}}}),
            )
        },
        turn: None,
        expected: "rolled-back",
        restarts: 0,
        resent: 0,
    },
    Role {
        cluster: "prod-us",
        release: "team/reports",
        story: "suspended by a person",
        spec: || spec("webhook", json!({})),
        turn: Some((Cue::Alerted, Turn::Suspend)),
        expected: "suspended",
        restarts: 0,
        resent: 0,
    },
    Role {
        cluster: "prod-us",
        release: "team/queue",
        story: "never gets ready",
        spec: || spec("webhook", json!({})),
        turn: None,
        expected: "budget-spent",
        restarts: 3,
        resent: 0,
    },
    Role {
        cluster: "prod-us",
        release: "team/cache",
        story: "token swallowed by Flux",
        spec: || {
            spec(
                "webhook",
                json!({
            "dependsOn": [{"name": "database"}]}),
            )
        },
        turn: Some((Cue::Stalled, Turn::LoseDependency)),
        expected: "recovered",
        restarts: 1,
        resent: 1,
    },
];

fn spec(mode: &str, more: Value) -> Value {
    let mut spec = json!({"interval": "1h", "timeout": "6s", "values": {"mode": mode},
        "chart": {"spec": {"chart": "app", "version": "1.0.0",
            "sourceRef": {"kind": "HelmRepository", "name": "charts", "namespace": "flux-system"}}}});
    json_patch::merge(&mut spec, &more);
    json!({"spec": spec})
}

impl Role {
    pub(super) fn key(&self) -> Key {
        let (namespace, name) = self
            .release
            .split_once('/')
            .unwrap_or(("default", self.release));
        Key::new(namespace, name)
    }
}
