//! Charts that cannot be loaded or installed as they are.

use super::{Family, permanent};

const LOADER: &str = "helm/helm:pkg/chart, pkg/action";

pub(super) const FAMILY: Family = Family {
    name: "chart",
    about: "charts that cannot be loaded, or not on this cluster",
    rules: &[
        permanent(
            "kube-version",
            &[
                r"requires kubeVersion|incompatible with Kubernetes",
                r"(unsupported|minimum|requires) (Kubernetes|kubernetes|kube) version",
            ],
            "the chart is not for this version of Kubernetes",
            LOADER,
        ),
        permanent(
            "chart-broken",
            &[
                r"Chart\.yaml file is missing",
                r"Chart\.yaml (file )?(is )?(missing|not found)",
                r"validation: |(missing|not found) in charts/",
                r"cannot load (Chart|values|requirements)\S*\.(yaml|json|lock)",
                r"chart (type|metadata)",
                r"[Ll]ibrary charts? (is|are) not installable|is not installable",
                r"appears to be a gzipped archive",
                r"does not appear to be a (gzipped|valid)",
                r"gzip: invalid header|archive/tar|not a valid chart([^ ]| [^r]|$)",
                r"out of (sync|date) with the dependencies file",
                r"(unable|failed|cannot) to load chart (archive|metadata|from)",
                r"chart file .* (larger|exceeds)|chart is (missing|deprecated)",
                r"illegally (named|nested)",
                r"[Ii]mproper constraint|[Ii]nvalid [Ss]emantic [Vv]ersion",
                r"invalid (chart )?(version|semver)",
                r"can't get a valid version for constraint",
                r"does not match chart version",
                r"chart reference (digest|and version) mismatch",
                r"invalid chart name",
            ],
            "the chart itself is not in order",
            LOADER,
        ),
        permanent(
            "chart-reference",
            &[r"invalid chart reference: "],
            "the chart's name, version or address leads nowhere",
            "fluxcd/source-controller:internal/helm/chart/errors.go",
        )
        .fallback(),
        permanent(
            "removed-api",
            &[
                r"contains removed kubernetes api|deprecated kubernetes api",
                r#"apiVersion "[^"]*" in \S+ is not available"#,
            ],
            "the release uses an API this cluster no longer has",
            LOADER,
        ),
    ],
};
