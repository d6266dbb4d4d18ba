//! What the Kubernetes API server answers.

use super::{Family, permanent, transient};

const ERRORS: &str = "k8s.io/apimachinery:pkg/api/errors/errors.go";
const VALIDATION: &str = "k8s.io/apimachinery:pkg/util/validation/field/errors.go";
const ADMISSION: &str = "kubernetes:plugin/pkg/admission, k8s.io/apiserver:pkg/admission/plugin";

pub(super) const FAMILY: Family = Family {
    name: "api server",
    about: "what the Kubernetes API server and etcd answer",
    rules: &[
        permanent(
            "immutable-field",
            &[
                r"field is immutable|fields? (is|are) immutable",
                r"is immutable (after|once|and)",
                r"updates to statefulset spec for fields other than",
                r"may not (be changed|change) once set|cannot be changed",
                r"is not allowed to be changed",
                r"cannot change (roleRef|the)|spec is immutable after creation",
                r"updates to \S+ are forbidden|immutable field",
            ],
            "Kubernetes never changes this field in place",
            "kubernetes:pkg/apis/*/validation",
        ),
        permanent(
            "invalid-object",
            &[
                r#""[^"]*" is invalid: |is invalid: (\[|\w+[.\[:])"#,
                r#": (Invalid|Unsupported|Duplicate|Required) value|failed rule: "#,
                r#"must be specified for an update"#,
                r#"provided (port|IP) is already allocated"#,
            ],
            "the API server refuses the object as written",
            VALIDATION,
        ),
        permanent(
            "typed-patch",
            &[
                r"field not declared in schema|failed to create typed patch object",
                r"unknown field",
                r"strict decoding error",
                r"does not allow this method on the requested resource",
                r"unable to respond with a content type",
                r"failed to create patch: ",
                r"The order in patch list",
                r"doesn't match \$setElementOrder|proto: |ReadString: expects",
                r"error validating (data|\x22)",
                r"ValidationError\(|unable to (decode|convert) \x22",
                r"no kind \x22\w+\x22 is registered",
                r"json: unknown|(strategic )?merge patch|unable to find api field",
                r"the body of the request was in an unknown format",
                r"of the type \S+ is not supported",
                r"rejected our request for an unknown reason",
                r"errors: \[\S+: duplicate entries for key|doc is missing (path|key)",
                r"operation does not apply|is not a valid \S+ (object|kind)",
            ],
            "the manifest does not fit the API's schema",
            "k8s.io/apimachinery, sigs.k8s.io/structured-merge-diff",
        ),
        permanent(
            "forbidden",
            &[
                r"is forbidden: |\([Ff]orbidden\)",
                concat!(
                    r"cannot (get|list|watch|create|update|patch|delete|impersonate|",
                    r"deletecollection) resource"
                ),
                r"[Ff]orbidden: (User|user|request)|exceeded quota",
                r"attempting to grant RBAC permissions",
                r#"User "[^"]*" cannot (get|list|create|patch|delete) \w+ (in|at) the "#,
            ],
            "rights or quota have to be changed first",
            ADMISSION,
        ),
        permanent(
            "missing-kind",
            &[
                r"no matches for kind|could not find the requested resource",
                r"doesn't have a resource type|ensure CRDs are installed first",
                r"resource mapping not found",
            ],
            "the API kind is not installed; a person has to install its CRD",
            "k8s.io/apimachinery:pkg/api/meta",
        ),
        permanent(
            "namespace-missing",
            &[r#"namespaces? "[^"]*" not found"#],
            "the namespace does not exist",
            ERRORS,
        ),
        permanent(
            "field-conflict",
            &[r"Apply failed with \d+ conflict|conflicts? (occurred )?with \x22"],
            "another field manager owns the field",
            "k8s.io/apiserver:pkg/endpoints/handlers/fieldmanager",
        ),
        transient(
            "not-yet-admitted",
            &[
                concat!(
                    r"is forbidden: status unknown for quota: [\w.-]+, resources: ",
                    r"[\w.,/ -]+"
                ),
                r"is forbidden: not yet ready to handle request",
                concat!(
                    r#"is forbidden: no API token found for service account "[\w.-]+", "#,
                    r"retry after ",
                    "the token is automatically created"
                ),
                r"is forbidden: ([\w.-]+: )?caches? (is |are )?not synchroni[sz]ed",
                concat!(
                    r"is forbidden: unable to (create|update|delete) [\w./-]+ at this ",
                    r"time because ",
                    "there was an error enforcing limit ranges"
                ),
                r"is forbidden: paramKind kind \S+ not yet synced",
                concat!(
                    r"is forbidden: unable to create new content in namespace [\w.-]+ ",
                    "because it is being terminated"
                ),
                concat!(
                    r"is forbidden: error looking up service account [\w.-]+/default: ",
                    r#"serviceaccount "default" not found"#
                ),
                concat!(
                    r"is forbidden: error (fetching namespace|looking up service ",
                    r#"account) [\w./"-]+: "#,
                    outage!(),
                    end!()
                ),
                "is forbidden: Internal error occurred: resource quota evaluation timed out",
            ],
            "the namespace or its quota was not ready yet",
            ADMISSION,
        )
        .exception(),
        transient(
            "discovery-race",
            &[concat!(
                r"unable to retrieve the complete list of server APIs: ([\w./-]+: ",
                r"(the server is currently unable to handle the request|stale ",
                r"GroupVersion discovery: [\w./-]+)(, )?)+"
            )],
            "an API group was unavailable during discovery",
            "client-go:discovery/discovery_client.go",
        )
        .infrastructure()
        .exception(),
        permanent(
            "etcd-full",
            &[
                r"database space exceeded|etcdserver: no space|readonly database",
                r"etcd quota exceeded",
                r"corrupt(ed)? (object|database|cluster)|NOSPACE",
            ],
            "the API server's database needs an operator",
            "etcd-io/etcd:api/v3rpc/rpctypes/error.go",
        ),
        transient(
            "finalizers-late",
            &[concat!(
                r#"[\w.]+ "[^"]*" is invalid: metadata\.finalizers: Forbidden: no "#,
                r"new finalizers can be added if the object is being deleted, found ",
                r"new finalizers \[\]string\{[^}]*\}"
            )],
            "the object was being deleted while it was written",
            VALIDATION,
        )
        .exception(),
        transient(
            "openapi-unreachable",
            &[concat!(
                r#"error validating "[^"]*": error validating data: (failed to "#,
                r#"download openapi: )?((Get|Head) "[^"]*": "#,
                outage!(),
                "|the server is currently unable to handle the request",
                "|the server was unable to return a response in the time allotted[^:;]*)",
                concat!(
                    r"(; if you choose to ignore these errors, turn validation off with ",
                    r"--validate=false)?"
                ),
                end!()
            )],
            "the API server did not say what its kinds look like",
            "k8s.io/kubectl:pkg/validation",
        )
        .infrastructure()
        .exception(),
        transient(
            "being-deleted",
            &[
                r"object is being deleted(: \S+ \x22[^\x22]*\x22 already exists)?",
                r"no new finalizers can be added if the object is being deleted",
                r"[Pp]recondition failed: |StorageError: invalid object|uid mismatch",
                r"in the precondition|while custom resource definition is terminating",
            ],
            "an object of the same name is still being deleted",
            ERRORS,
        ),
        transient(
            "etcd",
            &[
                r"has no leader|etcdserver: request timed out(, [\w ]+)?",
                concat!(
                    r"etcdserver: (request (timed|cancel)|.*timed out|leader|no leader|not (the ",
                    r")?(current )?leader|too many requests|server stopped|unhealthy ",
                    r"cluster|waiting)"
                ),
                r"leader changed|raft proposal dropped",
                r"required revision has been compacted",
                r"database is locked|etcdclient: no available endpoints",
                r"no available \w+ leader|[Tt]oo many connections",
                r"connection is closing",
            ],
            "etcd was slow or changed its leader",
            "etcd-io/etcd:api/v3rpc/rpctypes/error.go",
        )
        .infrastructure(),
        transient(
            "object-modified",
            &[
                r"the object has been modified|was modified by a different process",
                r"Operation cannot be fulfilled on ",
            ],
            "two clients wrote at the same time (409); the next attempt reads the new version",
            ERRORS,
        ),
        transient(
            "api-overloaded",
            &[
                r"has received too many requests",
                r"currently unable to handle the request",
                r"unable to return a response in the time allotted",
                r"an error on the server \(",
                r"(could not be completed at this time|please try again)",
                r"Timeout: (request did not complete|failed waiting|Too large)",
                r"request did not complete within|quota evaluat(ion|es) time",
                r"Informer to sync|storage is \(re\)initializing",
                concat!(
                    r"(complete list of server APIs: .*the server (is|was)|couldn't get resource list|stale ",
                    r"GroupVersion discovery)"
                ),
                r"apiserver (not ready|is shutting down|is starting)",
                r"http: Handler timeout",
                r"failing or missing response from|[Nn]o agent available",
                r"could not properly serve",
                r"storage (version registration|not ready)|cacher is stopped",
                r"resource version: \d",
                r"continue parameter is too old",
                r"(un|not )able to generate a unique name",
                r"allocator not ready|cannot allocate resources of type",
                r"There can be a delay between",
                r"error resolving resource|server API group list",
                r"no endpoints available for service",
                r"[Pp]roxy error from|reading HTTP response from CONNECT",
                r"error calling webhook",
                r"limit reached on type|failed to lookup namespace|bad status from",
                r"non-success response code|(download|retrieve) openapi",
                r"lost connection to",
                r"error upgrading connection|disruption budget",
                r"DisruptedPods map too big",
                r"unexpected apiserver cache state|resource version conflicts",
                r"server unreachable|tunnel disconnect",
                r"0-length response|cache is not started",
                r"error trying to reach service",
                r"failed to complete (mutation|validation) in",
                r"[Gg]ot empty response for: ",
                r"failed to get (server|API) groups?",
                r"[Tt]he connection to the server .* was refused",
                r"unexpected error when reading response body",
            ],
            "the API server was overloaded or unavailable",
            ERRORS,
        )
        .infrastructure(),
    ],
};
