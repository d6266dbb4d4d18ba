{{/* What a schema cannot say, each with what to write instead. */}}
{{- define "helmreboot.check" -}}
{{- if .Values.spoke.enabled }}{{ include "helmreboot.checkSpoke" . }}{{ end }}
{{- include "helmreboot.checkNames" . }}
{{- include "helmreboot.checkClusters" . }}
{{- include "helmreboot.checkKeys" . }}
{{- include "helmreboot.checkWays" . }}
{{- include "helmreboot.checkPod" . }}
{{- $sweep := include "helmreboot.sweep" . }}
{{- $seconds := include "helmreboot.sweepSeconds" . | int }}
{{- if not (or (has $sweep (list "watch" "off")) (and (ge $seconds 10) (le $seconds 604800))) }}
{{- fail (printf "sweep is %q: write watch, off, or an interval from 10s to 168h such as 10m" (toString .Values.sweep)) }}
{{- end }}
{{- range $key, $instead := dict "mode" "mode" "sweep" "sweep" "sweepNamespaces" "rbac.namespaces" "tokenFile" "key.existingSecret" "tls" "tls.existingSecret" "webhookBindAddress" "service.port" "metricsBindAddress" "metrics" "healthProbeBindAddress" "nothing" "leaderElect" "leaderElection" "leaderElectionNamespace" "nothing" "leaderElectionKubeconfig" "nothing" }}
{{- if hasKey ($.Values.config | default dict) $key }}
{{- fail (printf "config.%s is the chart's own affair: take it away, and set %s beside config" $key $instead) }}
{{- end }}
{{- end }}
{{- if and .Values.admissionPolicy.enabled (not (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version)) }}
{{- fail "this cluster is older than Kubernetes 1.30 and has no ValidatingAdmissionPolicy: set admissionPolicy.enabled=false" }}
{{- end }}
{{- end }}

