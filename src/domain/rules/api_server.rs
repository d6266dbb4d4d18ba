//! What the Kubernetes API server answers.

use super::{Family, permanent, transient};

const ERRORS: &str = "k8s.io/apimachinery:pkg/api/errors/errors.go";
const VALIDATION: &str = "k8s.io/apimachinery:pkg/util/validation/field/errors.go";
const ADMISSION: &str = "kubernetes:plugin/pkg/admission, k8s.io/apiserver:pkg/admission/plugin";

pub(super) const FAMILY: Family = Family {
    name: "api server",
    about: "what the Kubernetes API server and etcd answer",
    rules: &[
        permanent("immutable-field", &[
            r"field is immutable|fields? (is|are) immutable|is immutable (after|once|and)",
r"updates to statefulset spec for fields other than",
r"may not (be changed|change) once set|cannot be changed|is not allowed to be changed",
r"cannot change (roleRef|the)|spec is immutable after creation",
r"updates to \S+ are forbidden|immutable field",
        ], "Kubernetes never changes this field in place", "kubernetes:pkg/apis/*/validation"),
        permanent("invalid-object", &[
            r#""[^"]*" is invalid: |is invalid: (\[|\w+[.\[:])"#,
r#": (Invalid|Unsupported|Duplicate|Required) value|failed rule: "#,
r#"must be specified for an update|provided (port|IP) is already allocated"#,
        ], "the API server refuses the object as written", VALIDATION),
        permanent("typed-patch", &[
            r"field not declared in schema|failed to create typed patch object|unknown field",
r"strict decoding error|failed to create patch: |The order in patch list",
r"doesn't match \$setElementOrder|proto: |error validating (data|\x22)",
r"ValidationError\(|unable to (decode|convert)|no kind \x22\w+\x22 is registered",
r"json: unknown|(strategic )?merge patch|unable to find api field",
r"the body of the request was in an unknown format|of the type \S+ is not supported",
r"rejected our request for an unknown reason",
            r"errors: \[\S+: duplicate entries for key|doc is missing (path|key)",
r"operation does not apply|is not a valid \S+ (object|kind)",
        ], "the manifest does not fit the API's schema", "k8s.io/apimachinery, sigs.k8s.io/structured-merge-diff"),
        permanent("forbidden", &[
            r"is forbidden: |\([Ff]orbidden\)",
r"cannot (get|list|watch|create|update|patch|delete|impersonate|deletecollection) resource",
r"[Ff]orbidden: (User|user|request)|exceeded quota",
r"attempting to grant RBAC permissions",
        ], "rights or quota have to be changed first", ADMISSION),
        permanent("missing-kind", &[
            r"no matches for kind|could not find the requested resource",
r"doesn't have a resource type|ensure CRDs are installed first",
r"resource mapping not found",
        ], "the API kind is not installed; somebody has to install it", "k8s.io/apimachinery:pkg/api/meta"),
        permanent("namespace-missing", &[r#"namespaces? "[^"]*" not found"#],
            "the namespace does not exist", ERRORS),
        permanent("field-conflict", &[r"Apply failed with \d+ conflict|conflicts? (occurred )?with \x22"],
            "another field manager owns the field", "k8s.io/apiserver:pkg/endpoints/handlers/fieldmanager"),

        transient("not-yet-admitted", &[
            r"is forbidden: ([\w. -]+: )?(status unknown for quota: [\w.-]+|not yet ready to handle request|no API token found for service account|caches? (is |are )?not synchroni[sz]ed|unable to \w+ \w+ at this time because there was an error enforcing limit ranges|unable to find pre-allocated uid annotation|paramKind kind \S+ not yet synced|unable to create new content in namespace [\w.-]+ because it is being terminated)",
            r#"is forbidden: error looking up service account [\w.-]+/default: serviceaccount "default" not found"#,
        ], "the namespace or its quota was not ready yet", ADMISSION).exception(),
        transient("discovery-race", &[
            r"unable to retrieve the complete list of server APIs: ([\w./-]+: (the server is currently unable to handle the request|stale GroupVersion discovery: [\w./-]+)(, )?)+",
        ], "an API group was away while the client asked for it", "client-go:discovery/discovery_client.go").exception(),
        permanent("etcd-full", &[r"database space exceeded|etcdserver: no space|readonly database",
r"corrupt(ed)? (object|database)|NOSPACE"],
            "the API server's database needs an operator", "etcd-io/etcd:api/v3rpc/rpctypes/error.go"),
        transient("finalizers-late", &[
            r#"[\w.]+ "[^"]*" is invalid: metadata\.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers \[\]string\{[^}]*\}"#,
        ], "the object was being deleted while it was written", VALIDATION).exception(),
        transient("openapi-unreachable", &[
            concat!(r#"error validating "[^"]*": error validating data: (failed to download openapi: )?((Get|Head) "[^"]*": "#, outage!(), "|the server is currently unable to handle the request|the server was unable to return a response in the time allotted)"),
        ], "the API server did not say what its kinds look like", "k8s.io/kubectl:pkg/validation").exception(),
        transient("being-deleted", &[
            r"object is being deleted",
r"no new finalizers can be added if the object is being deleted",
r"[Pp]recondition failed: |StorageError: invalid object|uid mismatch",
r"in the precondition|while custom resource definition is terminating",
        ], "its predecessor is still being deleted", ERRORS),
        transient("etcd", &[r"etcdserver: (request|.*timed out|leader|no leader|not (the )?(current )?leader|too many requests|server stopped|unhealthy cluster|waiting)",
r"leader changed|raft proposal dropped|required revision has been compacted",
r"database is locked|etcdclient: no available endpoints|no available \w+ leader|[Tt]oo many connections|connection is closing"],
            "etcd was slow or changed its leader", "etcd-io/etcd:api/v3rpc/rpctypes/error.go"),
        transient("object-modified", &[r"the object has been modified|was modified by a different process|Operation cannot be fulfilled on "],
            "two writers met (409); the next try reads anew", ERRORS),
        transient("cluster-unreachable", &[r"[Kk]ubernetes cluster unreachable|cluster reachability check failed"],
            "Helm reached no API server, and nobody says why", "helm/helm:pkg/kube/client.go").fallback(),
        transient("api-overloaded", &[
            r"has received too many requests|currently unable to handle the request",
r"unable to return a response in the time allotted|an error on the server \(",
r"(could not be completed at this time|please try again)",
r"Timeout: (request did not complete|failed waiting|Too large)",
r"request did not complete within|quota evaluat(ion|es) time",
            r"Informer to sync|storage is \(re\)initializing",
r"(complete list of server APIs|couldn't get resource list|stale GroupVersion discovery)",
r"apiserver (not ready|is shutting down|is starting)|http: Handler timeout",
r"failing or missing response from|[Nn]o agent available|could not properly serve",
r"storage (version registration|not ready)|cacher is stopped|resource version: \d",
r"continue parameter is too old|(un|not )able to generate a unique name",
r"allocator not ready|cannot allocate resources of type|There can be a delay between",
r"error resolving resource|server API group list|no endpoints available for service",
r"[Pp]roxy error from|reading HTTP response from CONNECT|error calling webhook",
r"limit reached on type|failed to lookup namespace|bad status from",
r"non-success response code|(download|retrieve) openapi|lost connection to",
r"error upgrading connection|disruption budget|DisruptedPods map too big",
r"unexpected apiserver cache state|resource version conflicts|server unreachable",
r"0-length response|cache is not started|error trying to reach service",
r"failed to get (server|API) groups?|[Tt]he connection to the server .* was refused",
r"unexpected error when reading response body",
        ], "the API server was overloaded or away", ERRORS),
    ],
};
