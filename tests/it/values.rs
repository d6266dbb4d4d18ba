//! Values that the chart refuses, with what to write instead, and those of helmreboot itself that it knows.

use crate::packaging::chart;

#[test]
fn wrong_values_are_refused_with_what_to_write() {
    let wrong = [
        ("replicas=2,sweep=off", "sweep=off is for one replica"),
        ("sweep=5s", "an interval from 10s to 168h"),
        ("sweep=0m", "an interval from 10s to 168h"),
        (
            "fullnameOverride=My_App",
            "write lower-case letters, digits and -, beginning with a letter, into fullnameOverride",
        ),
        ("fullnameOverride=1x", "beginning with a letter"),
        (
            "nameOverride=My App,fullnameOverride=x",
            "is not valid as a label",
        ),
        ("sweep=30m1h", "an interval from 10s to 168h"),
        ("sweep=9999999999999999999h", "an interval from 10s to 168h"),
        ("mode=null", "missing property 'mode'"),
        ("metrics=null", "missing property 'metrics'"),
        (
            "config.policy.limt=3",
            "at '/config/policy': additional properties 'limt' not allowed",
        ),
        ("config.clusterName=Prod EU", "at '/config/clusterName'"),
        (
            "config.clusters[0].name=a,config.clusters[0].tokn=b",
            "additional properties 'tokn' not allowed",
        ),
        (
            "config.clusters[0].name=a,config.clusters[0].keys[0].file=/etc/helmreboot/keys/a",
            "name the Secret that has the entry \"a\"",
        ),
        (
            "config.clusters[0].name=a,config.clusters[0].keys[0].env=A,config.clusters[0].kubeconfig=/etc/helmreboot/kubeconfigs/a",
            "kubeconfigsSecret is empty",
        ),
        (
            "rbac.namespaces={a},flux.enabled=true,flux.namespaces={a,b}",
            "flux.namespaces has b, where rbac.namespaces gives no rights",
        ),
        (
            "config.clusters[0].name=x,config.clusters[0].keys[0].env=A,config.clusters[0].inCluster=true,config.clusters[0].sweepNamespaces={b},rbac.namespaces={a}",
            "config.clusters watches b, where rbac.namespaces gives no rights",
        ),
        (
            "config.kubeconfig=/etc/k,flux.enabled=true,flux.namespaces={a}",
            "leads to another: set flux.enabled=false",
        ),
        (
            "extraEnv[0].name=HELMREBOOT_MODE,extraEnv[0].value=act",
            "set mode instead",
        ),
        (
            "extraEnv[0].name=A,extraEnv[0].value=1",
            "at '/extraEnv/0/value': got number, want string",
        ),
        ("extraVolumes[0].name=tls", "choose another name"),
        (
            "serviceAccount.create=false,serviceAccount.name=default",
            "name another account",
        ),
        ("metrics.podMonitor.interval=often", "/interval"),
        (
            "httpRoute.hostnames={https://a.b}",
            "/httpRoute/hostnames/0",
        ),
        ("flux.address=hub.example.com", "at '/flux/address'"),
        (
            "spoke.enabled=true,ingress.enabled=true,ingress.host=a.b",
            "leaves out the Deployment, and ingress is about it",
        ),
        (
            "spoke.enabled=true,flux.enabled=true,flux.namespaces={a}",
            "write where the hub takes this cluster's alerts",
        ),
        (
            "spoke.enabled=true,flux.enabled=true,flux.namespaces={a},flux.address=https://a.b/webhook/prod-eu",
            "set config.clusterName to the name in it",
        ),
        (
            "spoke.enabled=true,flux.enabled=true,flux.namespaces={a},config.clusterName=a,flux.address=https://a.b/webhook/a/",
            "without a slash at the end",
        ),
        (
            "spoke.enabled=true,key.existingSecret=mine",
            "name the Secret that Flux signs with in flux.secretName",
        ),
        (
            "spoke.enabled=true,tls.existingSecret=mine,flux.enabled=true,flux.namespaces={a}",
            "nothing reads tls.existingSecret",
        ),
        (
            "spoke.enabled=true,config.policy.limit=3",
            "nothing reads config.policy",
        ),
        (
            "spoke.enabled=true,key.value=a",
            "set flux.enabled=true, or take key.value away",
        ),
        (
            "config.clusters[0].name=a,config.clusters[0].keys[0].env=A,config.clusters[0].inCluster=true,config.clusters[1].name=b,config.clusters[1].keys[0].env=B,config.clusters[1].inCluster=true",
            "runs in one of them",
        ),
        ("replicas=two", "at '/replicas': got string, want integer"),
        ("replica=2", "additional properties 'replica' not allowed"),
        (
            "mode=dry-run",
            "at '/mode': value must be one of 'act', 'observe'",
        ),
        (
            "sweep=sometimes",
            "an interval from 10s to 168h such as 10m",
        ),
        (
            "config.limt=2",
            "at '/config': additional properties 'limt' not allowed",
        ),
        ("config.mode=observe", "set mode beside config"),
        (
            "flux.enabled=true",
            "list the namespaces of your HelmReleases",
        ),
        ("key.value=a,key.existingSecret=b", "keep one of them"),
        ("key.existingSecretKey=hmac", "name the Secret too"),
        (
            "ingress.enabled=true,ingress.hosts={https://a.b}",
            "write the host name alone",
        ),
        (
            "key.value=a,config.clusters[0].name=x,config.clusters[0].keys[0].env=A",
            "put their keys into the Secret that keysSecret names",
        ),
        (
            "rbac.namespaces={*}",
            "write the names of namespaces one by one",
        ),
        (
            "image.digest=latest",
            "write sha256: and 64 hexadecimal digits",
        ),
        (
            "ingress.enabled=true",
            "write the host name that remote clusters post to",
        ),
        (
            "ingress.enabled=true,ingress.host=https://a.b",
            "write the host name alone",
        ),
        (
            "config.clusters[0].name=x,config.clusters[0].keys[0].env=A,flux.enabled=true,flux.namespaces={a}",
            "set inCluster: true on its entry",
        ),
        (
            "config.clusters[0].name=x,config.clusters[0].keys[0].env=A,config.clusterName=x",
            "take it away",
        ),
        (
            "config.clusters[0].name=x,config.clusters[0].keys[0].env=A,config.clusters[0].inCluster=true,rbac.namespaces={a}",
            "under sweepNamespaces of the cluster x",
        ),
        (
            "networkPolicy.enabled=true,service.type=LoadBalancer",
            "so that only Flux can connect",
        ),
        (
            "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true",
            "keep one of them",
        ),
        (
            "tls.existingSecret=a,flux.enabled=true,flux.namespaces={a}",
            "name a Secret of its namespace with the authority",
        ),
        ("httpRoute.enabled=true", "name your Gateway"),
        (
            "tls.certManager.enabled=true",
            "write the name of your Issuer or ClusterIssuer",
        ),
        (
            "tls.certManager.enabled=true,tls.certManager.issuerRef.name=a,tls.existingSecret=b",
            "keep one of them",
        ),
        (
            "serviceAccount.create=false",
            "write the name of an account that exists",
        ),
        (
            "service.port=99999",
            "at '/service/port': maximum: got 99,999, want 65,535",
        ),
    ];
    for (set, expected) in wrong {
        let Some(rendered) = chart(&["--set", set]) else {
            return;
        };
        let said = rendered.err().unwrap_or_else(|| panic!("{set} is taken"));
        assert!(said.contains(expected), "{set}:\n{said}");
    }
    let old = chart(&["--kube-version=1.29"])
        .expect("helm")
        .expect_err("no policies yet");
    assert!(old.contains("set admissionPolicy.enabled=false"), "{old}");
}

#[test]
fn lists_and_addresses_are_taken_as_helmreboot_and_gateways_take_them() {
    let own = "config.clusters[0].name=x,config.clusters[0].keys[0].env=A,config.clusters[0].inCluster=true,rbac.namespaces={a,b}";
    let spoke = "spoke.enabled=true,flux.enabled=true,flux.namespaces={a},config.clusterName=a";
    for set in [
        format!("{own},config.clusters[0].sweepNamespaces=a \\, b\\,"),
        format!("{own},config.clusters[0].sweepNamespaces={{a}}"),
        format!("{spoke},flux.address=https://gateway.example.com/helmreboot/webhook/a"),
    ] {
        let Some(rendered) = chart(&["--set", &set]) else {
            return;
        };
        rendered.unwrap_or_else(|error| panic!("{set}: {error}"));
    }
}
