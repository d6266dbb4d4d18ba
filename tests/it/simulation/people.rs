//! Who changes things: people, Git, and the world in which causes come and go.

use helmreboot::demo::fake_cluster::Key;
use serde_json::{Value, json};

use super::{Fate, scene::Land};

/// What some releases depend on.
pub(super) fn dependency() -> Key {
    Key::new("apps", "database")
}

/// Puts a release into a cluster.
pub(super) fn create(land: &mut Land, number: u64, limits: bool, fate: &Fate) {
    let key = Key::new("apps", &format!("r{number}"));
    let mode = if limits {
        "webhook"
    } else {
        fate.one_of(&[
            "webhook",
            "webhook",
            "slow",
            "slow",
            "ok",
            "ok",
            "stalled",
            "immutable",
            "fail",
            "badname",
        ])
    };
    let spec = spec(mode, fate);
    fate.note(|| format!("{}: somebody creates {}: {spec}", land.name, key.name));
    land.cluster.apply(&key, &json!({"spec": spec}));
    if !land.releases.contains(&key) {
        land.releases.push(key);
    }
}

fn spec(mode: &str, fate: &Fate) -> Value {
    let mut spec = json!({"interval": "1h", "timeout": fate.one_of(&["10s", "30s", "2m"]),
        "values": {"mode": mode},
        "chart": {"spec": {"chart": "app", "version": fate.one_of(&["1.0.0", "1.1.0"])}}});
    for action in ["install", "upgrade"] {
        if fate.chance(0.25) {
            spec[action] = json!({"remediation": {"retries": fate.number(0..3),
                "remediateLastFailure": fate.chance(0.4), "strategy": fate.one_of(&["rollback", "uninstall"])}});
        }
    }
    if fate.chance(0.06) {
        spec["upgrade"] = json!({"strategy": {"name": "RetryOnFailure", "retryInterval": "3m"}});
    }
    if fate.chance(0.3) {
        spec["dependsOn"] = json!([{"name": dependency().name}]);
    }
    spec
}

/// What `git` wants `requestedAt` to be, where it wants anything.
pub(super) const FROM_GIT: &str = "2026-01-01T00:00:00Z";

/// Configurations that a release alternates between: by values from a ConfigMap, which leave the generation
/// as it is, or by Git, which does not.
pub(super) fn flip(land: &Land, variants: u64, fate: &Fate) {
    let key = fate.one_of(&land.releases);
    let variant = fate.number(0..variants);
    fate.note(|| format!("{}: {} flips to variant {variant}", land.name, key.name));
    if fate.chance(0.8) {
        land.flux
            .set_values_from(&key, &format!("variant: {variant}"));
    } else if land.cluster.get(&key).is_some() {
        land.cluster
            .apply(&key, &json!({"spec": {"values": {"note": variant}}}));
    }
}

/// Somebody does something.
pub(super) fn act(land: &mut Land, fate: &Fate) {
    let key = fate.one_of(&land.releases);
    let annotate = |name: &str, value: Value| {
        fate.note(|| {
            format!(
                "{}: somebody sets {name}={value} on {}",
                land.name, key.name
            )
        });
        land.cluster
            .apply(&key, &json!({"metadata": {"annotations": {name: value}}}));
    };
    let object = land.cluster.get(&key);
    let said = |what: &str| fate.note(|| format!("{}: {what} {}", land.name, key.name));
    match fate.number(0..40) {
        0 => {
            fate.fault(|| format!("{}: helm-controller is away", land.name));
            land.flux.set_running(false);
            let (flux, away) = (land.flux.clone(), fate.seconds(10..900));
            tokio::spawn(async move {
                tokio::time::sleep(away).await;
                flux.set_running(true);
            });
        }
        1..6 => {
            said("the cause is gone for");
            land.flux.remove_cause(&key);
        }
        6..14 => {
            said("the cause is back for");
            land.flux.ail(&key);
        }
        14..17 => {
            said("the dependency is away, as is known to");
            land.flux.set_ready(&dependency(), false);
        }
        17..20 => {
            said("the dependency is there, as is known to");
            land.flux.set_ready(&dependency(), true);
        }
        20..24 => {
            let mode = fate.one_of(&["webhook", "slow", "ok", "immutable"]);
            said(&format!("somebody merges a change ({mode}) of"));
            let change = json!({"mode": mode, "note": fate.number(0..1000)});
            land.cluster
                .apply(&key, &json!({"spec": {"values": change}}));
        }
        24 | 25 => {
            said("somebody suspends");
            land.cluster
                .apply(&key, &json!({"spec": {"suspend": true}}));
        }
        26 | 27 => {
            said("somebody resumes");
            land.cluster
                .apply(&key, &json!({"spec": {"suspend": false}}));
        }
        28 if object.is_some() => {
            said("somebody deletes");
            land.cluster.delete(&key);
        }
        28 | 29 if object.is_none() => {
            let number = key.name[1..].parse().expect("a number");
            create(land, number, false, fate);
        }
        30 | 31 => {
            let token = format!("{:.9}", fate.now());
            said("somebody resets");
            let request = json!({"reconcile.fluxcd.io/requestedAt": token, "reconcile.fluxcd.io/resetAt": token});
            land.cluster
                .apply(&key, &json!({"metadata": {"annotations": request}}));
        }
        32 => annotate(
            "reconcile.fluxcd.io/requestedAt",
            json!(format!("{:.9}", fate.now())),
        ),
        33 => annotate("reconcile.fluxcd.io/requestedAt", json!(FROM_GIT)),
        34 => annotate("helmreboot.io/renew", json!(fate.number(0..3).to_string())),
        35 => annotate(
            "helmreboot.io/enabled",
            fate.one_of(&[
                json!("false"),
                json!("FALSE"),
                json!("no"),
                json!("nope"),
                Value::Null,
                Value::Null,
            ]),
        ),
        36 => annotate(
            "helmreboot.io/limit",
            fate.one_of(&[
                json!("0"),
                json!("1"),
                json!("99"),
                json!("few"),
                Value::Null,
            ]),
        ),
        37 => annotate(
            "helmreboot.io/mode",
            fate.one_of(&[
                json!("observe"),
                json!("Act"),
                json!("dry-run"),
                Value::Null,
                Value::Null,
            ]),
        ),
        38 => annotate(
            "helmreboot.io/limit",
            fate.one_of(&[json!("2"), json!("many"), Value::Null, Value::Null]),
        ),
        _ => {
            let label = json!({"touched": fate.number(0..1000).to_string()});
            land.cluster
                .apply(&key, &json!({"metadata": {"labels": label}}));
        }
    }
}
