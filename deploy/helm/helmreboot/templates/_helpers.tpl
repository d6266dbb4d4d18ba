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

{{/* For what has no namespace, or lives in Flux's: two installations must not share it. Neither part has a dot. */}}
{{- define "helmreboot.clusterWide" -}}
{{- $name := include "helmreboot.fullname" . }}
{{- ternary $name (printf "%s.%s" $name .Release.Namespace) (eq $name .Release.Namespace) }}
{{- end }}

{{- define "helmreboot.selectorLabels" -}}
app.kubernetes.io/name: {{ include "helmreboot.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* The chart's own labels outrank commonLabels: selectors go by them. */}}
{{- define "helmreboot.labels" -}}
{{- $own := dict "app.kubernetes.io/version" .Chart.AppVersion "app.kubernetes.io/part-of" "helmreboot" "app.kubernetes.io/managed-by" .Release.Service "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") }}
{{- toYaml (merge $own (include "helmreboot.selectorLabels" . | fromYaml) (.Values.commonLabels | default dict)) }}
{{- end }}

{{/* Labels of the pods, with those of the user that are not the chart's own. */}}
{{- define "helmreboot.podLabels" -}}
{{- toYaml (merge (include "helmreboot.selectorLabels" . | fromYaml) (.Values.podLabels | default dict) (.Values.commonLabels | default dict)) }}
{{- end }}

{{/* A changed configuration means new pods; what a monitor scrapes is not scraped by annotation too. */}}
{{- define "helmreboot.podAnnotations" -}}
{{- $own := dict }}
{{- with .Values.config }}{{ $_ := set $own "checksum/config" (toYaml . | sha256sum) }}{{ end }}
{{- if not (or .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled) }}
{{- $_ := set $own "prometheus.io/scrape" "true" }}
{{- $_ := set $own "prometheus.io/port" "8080" }}
{{- end }}
{{- toYaml (merge $own (.Values.podAnnotations | default dict)) }}
{{- end }}

{{/* The labels of an object with further ones, given as a list of context and labels: no key may occur twice. */}}
{{- define "helmreboot.labelsWith" -}}
{{- toYaml (merge (include "helmreboot.labels" (index . 0) | fromYaml) (index . 1 | default dict)) }}
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
{{- .Values.key.existingSecret | default (printf "%s-token" (include "helmreboot.fullname" .)) }}
{{- end }}

{{/* The key itself is the file "token", whatever the Secret calls it. */}}
{{- define "helmreboot.keyItems" -}}
{{- $key := .Values.key.existingSecretKey | default "token" }}
{{- if and .Values.key.existingSecret (ne $key "token") }}
items:
  - key: {{ $key | quote }}
    path: token
{{- end }}
{{- end }}

{{/* The host names of the Ingress, each once. */}}
{{- define "helmreboot.ingressHosts" -}}
{{- toYaml (prepend (.Values.ingress.hosts | default list) .Values.ingress.host | compact | uniq) }}
{{- end }}

{{- define "helmreboot.fluxSecret" -}}
{{- .Values.flux.secretName | default (printf "%s-token" (include "helmreboot.clusterWide" .)) }}
{{- end }}

{{/* Whether Flux's Secret is the very one that helmreboot reads. */}}
{{- define "helmreboot.oneSecret" -}}
{{- if and (not .Values.spoke.enabled) (eq .Values.flux.namespace .Release.Namespace) (eq (include "helmreboot.fluxSecret" .) (include "helmreboot.keySecret" .)) }}true{{ end }}
{{- end }}

{{- define "helmreboot.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled }}
{{- printf "%s-tls" (include "helmreboot.fullname" .) }}
{{- else }}
{{- .Values.tls.existingSecret }}
{{- end }}
{{- end }}

{{/* What helmreboot calls the cluster it runs in, or its only one; empty where it runs in none of config.clusters. */}}
{{- define "helmreboot.clusterName" -}}
{{- if (.Values.config).clusters }}
{{- range .Values.config.clusters }}{{ if .inCluster }}{{ .name }}{{ end }}{{ end }}
{{- else }}
{{- (.Values.config).clusterName | default "default" }}
{{- end }}
{{- end }}

{{/* Whether the cluster it is installed in is one of those it serves. */}}
{{- define "helmreboot.servesOwn" -}}
{{- $remote := and (not (.Values.config).clusters) (or (.Values.config).kubeconfig (.Values.config).context) }}
{{- if or .Values.spoke.enabled (and (not $remote) (include "helmreboot.clusterName" .)) }}true{{ end }}
{{- end }}

{{/* What is done in the cluster it runs in. */}}
{{- define "helmreboot.ownMode" -}}
{{- $mode := .Values.mode }}
{{- range (.Values.config).clusters }}{{ if and .inCluster (eq (toString .mode) "observe") }}{{ $mode = "observe" }}{{ end }}{{ end }}
{{- $mode }}
{{- end }}

{{- define "helmreboot.host" -}}
{{- printf "%s.%s.svc" (include "helmreboot.fullname" .) .Release.Namespace }}
{{- end }}

{{- define "helmreboot.address" -}}
{{- $scheme := ternary "https" "http" (ne (include "helmreboot.tlsSecret" .) "") }}
{{- printf "%s://%s.%s:%v/webhook" $scheme (include "helmreboot.host" .) .Values.clusterDomain .Values.service.port }}
{{- end }}

{{/* YAML 1.1 reads a bare off as false. */}}
{{- define "helmreboot.sweep" -}}
{{- ternary "off" .Values.sweep (eq (toString .Values.sweep) "false") }}
{{- end }}

{{/* How long an interval is; 0 where there is none, or none that helmreboot reads. */}}
{{- define "helmreboot.sweepSeconds" -}}
{{- $seconds := 0 }}
{{- if regexMatch "^([0-9]{1,4}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$" (include "helmreboot.sweep" .) }}
{{- range regexFindAll "[0-9]+[smh]" (include "helmreboot.sweep" .) -1 }}
{{- $unit := ternary 3600 (ternary 60 1 (hasSuffix "m" .)) (hasSuffix "h" .) }}
{{- $seconds = add $seconds (mul $unit (regexFind "^[0-9]+" . | atoi)) }}
{{- end }}
{{- end }}
{{- $seconds }}
{{- end }}

{{- define "helmreboot.elects" -}}
{{- if and .Values.leaderElection (gt (int .Values.replicas) 1) (not .Values.spoke.enabled) }}true{{ end }}
{{- end }}

{{/* Exactly the verbs that the settings make helmreboot use. */}}
{{- define "helmreboot.rules" -}}
{{- $verbs := list "get" }}
{{- if ne (include "helmreboot.sweep" .) "off" }}{{ $verbs = append $verbs "list" }}{{ end }}
{{- if eq (include "helmreboot.sweep" .) "watch" }}{{ $verbs = append $verbs "watch" }}{{ end }}
{{- if eq (include "helmreboot.ownMode" .) "act" }}{{ $verbs = append $verbs "patch" }}{{ end -}}
- apiGroups: [helm.toolkit.fluxcd.io]
  resources: [helmreleases]
  verbs: [{{ join ", " $verbs }}]
{{- if and (eq (include "helmreboot.ownMode" .) "act") (ne (toString (.Values.config).kubernetesEvents) "false") }}
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
{{- end }}

{{/* Where Flux events go; empty for nowhere. Clusters of a list have their own address. */}}
{{- define "helmreboot.eventsAddr" -}}
{{- if and .Values.flux.events (include "helmreboot.servesOwn" .) (not .Values.spoke.enabled) (not (.Values.config).clusters) }}
{{- (.Values.config).eventsAddr | default (printf "http://notification-controller.%s.svc.%s./" .Values.flux.namespace .Values.clusterDomain) }}
{{- end }}
{{- end }}

{{/* How Prometheus scrapes, from the values of either monitor. */}}
{{- define "helmreboot.scrape" -}}
interval: {{ .interval | quote }}
# Which cluster a series is about is helmreboot's to say.
honorLabels: true
{{- range $field := list "scrapeTimeout" "relabelings" "metricRelabelings" }}
{{- with index $ $field }}
{{ toYaml (dict $field .) }}
{{- end }}
{{- end }}
{{- end }}
