//! The queue of releases that wait for a slot, and the slots that are reserved.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::domain::{alert::ReleaseRef, fingerprint::Fingerprint};

/// Releases that wait for one of the slots of running restarts.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// By cause, in the order in which they began to wait.
    waiting: BTreeMap<Fingerprint, BTreeMap<u64, ReleaseRef>>,
    /// Where each waits.
    places: BTreeMap<ReleaseRef, (Fingerprint, u64)>,
    /// Those that were woken, with their causes: a slot is kept for each until it has asked again.
    reserved: BTreeMap<ReleaseRef, Fingerprint>,
    arrivals: u64,
}

impl Slots {
    /// A release waits, unless it does already.
    pub(super) fn wait(&mut self, release: &ReleaseRef, cause: &Fingerprint) {
        let known = self.places.get(release);
        if known.is_some_and(|(known, _)| known == cause) {
            return;
        }
        self.leave(release);
        let number = self.arrivals;
        self.arrivals += 1;
        let same = self.waiting.entry(cause.clone()).or_default();
        same.insert(number, release.clone());
        self.places.insert(release.clone(), (cause.clone(), number));
    }

    /// Whether a release waits.
    pub(super) fn waits(&self, release: &ReleaseRef) -> bool {
        self.places.contains_key(release)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.places.len()
    }

    /// A release neither waits nor is a slot kept for it.
    pub(super) fn leave(&mut self, release: &ReleaseRef) {
        self.reserved.remove(release);
        let Some((cause, number)) = self.places.remove(release) else {
            return;
        };
        if let Entry::Occupied(mut same) = self.waiting.entry(cause) {
            same.get_mut().remove(&number);
            if same.get().is_empty() {
                same.remove();
            }
        }
    }

    /// Removes the waiting releases of a cause for which `stays` is false, and returns them.
    pub(super) fn leave_for(
        &mut self,
        cause: &Fingerprint,
        stays: impl Fn(&ReleaseRef) -> bool,
    ) -> Vec<ReleaseRef> {
        let same = self.waiting.get(cause);
        let all = same.into_iter().flat_map(BTreeMap::values);
        let left: Vec<_> = all.filter(|release| !stays(release)).cloned().collect();
        left.iter().for_each(|release| self.leave(release));
        left
    }

    /// The release that has waited longest of those that can go. Of one cause, only the first is asked
    /// about: what holds it back holds back those after it too.
    pub(super) fn next(
        &self,
        can_go: impl Fn(&ReleaseRef, &Fingerprint) -> bool,
    ) -> Option<&ReleaseRef> {
        let first = self.waiting.iter().filter_map(|(cause, same)| {
            let (number, release) = same.first_key_value()?;
            can_go(release, cause).then_some((number, release))
        });
        first.min().map(|(_, release)| release)
    }

    /// Keeps a slot for a release that waits.
    pub(super) fn reserve(&mut self, release: &ReleaseRef) {
        if let Some((cause, _)) = self.places.get(release).cloned() {
            self.leave(release);
            self.reserved.insert(release.clone(), cause);
        }
    }

    /// No slot is kept for a release any more.
    pub(super) fn withdraw(&mut self, release: &ReleaseRef) {
        self.reserved.remove(release);
    }

    /// Releases that a slot is kept for.
    pub(super) fn all_reserved(&self) -> impl Iterator<Item = &ReleaseRef> {
        self.reserved.keys()
    }

    pub(super) fn is_reserved(&self, release: &ReleaseRef) -> bool {
        self.reserved.contains_key(release)
    }

    /// How many slots are kept for such releases.
    pub(super) fn reserved(&self, counts: impl Fn(&ReleaseRef, &Fingerprint) -> bool) -> usize {
        let reserved = self.reserved.iter();
        reserved
            .filter(|(release, cause)| counts(release, cause))
            .count()
    }
}
