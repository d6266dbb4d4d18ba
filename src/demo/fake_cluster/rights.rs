//! Rights: what RBAC lets the caller do with HelmReleases.

use super::{FakeCluster, path::Path};

/// Verbs, everywhere or in some namespaces. Discovery is allowed to all.
#[derive(Clone, Debug)]
pub struct Rights {
    /// As RBAC spells them.
    pub verbs: Vec<String>,
    /// Where they hold; `None` is everywhere, as a ClusterRole bound by a ClusterRoleBinding.
    pub namespaces: Option<Vec<String>>,
}

impl Rights {
    /// A list or watch of everything at once takes rights everywhere.
    fn allow(&self, verb: &str, namespace: Option<&str>) -> bool {
        let here = self.namespaces.as_ref().is_none_or(|namespaces| {
            namespace.is_some_and(|namespace| namespaces.iter().any(|it| it == namespace))
        });
        verb == "discover" || here && self.verbs.iter().any(|it| it == verb)
    }
}

impl FakeCluster {
    /// From now on the caller may do just this.
    pub fn grant(&self, rights: Rights) {
        self.lock().rights = Some(rights);
    }

    pub(super) fn forbids(&self, verb: &str, path: &Path) -> bool {
        let inner = self.lock();
        let rights = inner.rights.as_ref();
        // Those on Leases are apart.
        path.plural == "helmreleases"
            && rights.is_some_and(|rights| !rights.allow(verb, path.namespace.as_deref()))
    }
}