{{- define "helmreboot.checkNames" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "helmreboot.fullname" .)) }}
{{- fail (printf "the name %q is none that Kubernetes takes for a Service: write lower-case letters, digits and -, beginning with a letter, into fullnameOverride" (include "helmreboot.fullname" .)) }}
{{- end }}
{{- if not (regexMatch "^[A-Za-z0-9]([-A-Za-z0-9_.]{0,56}[A-Za-z0-9])?$" (include "helmreboot.name" .)) }}
{{- fail (printf "nameOverride is %q, which is not valid as a label: expected up to 58 letters, digits, - and ." (include "helmreboot.name" .)) }}
{{- end }}
{{- range $key, $names := dict "flux.namespaces" .Values.flux.namespaces "rbac.namespaces" .Values.rbac.namespaces }}
{{- range $names }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" .) }}
{{- fail (printf "%s has %q: write the names of namespaces one by one; neither Flux nor Kubernetes takes a pattern there" $key .) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (include "helmreboot.elects" .) (eq (include "helmreboot.sweep" .) "off") }}
{{- fail "sweep=off is for one replica: with several, only the watcher of the leader finds what a standby was told of; set sweep=watch, or replicas=1" }}
{{- end }}
{{- if and .Values.rbac.create .Values.rbac.namespaces }}
{{- range .Values.flux.enabled | ternary .Values.flux.namespaces list }}
{{- if not (has . $.Values.rbac.namespaces) }}
{{- fail (printf "flux.namespaces has %s, where rbac.namespaces gives no rights: add it there, or take it away here" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.admissionPolicy.enabled (eq (include "helmreboot.serviceAccount" .) "default") }}
{{- fail "serviceAccount.name is default, and the admission policy would hold every pod of this namespace that has no account of its own: name another account" }}
{{- end }}
{{- end }}

{{- define "helmreboot.checkClusters" -}}
{{- $config := .Values.config | default dict }}
{{- $own := list }}
{{- range $config.clusters }}{{ if .inCluster }}{{ $own = append $own . }}{{ end }}{{ end }}
{{- if gt (len $own) 1 }}
{{- fail "config.clusters has inCluster: true more than once: helmreboot runs in one of them" }}
{{- end }}
{{- if and $config.clusters $config.clusterName }}
{{- fail "config.clusterName is for one cluster, and config.clusters lists clusters: take it away" }}
{{- end }}
{{- if and .Values.flux.enabled $config.clusters (not $own) }}
{{- fail "flux.enabled wires the cluster that helmreboot runs in, and none of config.clusters is that: set inCluster: true on its entry, or flux.enabled=false" }}
{{- end }}
{{- if and .Values.flux.enabled (not (include "helmreboot.servesOwn" .)) }}
{{- fail "flux.enabled wires the cluster that helmreboot runs in, and config.kubeconfig or config.context leads to another: set flux.enabled=false, and apply flux-config there" }}
{{- end }}
{{- range $own }}
{{- if and $.Values.rbac.create $.Values.rbac.namespaces }}
{{- $swept := kindIs "string" .sweepNamespaces | ternary (regexSplit "\\s*,\\s*" (toString .sweepNamespaces | trim) -1 | compact) .sweepNamespaces }}
{{- if not .sweepNamespaces }}
{{- fail (printf "rbac.namespaces gives rights in some namespaces only: list them under sweepNamespaces of the cluster %v in config.clusters too" .name) }}
{{- end }}
{{- range $swept }}
{{- if not (has . $.Values.rbac.namespaces) }}
{{- fail (printf "config.clusters watches %s, where rbac.namespaces gives no rights: add it there, or remove it here" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "helmreboot.checkKeys" -}}
{{- if and .Values.key.value .Values.key.existingSecret }}
{{- fail "key.value and key.existingSecret are both set: keep one of them" }}
{{- end }}
{{- if (.Values.config).clusters }}
{{- if or .Values.key.value .Values.key.existingSecret }}
{{- fail "key is for one cluster, and config.clusters lists clusters: put their keys into the Secret that keysSecret names" }}
{{- end }}
{{- if not .Values.extraVolumeMounts }}
{{- range .Values.config.clusters }}
{{- range .keys }}
{{- if and .file (hasPrefix "/etc/helmreboot/keys/" .file) (not $.Values.keysSecret) }}
{{- fail (printf "keysSecret is empty: name the Secret that has the entry %q, for %s" (base .file) .file) }}
{{- end }}
{{- end }}
{{- if and .kubeconfig (hasPrefix "/etc/helmreboot/kubeconfigs/" .kubeconfig) (not $.Values.kubeconfigsSecret) }}
{{- fail (printf "kubeconfigsSecret is empty: name the Secret that has the entry %q, for %s" (base .kubeconfig) .kubeconfig) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "helmreboot.checkWays" -}}
{{- if and .Values.flux.enabled (not .Values.flux.namespaces) }}
{{- fail "flux.namespaces is empty: list the namespaces of your HelmReleases, for instance --set 'flux.namespaces={apps,infra}'; Flux takes no \"*\" there" }}
{{- end }}
{{- if and .Values.flux.enabled (include "helmreboot.tlsSecret" .) (not .Values.flux.caSecret) }}
{{- fail "flux.caSecret is empty: Flux does not know who signed the certificate; name a Secret of its namespace with the authority under ca.crt" }}
{{- end }}
{{- if and .Values.tls.existingSecret .Values.tls.certManager.enabled }}
{{- fail "tls.existingSecret and tls.certManager.enabled are both set: keep one of them" }}
{{- end }}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuerRef.name) }}
{{- fail "tls.certManager.issuerRef.name is empty: write the name of your Issuer or ClusterIssuer" }}
{{- end }}
{{- if and .Values.ingress.enabled (not (include "helmreboot.ingressHosts" . | fromYamlArray)) }}
{{- fail "ingress.host is empty: write the host name that remote clusters post to" }}
{{- end }}
{{- range .Values.ingress.enabled | ternary (include "helmreboot.ingressHosts" . | fromYamlArray) list }}
{{- if not (regexMatch "^[*a-z0-9]([-a-z0-9.]*[a-z0-9])?$" .) }}
{{- fail (printf "ingress.host or ingress.hosts has %q: write the host name alone" .) }}
{{- end }}
{{- end }}
{{- if and (ne (.Values.key.existingSecretKey | default "token") "token") (not .Values.key.existingSecret) }}
{{- fail "key.existingSecretKey is for key.existingSecret, which is empty: name the Secret too" }}
{{- end }}
{{- if and (ne (.Values.key.existingSecretKey | default "token") "token") .Values.flux.enabled (include "helmreboot.oneSecret" .) }}
{{- fail "Flux reads the key from the same Secret, and only under token: leave key.existingSecretKey as it is, or name another Secret in flux.secretName" }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.parentRefs is empty: name your Gateway, for instance --set httpRoute.parentRefs[0].name=public" }}
{{- end }}
{{- $open := or .Values.ingress.enabled .Values.httpRoute.enabled (ne .Values.service.type "ClusterIP") }}
{{- if and .Values.networkPolicy.enabled $open (not (or .Values.networkPolicy.from .Values.networkPolicy.ingress)) }}
{{- fail "networkPolicy.from is empty, so that only Flux can connect: name the pods of your ingress controller or gateway, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled }}
{{- fail "metrics.serviceMonitor and metrics.podMonitor are both enabled, so that everything would count twice: keep one of them" }}
{{- end }}
{{- end }}

{{- define "helmreboot.checkPod" -}}
{{- if and .Values.image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .Values.image.digest)) }}
{{- fail (printf "image.digest is %q: write sha256: and 64 hexadecimal digits" .Values.image.digest) }}
{{- end }}
{{- $taken := dict "HELMREBOOT_TOKEN_FILE" "key" "HELMREBOOT_CONFIG" "config" "HELMREBOOT_MODE" "mode" "HELMREBOOT_SWEEP" "sweep" "HELMREBOOT_SWEEP_NAMESPACES" "rbac.namespaces" "HELMREBOOT_CLUSTER" "config.clusterName" "LEADER_ELECT" "leaderElection" "HELMREBOOT_TLS_CERT_FILE" "tls" "HELMREBOOT_TLS_KEY_FILE" "tls" "WEBHOOK_BIND_ADDRESS" "service.port" "HELMREBOOT_DASHBOARD_BIND_ADDRESS" "dashboard" "POD_IP" "nothing" "METRICS_BIND_ADDRESS" "nothing" "HEALTH_PROBE_BIND_ADDRESS" "nothing" }}
{{- range .Values.extraEnv }}
{{- if hasKey $taken .name }}
{{- fail (printf "extraEnv has %s, which is the chart's own affair: set %s instead" .name (get $taken .name)) }}
{{- end }}
{{- end }}
{{- range .Values.extraVolumes }}
{{- if has .name (list "key" "config" "keys" "kubeconfigs" "tls") }}
{{- fail (printf "extraVolumes has %s, and the chart calls a volume of its own so: choose another name" .name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Without a Deployment there is nothing to reach, to scrape or to keep apart. */}}
{{- define "helmreboot.checkSpoke" -}}
{{- $off := dict "ingress" .Values.ingress.enabled "httpRoute" .Values.httpRoute.enabled "networkPolicy" .Values.networkPolicy.enabled "metrics.serviceMonitor" .Values.metrics.serviceMonitor.enabled "metrics.podMonitor" .Values.metrics.podMonitor.enabled "metrics.prometheusRule" .Values.metrics.prometheusRule.enabled "metrics.dashboard" .Values.metrics.dashboard.enabled "tls.certManager" .Values.tls.certManager.enabled }}
{{- range $what, $on := $off }}
{{- if $on }}
{{- fail (printf "spoke.enabled leaves out the Deployment, and %s is about it: set %s.enabled=false, and keep it for the hub" $what $what) }}
{{- end }}
{{- end }}
{{- range $what, $set := dict "key.existingSecret" .Values.key.existingSecret "keysSecret" .Values.keysSecret "kubeconfigsSecret" .Values.kubeconfigsSecret "tls.existingSecret" .Values.tls.existingSecret }}
{{- if $set }}
{{- fail (printf "spoke.enabled leaves out the Deployment, and nothing reads %s: keep it for the hub, and name the Secret that Flux signs with in flux.secretName" $what) }}
{{- end }}
{{- end }}
{{- range $key, $_ := omit (.Values.config | default dict) "clusterName" "clusters" }}
{{- fail (printf "spoke.enabled leaves out the Deployment, and nothing reads config.%s: keep it for the hub" $key) }}
{{- end }}
{{- if and .Values.key.value (not .Values.flux.enabled) }}
{{- fail "key.value is for Flux to sign with, and flux.enabled=false leaves Flux alone: set flux.enabled=true, or take key.value away" }}
{{- end }}
{{- if gt (int .Values.replicas) 1 }}
{{- fail "spoke.enabled leaves out the Deployment: set replicas=1, and keep more for the hub" }}
{{- end }}
{{- if (.Values.config).clusters }}
{{- fail "spoke.enabled is for the remote clusters of a hub, and config.clusters for the hub: keep one of them" }}
{{- end }}
{{- if and .Values.flux.enabled (not (regexMatch "^https?://[^/]+(/.*)?/webhook/[^/]+$" .Values.flux.address)) }}
{{- fail (printf "flux.address is %q: write where the hub takes this cluster's alerts, such as https://helmreboot.example.com/webhook/prod-eu, without a slash at the end" .Values.flux.address) }}
{{- end }}
{{- if and .Values.flux.enabled (not (hasSuffix (printf "/webhook/%s" (include "helmreboot.clusterName" .)) .Values.flux.address)) }}
{{- fail (printf "flux.address ends with another cluster than %s, and the hub would refuse its alerts: set config.clusterName to the name in it" (include "helmreboot.clusterName" .)) }}
{{- end }}
{{- end }}
