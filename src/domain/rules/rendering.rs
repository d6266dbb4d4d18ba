//! Templates, values and their schema, YAML.

use super::{Family, permanent, transient};

const ENGINE: &str = "helm/helm:pkg/engine, Go text/template";
const YAML: &str = "sigs.k8s.io/yaml, go.yaml.in/yaml";
const SCHEMA: &str = "helm/helm:pkg/chart/common/util/jsonschema.go";

pub(super) const FAMILY: Family = Family {
    name: "rendering",
    about: "templates, values, schemas, YAML, post-renderers",
    rules: &[
        permanent("template", &[
            r"execution error at \(|\btemplate: \S+:\d+(:\d+)?: |parse error (on|at|in) ",
r"nil pointer evaluating|error calling \w+: |function \x22\w+\x22 not defined",
            r"(map has no entry for key|can't evaluate field|range can't iterate over|wrong type for value; expected|incompatible types for comparison|unclosed action|unexpected \S+ in \w+( clause)?$)",
        ], "the chart does not render with these values", ENGINE),
        permanent("values-schema", &[
            r"values don't meet the specifications of the schema",
r"Additional property \S+ is not allowed|additional properties '[^']*' not allowed",
r"jsonschema validation failed|got \w+, want \w+\b|no URLLoader registered",
r"Does not match pattern|(failed to parse|invalid|unable to compile) (JSON )?schema",
        ], "the values do not fit the chart's schema", SCHEMA),
        permanent("yaml", &[
            r"error converting YAML to JSON|error (un)?marshal+ing JSON",
r"[Cc]annot unmarshal (string|number|object|array|bool|!!|null|\w+ into)",
r"mapping values are not allowed|cannot be handled as a |did not find expected ",
r"yaml: (line \d+|unmarshal errors|control characters|invalid|found|mapping|unknown)",
r"[Yy]AML parse error",
            r"mapping key \x22[^\x22]*\x22 already defined",
r"found character that cannot start any token|invalid document separator",
r"MalformedYAMLError|invalid character .* (looking for|in literal|after)",
r"[Oo]bject '?Kind'? is missing",
        ], "the text is not the object it should be", YAML),
        permanent("post-render", &[
            r"while running post[- ]?render|post[- ]?renderer|no matches for Id ",
r"failed to find unique target|no matches for OriginalId|kustomization",
r"error in kustomize",
        ], "the post-renderer fails on this chart", "fluxcd/helm-controller:internal/postrender, kubernetes-sigs/kustomize"),

        transient("template-lookup", &[
            // Only lookups, and only through include: the text behind fail or tpl is the author's.
            concat!(r#"template: (\S+:\d+:\d+: executing "[^"]*" at <[^>]*>: (error calling include: (template: \S+:\d+:\d+: executing "[^"]*" at <[^>]*>: )?)*)?error calling lookup: ([\w ]+: |/?v\w+, Kind=\w+: |[\w./]+, Kind=\w+: )*((Get|Post) "[^"]*": "#, outage!(), r#"|the server is currently unable|the server was unable|etcdserver: |unable to retrieve the complete list|client rate limiter|context deadline exceeded)"#),
        ], "a template asked the API server, and got no answer", ENGINE).exception(),
        transient("schema-unreachable", &[
            // One chart, and nothing said about its values.
            concat!(r#"values don't meet the specifications of the schema\(s\) in the following chart\(s\):\s+[\w.-]+:\s+([\w ]+ ["']?https?://[^\s"']+["']?: )*(Get|Head) "?https?://[^"\s]*"?: "#, outage!(), r"\s*$"),
            concat!(r#"(failing loading|unable to (load|validate) schema|[Cc]ould not (read|load) schema|invalid JSON schema|HTTP request failed for)[^\n]*(Get|Head) "?https?://[^"\s]*"?: "#, outage!(), r"\s*$"),
            r"HTTP request to https?://\S+ returned status (429|5\d\d)\b( \([^)\n]*\))?",
r"Could not read schema from HTTP, response status is (429|5\d\d)\b",
        ], "the schema refers to a page that could not be loaded", SCHEMA).exception(),
    ],
};
