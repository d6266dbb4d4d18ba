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
                r"cannot re-?use a name that is still in use",
                r"already exists and is not managed",
                r"annotation validation error: |label validation error: ",
            ],
            "the object or name belongs to another release",
            STORAGE,
        ),
        permanent(
            "helm-storage",
            &[
                r"has no deployed releases|release: not found",
                r"with status '(uninstalling|unknown)'",
                r"does not allow a safe upgrade|corrupted release record",
                r"failed to decode data",
                r"no (release|revision)s? (provided|found)|[Nn]o revision for release",
                r"release has no \S+ version|the release named \S+ is already deleted",
                r"(illegal base64 data|failed to decode release)",
            ],
            "Helm's own record needs repair",
            STORAGE,
        ),
        permanent(
            "not-in-cluster",
            &[concat!(
                r#"no \w+ with the name "[^"]*" found|original object \S+ with the "#,
                r#"name "[^"]*" not found"#
            )],
            "Helm's record and the cluster do not fit together",
            "helm/helm:pkg/kube/client.go",
        ),
        permanent(
            "release-not-loaded",
            &[
                r"[Rr]elease not loaded|unable to build kubernetes objects",
                r"failed to get last release revision",
            ],
            "Helm cannot work with its own record",
            STORAGE,
        )
        .fallback(),
        permanent(
            "release-name",
            &[
                r"release name \S+( is invalid|: | exceeds)|invalid release name",
                r"exceeds max length of 53|must be no more than 63 characters",
                r"must be no more than 52",
            ],
            "the name is not one that Helm or Kubernetes takes",
            STORAGE,
        ),
        permanent(
            "too-large",
            &[
                r"Too long: |status code 413|[Rr]equest [Ee]ntity [Tt]oo [Ll]arge",
                r"request is too large",
                r"larger than max|(is|body) too large",
                r"exceeds? (the max(imum)?\b|MaxBytes|(size|max) limit|'?\d+'? bytes)",
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
                r"another operation \(install/upgrade/rollback\) is in progress",
                r"release (is )?locked",
            ],
            "Flux unlocks it on the next try (helm-controller >= 0.37)",
            STORAGE,
        ),
        transient(
            "helm-record-race",
            &[concat!(
                r#"secrets "sh\.helm\.release\.v1\.[^"]*" (already exists|not found)|"#,
                r"release: already exists"
            )],
            "two writers met at Helm's record of the release",
            STORAGE,
        )
        .budget(60),
    ],
};
