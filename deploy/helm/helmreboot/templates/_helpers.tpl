{{- define "helmreboot.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "helmreboot.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "helmreboot.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "helmreboot.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* For what has no namespace, or lives in Flux's: two installations must not share it. */}}
{{- define "helmreboot.clusterWide" -}}
{{- $name := include "helmreboot.fullname" . }}
{{- ternary $name (printf "%s-%s" $name .Release.Namespace | trunc 63 | trimSuffix "-") (eq $name .Release.Namespace) }}
{{- end }}

{{- define "helmreboot.selectorLabels" -}}
app.kubernetes.io/name: {{ include "helmreboot.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "helmreboot.labels" -}}
{{ include "helmreboot.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: helmreboot
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{- define "helmreboot.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "helmreboot.fullname" .) }}
{{- else }}
{{- required "serviceAccount.name is empty: write the name of an account that exists, or set serviceAccount.create=true" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "helmreboot.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "helmreboot.keySecret" -}}
{{- .Values.key.existingSecret | default "helmreboot-token" }}
{{- end }}

{{/* Whether Flux needs a Secret beside ours: it does not in the same namespace under the same name. */}}
{{- define "helmreboot.fluxSecret" -}}
{{- $same := and (eq .Values.flux.namespace .Release.Namespace) (eq .Values.flux.secretName (include "helmreboot.keySecret" .)) }}
{{- if and .Values.key.value (not $same) }}true{{ end }}
{{- end }}

{{- define "helmreboot.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled }}
{{- printf "%s-tls" (include "helmreboot.fullname" .) }}
{{- else }}
{{- .Values.tls.existingSecret }}
{{- end }}
{{- end }}

{{/* What helmreboot calls the cluster it runs in; empty where it is none of config.clusters. */}}
{{- define "helmreboot.clusterName" -}}
{{- if .Values.config.clusters }}
{{- range .Values.config.clusters }}{{ if .inCluster }}{{ .name }}{{ end }}{{ end }}
{{- else }}
{{- .Values.config.clusterName | default "default" }}
{{- end }}
{{- end }}

{{- define "helmreboot.address" -}}
{{- $scheme := ternary "https" "http" (ne (include "helmreboot.tlsSecret" .) "") }}
{{- printf "%s://%s.%s.svc.cluster.local:%v/webhook" $scheme (include "helmreboot.fullname" .) .Release.Namespace .Values.service.port }}
{{- end }}

{{/* YAML 1.1 reads a bare off as false. */}}
{{- define "helmreboot.sweep" -}}
{{- ternary "off" .Values.sweep (eq (toString .Values.sweep) "false") }}
{{- end }}

{{/* How long an interval is; 0 where there is none. */}}
{{- define "helmreboot.sweepSeconds" -}}
{{- $seconds := 0 }}
{{- if regexMatch "^([0-9]+[smh])+$" (include "helmreboot.sweep" .) }}
{{- range regexFindAll "[0-9]+[smh]" (include "helmreboot.sweep" .) -1 }}
{{- $unit := ternary 3600 (ternary 60 1 (hasSuffix "m" .)) (hasSuffix "h" .) }}
{{- $seconds = add $seconds (mul $unit (regexFind "^[0-9]+" . | int)) }}
{{- end }}
{{- end }}
{{- $seconds }}
{{- end }}

{{- define "helmreboot.elects" -}}
{{- if and .Values.leaderElection (gt (int .Values.replicas) 1) (ne (include "helmreboot.sweep" .) "off") }}true{{ end }}
{{- end }}

{{/* Exactly the verbs that the settings make helmreboot use. */}}
{{- define "helmreboot.rules" -}}
{{- $verbs := list "get" }}
{{- if ne (include "helmreboot.sweep" .) "off" }}{{ $verbs = append $verbs "list" }}{{ end }}
{{- if eq (include "helmreboot.sweep" .) "watch" }}{{ $verbs = append $verbs "watch" }}{{ end }}
{{- if eq .Values.mode "act" }}{{ $verbs = append $verbs "patch" }}{{ end -}}
- apiGroups: [helm.toolkit.fluxcd.io]
  resources: [helmreleases]
  verbs: [{{ join ", " $verbs }}]
{{- end }}

{{/* What a schema cannot say, each with what to write instead. */}}
{{- define "helmreboot.check" -}}
{{- $seconds := include "helmreboot.sweepSeconds" . | int }}
{{- if or (not (regexMatch "^(watch|off|([0-9]+[smh])+)$" (include "helmreboot.sweep" .))) (and (ne $seconds 0) (or (lt $seconds 10) (gt $seconds 604800))) (regexMatch "^[0smh]+$" (include "helmreboot.sweep" .)) }}
{{- fail (printf "sweep is %q: write watch, off, or an interval from 10s to 168h such as 10m" (toString .Values.sweep)) }}
{{- end }}
{{- range $key, $instead := dict "mode" "mode" "sweep" "sweep" "sweepNamespaces" "rbac.namespaces" "tokenFile" "key.existingSecret" "tls" "tls.existingSecret" "webhookBindAddress" "service.port" "metricsBindAddress" "metrics" "healthProbeBindAddress" "nothing" "leaderElect" "leaderElection" }}
{{- if hasKey $.Values.config $key }}
{{- fail (printf "config.%s is the chart's own affair: take it away, and set %s beside config" $key $instead) }}
{{- end }}
{{- end }}
{{- if and .Values.image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .Values.image.digest)) }}
{{- fail (printf "image.digest is %q: write sha256: and 64 hexadecimal digits" .Values.image.digest) }}
{{- end }}
{{- range $key, $names := dict "flux.namespaces" .Values.flux.namespaces "rbac.namespaces" .Values.rbac.namespaces }}
{{- range $names }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" .) }}
{{- fail (printf "%s has %q: write the names of namespaces one by one; neither Flux nor Kubernetes takes a pattern there" $key .) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.key.value .Values.key.existingSecret }}
{{- fail "key.value and key.existingSecret are both set: keep one of them" }}
{{- end }}
{{- if and .Values.config.clusters .Values.key.value }}
{{- fail "key.value is for one cluster, and config.clusters lists clusters: put their keys into the Secret that keysSecret names" }}
{{- end }}
{{- if and .Values.flux.enabled (not .Values.flux.namespaces) }}
{{- fail "flux.namespaces is empty: list the namespaces of your HelmReleases, for instance --set 'flux.namespaces={apps,infra}'; Flux takes no \"*\" there" }}
{{- end }}
{{- if and .Values.tls.existingSecret .Values.tls.certManager.enabled }}
{{- fail "tls.existingSecret and tls.certManager.enabled are both set: keep one of them" }}
{{- end }}
{{- if and .Values.flux.enabled (include "helmreboot.tlsSecret" .) (not .Values.flux.caSecret) }}
{{- fail "flux.caSecret is empty: Flux does not know who signed the certificate; name a Secret of its namespace with the authority under ca.crt" }}
{{- end }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" (include "helmreboot.fullname" .)) }}
{{- fail (printf "the name %q is none Kubernetes takes: write lower-case letters, digits and - into nameOverride or fullnameOverride" (include "helmreboot.fullname" .)) }}
{{- end }}
{{- $own := 0 }}
{{- range .Values.config.clusters }}{{ if .inCluster }}{{ $own = add1 $own }}{{ end }}{{ end }}
{{- if gt (int $own) 1 }}
{{- fail "config.clusters has inCluster: true more than once: helmreboot runs in one of them" }}
{{- end }}
{{- if and .Values.config.clusters .Values.config.clusterName }}
{{- fail "config.clusterName is for one cluster, and config.clusters lists clusters: take it away" }}
{{- end }}
{{- if and .Values.config.clusters .Values.flux.enabled (not (include "helmreboot.clusterName" .)) }}
{{- fail "flux.enabled wires the cluster that helmreboot runs in, and none of config.clusters is that: set inCluster: true on its entry, or flux.enabled=false" }}
{{- end }}
{{- if and .Values.config.clusters .Values.rbac.namespaces }}
{{- range .Values.config.clusters }}
{{- if and .inCluster (not .sweepNamespaces) }}
{{- fail (printf "rbac.namespaces gives rights in some namespaces only: list them under sweepNamespaces of the cluster %v in config.clusters too" .name) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (or .Values.ingress.enabled .Values.httpRoute.enabled (ne .Values.service.type "ClusterIP")) (not .Values.networkPolicy.from) }}
{{- fail "networkPolicy.from is empty, so that nobody but Flux gets in: name the pods of your ingress controller or gateway, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled }}
{{- fail "metrics.serviceMonitor and metrics.podMonitor are both enabled, so that everything would count twice: keep one of them" }}
{{- end }}
{{- if and .Values.ingress.enabled (regexMatch "[/:]" .Values.ingress.host) }}
{{- fail (printf "ingress.host is %q: write the host name alone" .Values.ingress.host) }}
{{- end }}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuerRef.name) }}
{{- fail "tls.certManager.issuerRef.name is empty: write the name of your Issuer or ClusterIssuer" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
{{- fail "ingress.host is empty: write the host name that remote clusters post to" }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.parentRefs is empty: name your Gateway, for instance --set httpRoute.parentRefs[0].name=public" }}
{{- end }}
{{- if and .Values.admissionPolicy.enabled (not (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version)) }}
{{- fail "this cluster is older than Kubernetes 1.30 and has no ValidatingAdmissionPolicy: set admissionPolicy.enabled=false" }}
{{- end }}
{{- end }}
