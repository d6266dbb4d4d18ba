//! Switches: what goes wrong between a client and the API server.

use std::time::Duration;

use super::{FakeCluster, path::Path};

/// A switch: what happens to requests instead of, or before, their normal handling.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The verb it strikes; `None` is every one.
    pub verb: Option<&'static str>,
    /// How many calls it strikes.
    pub times: u32,
    /// What happens.
    pub kind: FaultKind,
}

/// What a fault does.
#[derive(Clone, Copy, Debug)]
pub enum FaultKind {
    /// The call is refused with this status: 403, 429, 500, 503 ...
    Refuse(u16),
    /// The request takes that long, and then continues.
    Slow(Duration),
    /// The call is carried out, and its answer takes that long.
    SlowAnswer(Duration),
    /// The call is carried out, and its answer lost.
    LoseAnswer,
    /// The body of the answer comes in a hundred parts, each after so long a pause.
    SlowBody(Duration),
    /// A list takes that long for each object that it requests.
    SlowItems(Duration),
    /// Another client writes the object just before the request: a stale `resourceVersion`.
    WriteBefore,
}

impl FakeCluster {
    /// The faults that strike this call, each used up by one.
    pub(super) fn strike(&self, verb: &'static str, path: &Path) -> Vec<FaultKind> {
        let forbidden = self.forbids(verb, path);
        let mut struck = Vec::from_iter(forbidden.then_some(FaultKind::Refuse(403)));
        let mut inner = self.lock();
        for fault in &mut inner.faults {
            if fault.times > 0 && fault.verb.is_none_or(|wanted| wanted == verb) {
                fault.times -= 1;
                struck.push(fault.kind);
            }
        }
        inner.faults.retain(|fault| fault.times > 0);
        struck
    }
}
