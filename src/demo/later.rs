//! What happens after the story while the page is open: releases fail and recover, again and again.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{Spoke, fake_cluster::Key};

/// The time between two scenes, at speed 1.
const PAUSE: Duration = Duration::from_secs(20);

/// For so long a cause lasts, at speed 1. It is shorter than the backoff after the last restart.
const LASTS: Duration = Duration::from_secs(30);

/// Releases that fail together. More than the threshold of the circuit breaker.
const TOGETHER: usize = 7;

/// Releases of the scene with a permanent cause that stay on the page.
const STAY: usize = 3;

/// Plays one scene after the other. Does not return.
pub(super) async fn go_on(spokes: &[Spoke], speed: f64) {
    let pause = |duration: Duration| sleep(duration.div_f64(speed / super::HURRY));
    for round in 0_usize.. {
        let spoke = &spokes[round % spokes.len()];
        let name = |role: &str| Key::new("later", &format!("{role}-{round}"));
        match round % 3 {
            0 => {
                let key = name("slow");
                apply(spoke, &key, "slow");
                pause(LASTS).await;
                spoke.flux.remove_cause(&key);
            }
            1 => {
                let keys: Vec<_> = (0..TOGETHER)
                    .map(|number| name(&format!("shared-{number}")))
                    .collect();
                keys.iter().for_each(|key| apply(spoke, key, "webhook"));
                pause(LASTS).await;
                keys.iter().for_each(|key| spoke.flux.remove_cause(key));
            }
            _ => apply(spoke, &name("fixed"), "immutable"),
        }
        // A person corrects the oldest release with a permanent cause, in Git.
        if let Some(old) = round.checked_sub(3 * STAY).filter(|old| old % 3 == 2) {
            let spoke = &spokes[old % spokes.len()];
            apply(spoke, &Key::new("later", &format!("fixed-{old}")), "ok");
        }
        pause(PAUSE).await;
    }
}

fn apply(spoke: &Spoke, key: &Key, mode: &str) {
    let spec = json!({"timeout": "30s", "values": {"mode": mode}});
    spoke.cluster.apply(key, &json!({"spec": spec}));
}
