//! Helm's record of releases, and whose objects are whose.

use super::{Family, permanent, transient};

const STORAGE: &str = "helm/helm:pkg/storage, pkg/action";

pub(super) const FAMILY: Family = Family {
    name: "helm",
    about: "Helm's own records, names and ownership",
    rules: &[
        permanent(
            "adoption",
            &[
                r"invalid ownership metadata|exists and cannot be imported",
r"cannot re-use a name that is still in use|already exists and is not managed",
r"annotation validation error: |label validation error: ",
            ],
            "the object or name belongs to another release",
            STORAGE,
        ),
        permanent(
            "helm-storage",
            &[
                r"has no deployed releases|release: not found|with status '(uninstalling|unknown)'",
r"does not allow a safe upgrade|corrupted release record|failed to decode data",
r"no (release|revision)s? (provided|found)|[Nn]o revision for release",
r"release has no \S+ version|the release named \S+ is already deleted",
r"(illegal base64 data|failed to decode release)",
            ],
            "Helm's own record needs repair",
            STORAGE,
        ),
        permanent("not-in-cluster", &[r#"no \w+ with the name "[^"]*" found|original object \S+ with the name "[^"]*" not found"#],
            "Helm's record and the cluster do not fit together", "helm/helm:pkg/kube/client.go"),
        permanent("release-not-loaded", &[r"[Rr]elease not loaded|unable to build kubernetes objects|failed to get last release revision"],
            "Helm cannot work with its own record", STORAGE).fallback(),
        permanent(
            "release-name",
            &[
                r"release name \S+( is invalid|: | exceeds)|invalid release name",
r"exceeds max length of 53|must be no more than 63 characters|must be no more than 52",
            ],
            "the name is not one that Helm or Kubernetes takes",
            STORAGE,
        ),
        permanent(
            "too-large",
            &[
                r"Too long: |status code 413|[Rr]equest [Ee]ntity [Tt]oo [Ll]arge|request is too large",
r"larger than max|(is|body) too large|exceeds? (the maximum|MaxBytes|(size|max) limit)",
r"(greater|bigger) than (the )?max|may not be more than \d+ bytes",
r"trying to send message larger",
            ],
            "the release does not fit into its storage",
            "k8s.io/apimachinery:pkg/util/validation, etcd",
        ),
        permanent(
            "invalid-operation",
            &[r"invalid operation: |cannot use force|mutually exclusive"],
            "the chosen options exclude each other",
            STORAGE,
        ),
        transient(
            "helm-lock",
            &[
                r"another operation \(install/upgrade/rollback\) is in progress|release (is )?locked",
            ],
            "Flux unlocks it on the next try (helm-controller >= 0.37)",
            STORAGE,
        ),
        transient(
            "helm-record-race",
            &[r#"secrets "sh\.helm\.release\.v1\.[^"]*" (already exists|not found)|release: already exists"#],
            "two writers met at Helm's record of the release",
            STORAGE,
        )
        .budget(60),
    ],
};
