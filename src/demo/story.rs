//! What happens in the demo: who fails of what, what the world does about it, and how it must end.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::{Service, ServiceExt};

use super::{
    Spoke, breathe,
    fake_cluster::Key,
    fake_flux::{Alert, over_http},
    last_word,
    narrator::{End, Narrator, Who},
    words,
};
use crate::domain::{
    journal::Journal,
    ledger::{GAVE_UP, RESTARTS},
    signature::{Key as SigningKey, SIGNATURE_HEADER, Secret},
};

mod roles;
pub(super) use roles::CLUSTERS;
use roles::{Cue, ROLES, Role, Turn};

/// The longest the story may take, in its own seconds.
const LONGEST: f64 = 200.0;

/// What the story remembers of a role.
#[derive(Default)]
struct Progress {
    turned: bool,
    upgraded: bool,
    dependency_back: bool,
}

/// Plays the story and prints it, until every release has its end.
pub(super) async fn play(
    spokes: &[Spoke],
    journal: &Journal,
    narrator: &mut Narrator,
    speed: f64,
) -> Vec<End> {
    let spoke = |role: &Role| {
        spokes
            .iter()
            .find(|spoke| spoke.name == role.cluster)
            .expect("a role plays in a cluster")
    };
    for role in &ROLES {
        spoke(role).cluster.apply(&role.key(), &(role.spec)());
    }
    let deadline = Instant::now() + Duration::from_secs_f64(LONGEST / speed);
    let mut progress: Vec<Progress> = ROLES.iter().map(|_| Progress::default()).collect();
    let (mut printed, mut sent, mut refused) = (0, vec![0; spokes.len()], None);
    let mut over = false;
    loop {
        tell_alerts(spokes, &mut sent, narrator);
        let (entries, next) = journal.since(printed);
        printed = next;
        for entry in entries {
            let Some(release) = entry.about.release() else {
                continue;
            };
            let name = format!("{}/{}", release.namespace, release.name);
            narrator.event(Who::Helmreboot, &release.cluster, &name, &words(&entry));
        }
        for (role, progress) in ROLES.iter().zip(&mut progress) {
            turn(role, progress, spoke(role), narrator);
        }
        if refused.is_none()
            && let Some(alert) = spokes[0].flux.alerts().first()
        {
            refused = Some(forge(&spokes[0], alert, narrator).await);
        }
        if over || Instant::now() > deadline {
            break;
        }
        over = ROLES
            .iter()
            .all(|role| end(role, spoke(role), journal).as_expected);
        breathe(speed).await;
    }
    let mut ends: Vec<_> = ROLES
        .iter()
        .map(|role| end(role, spoke(role), journal))
        .collect();
    let refused = refused == Some((StatusCode::UNAUTHORIZED, StatusCode::ACCEPTED));
    ends.push(End {
        cluster: spokes[0].name,
        release: "shop/checkout".into(),
        story: "forged alert",
        restarts: 0,
        became: if refused {
            "turned away".into()
        } else {
            "taken".into()
        },
        expected: "turned away".into(),
        as_expected: refused,
    });
    ends
}

