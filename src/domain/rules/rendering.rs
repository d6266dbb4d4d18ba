//! Templates, values and their schema, YAML.

use super::{Family, permanent, transient};

const ENGINE: &str = "helm/helm:pkg/engine, Go text/template";
const YAML: &str = "sigs.k8s.io/yaml, go.yaml.in/yaml";
const SCHEMA: &str = "helm/helm:pkg/chart/common/util/jsonschema.go";

pub(super) const FAMILY: Family = Family {
    name: "rendering",
    about: "templates, values, schemas, YAML, post-renderers",
    rules: &[
        permanent(
            "template",
            &[
                r"execution error at \(|\btemplate: \S+:\d+(:\d+)?: ",
                r"\.(json|ya?ml): unexpected end of JSON input|parse error (on|at|in) |\.(ya?ml|tpl|txt):\d+\): unexpected EOF",
                r"nil pointer evaluating|error calling \w+: ",
                r"function \x22\w+\x22 not defined",
                concat!(
                    r"(map has no entry for key|can't evaluate field|range can't ",
                    r"iterate over|wrong type for value; expected|incompatible types ",
                    r"for comparison|unclosed action|unexpected \S+ in \w+( clause)?$)"
                ),
            ],
            "the chart does not render with these values",
            ENGINE,
        ),
        permanent(
            "values-schema",
            &[
                r"values don't meet the specifications of the schema",
                r"Additional property \S+ is not allowed",
                r"additional properties '[^']*' not allowed",
                r"jsonschema validation failed|got \w+, want \w+\b",
                r"no URLLoader registered",
                r"Does not match pattern",
                r"(failed to parse|invalid|unable to compile) (JSON )?schema",
            ],
            "the values do not fit the chart's schema",
            SCHEMA,
        ),
        permanent(
            "yaml",
            &[
                r"error converting YAML to JSON|error (un)?marshal+ing JSON",
                concat!(
                    r"[Cc]annot unmarshal (string|number|object|array|bool|!!|null|\w+ ",
                    r"into)"
                ),
                r"mapping values are not allowed|cannot be handled as a ",
                r"did not find expected ",
                concat!(
                    r"yaml: (line \d+|unmarshal errors|control characters|invalid|found|",
                    r"mapping|unknown)"
                ),
                r"[Yy]AML parse error",
                r"mapping key \x22[^\x22]*\x22 already defined",
                r"found character that cannot start any token",
                r"invalid document separator",
                r"MalformedYAMLError",
                r"invalid character .* (looking for|in literal|after)",
                r"[Oo]bject '?Kind'? is missing",
            ],
            "the text is not the object it should be",
            YAML,
        ),
        permanent(
            "post-render",
            &[
                r"while running post[- ]?render|invoke post[- ]?renderer",
                r"no matches for Id ",
                r"failed to find unique target|no matches for OriginalId",
                r"error in kustomize|kustomization\.ya?ml",
            ],
            "the post-renderer fails on this chart",
            "fluxcd/helm-controller:internal/postrender, kubernetes-sigs/kustomize",
        ),
        transient(
            "template-lookup",
            &[
                // Only lookups, and only through include: the text behind fail or tpl is the author's.
                concat!(
                    r#"template: (\S+:\d+:\d+: executing "[^"]*" at <[^>]*>: (error "#,
                    r#"calling include: (template: \S+:\d+:\d+: executing "[^"]*" at <"#,
                    r"[^>]*>: )?)*)?error calling lookup: ([\w ]+: |[\w./]*, Kind=\w+: )*",
                    r#"((Get|Post) "[^"]*": "#,
                    outage!(),
                    "|the server is currently unable to handle the request",
                    "|the server was unable to return a response in the time allotted[^:]*",
                    r"|etcdserver: (request timed out[\w, ]*|leader changed|no leader)|context deadline exceeded",
                    "|client rate limiter Wait returned an error: [^:]*(: [^:]*)?)",
                    end!()
                ),
            ],
            "a template asked the API server, and got no answer",
            ENGINE,
        )
        .infrastructure()
        .exception(),
        transient(
            "schema-unreachable",
            &[
                // One chart, and nothing said about its values.
                concat!(
                    r"values don't meet the specifications of the schema\(s\) in the ",
                    r"following chart\(s\):\s+[\w.-]+:\s+([\w ]+ ",
                    r#"["']?https?://[^\s"']+["']?: )*(Get|Head) "?https?://[^"\s]*"?: "#,
                    outage!(),
                    end!()
                ),
                concat!(
                    r"(failing loading|[Cc]ould not (read|load) schema( from)?) ",
                    r#"["']?https?://[^\s"']+["']?: "#,
                    r"(HTTP request failed for https?://\S+: )?(Get|Head) ",
                    r#""?https?://[^"\s]*"?: "#,
                    outage!(),
                    end!()
                ),
                concat!(
                    r"HTTP request to https?://\S+ returned status (429|5\d\d)\b( ",
                    r"\([^)\n]*\))?"
                ),
                r"Could not read schema from HTTP, response status is (429|5\d\d)\b",
            ],
            "the schema refers to a page that could not be loaded",
            SCHEMA,
        )
        .infrastructure()
        .exception(),
    ],
};