fn tell_alerts(spokes: &[Spoke], sent: &mut [usize], narrator: &Narrator) {
    for (spoke, sent) in spokes.iter().zip(sent) {
        let alerts = spoke.flux.alerts();
        for alert in &alerts[*sent..] {
            let event: Value = serde_json::from_str(&alert.body).unwrap_or_default();
            let object = &event["involvedObject"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let release = format!("{}/{}", text(&object["namespace"]), text(&object["name"]));
            let cause = text(&event["message"]);
            let cause = cause.split("\n\n").next().unwrap_or_default();
            let cause = cause
                .split_once("1.0.0: ")
                .map_or(cause, |(_, cause)| cause)
                .replace("\n\t", " ");
            let short: String = cause.chars().take(88).collect();
            narrator.event(
                Who::Flux,
                spoke.name,
                &release,
                &format!("alert {}: {short}", alert.reason),
            );
        }
        *sent = alerts.len();
    }
}

/// The world does its part, once.
fn turn(role: &Role, progress: &mut Progress, spoke: &Spoke, narrator: &Narrator) {
    let key = role.key();
    let Some(object) = spoke.cluster.get(&key) else {
        return;
    };
    let is = |kind: &str, field: &str, value: &str| {
        let conditions = object["status"]["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == kind && condition[field] == value)
    };
    if role.expected == "rolled-back" && !progress.upgraded && is("Ready", "status", "True") {
        progress.upgraded = true;
        narrator.event(
            Who::Demo,
            role.cluster,
            role.release,
            "a new version is merged that does not start",
        );
        spoke
            .cluster
            .apply(&key, &json!({"spec": {"values": {"mode": "slow"}}}));
    }
    let database = Key::new(&key.namespace, "database");
    if progress.turned && !progress.dependency_back && is("Ready", "reason", "DependencyNotReady") {
        progress.dependency_back = true;
        narrator.event(
            Who::Demo,
            role.cluster,
            role.release,
            "its database is back",
        );
        spoke.flux.set_ready(&database, true);
    }
    let Some((cue, turn)) = role.turn.filter(|_| !progress.turned) else {
        return;
    };
    let due = match cue {
        Cue::Alerted => spoke
            .flux
            .alerts()
            .iter()
            .any(|alert| alert.name == key.name),
        Cue::Stalled => is("Stalled", "status", "True"),
    };
    if !due {
        return;
    }
    progress.turned = true;
    let print = |text: &str| narrator.event(Who::Demo, role.cluster, role.release, text);
    match turn {
        Turn::Heal(why) => {
            print(why);
            spoke.flux.remove_cause(&key);
        }
        Turn::Suspend => {
            print("a person suspends it");
            spoke
                .cluster
                .apply(&key, &json!({"spec": {"suspend": true}}));
        }
        Turn::LoseDependency => {
            print("its webhook answers again, but its database is down");
            spoke.flux.remove_cause(&key);
            spoke.flux.set_ready(&database, false);
        }
    }
}

/// A sender without the key sends an alert, and another sends a recorded one again.
async fn forge(spoke: &Spoke, alert: &Alert, narrator: &Narrator) -> (StatusCode, StatusCode) {
    let stranger = SigningKey::new(Secret::new("a guess").expect("not empty"), None);
    let forged = post(spoke, &alert.body, &stranger.sign(alert.body.as_bytes())).await;
    narrator.event(
        Who::Demo,
        spoke.name,
        "shop/checkout",
        &format!("a sender without the key sends an alert: {forged}"),
    );
    let replayed = post(spoke, &alert.body, &spoke.key.sign(alert.body.as_bytes())).await;
    narrator.event(
        Who::Demo,
        spoke.name,
        "shop/checkout",
        &format!("a recorded alert is sent again: {replayed}, dropped as a duplicate"),
    );
    (forged, replayed)
}

async fn post(spoke: &Spoke, body: &str, signature: &str) -> StatusCode {
    let request = Request::post(&spoke.address)
        .header(header::CONTENT_TYPE, "application/json")
        .header(SIGNATURE_HEADER, signature)
        .body(Body::from(body.to_owned()));
    let Ok(request) = request else {
        return StatusCode::BAD_REQUEST;
    };
    let mut transport = over_http();
    let Ok(transport) = transport.ready().await else {
        return StatusCode::BAD_GATEWAY;
    };
    transport
        .call(request)
        .await
        .map_or(StatusCode::BAD_GATEWAY, |response| response.status())
}

/// What has become of a role so far, seen in its cluster and in what helmreboot wrote there.
fn end(role: &Role, spoke: &Spoke, journal: &Journal) -> End {
    let key = role.key();
    let object = spoke.cluster.get(&key).unwrap_or_default();
    let annotation = |name: &str| object["metadata"]["annotations"][name].as_str();
    let restarts = annotation(RESTARTS)
        .and_then(|attempts| attempts.parse().ok())
        .unwrap_or_default();
    let last = last_word(journal, role.cluster, &key.namespace, &key.name);
    let conditions = object["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let gave_up = annotation(GAVE_UP).is_some();
    // One patch for each restart, one for giving up, and no others.
    let path = format!("/{}/helmreleases/{}?", key.namespace, key.name);
    let writes = spoke
        .cluster
        .calls()
        .iter()
        .filter(|call| call.verb == "patch" && call.uri.contains(&path))
        .count();
    let expected_writes = role.restarts + role.resent + i64::from(role.expected == "budget-spent");
    let became = last.unwrap_or("still open").to_owned();
    let as_expected = became == role.expected
        && restarts == role.restarts
        && ready == (role.expected == "recovered")
        && gave_up == (role.expected == "budget-spent")
        && i64::try_from(writes) == Ok(expected_writes);
    let expected = format!("{} after {} restarts", role.expected, role.restarts);
    End {
        cluster: role.cluster,
        release: role.release.into(),
        story: role.story,
        restarts,
        became,
        expected,
        as_expected,
    }
}
