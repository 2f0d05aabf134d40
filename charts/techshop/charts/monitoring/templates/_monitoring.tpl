{{/* Make of a dict with "ctx" $ and "component" NAME the context of a component (common.component), and say so when it runs. */}}
{{- define "monitoring.component" -}}
{{- include "common.component" . -}}
{{- if and (not .ctx.Values.operator.enabled) (dig "enabled" true .Values) -}}on{{- end -}}
{{- end -}}

{{/* What it can ask of a quota: nothing while the cluster's operator does the work. */}}
{{- define "monitoring.demand" -}}
{{- $demands := list -}}
{{- range list "prometheus" "alertmanager" "kube-state-metrics" "node-exporter" "grafana" -}}
{{- $component := dict "ctx" $ "component" . -}}
{{- if include "monitoring.component" $component -}}
{{- $values := $component.Values -}}
{{- $demand := dict "pods" ($values.nodes | default 1 | int64) "containers" (list $values.resources) -}}
{{- with $values.persistence -}}
{{- $_ := set $demand "size" .size -}}
{{- end -}}
{{- $demands = append $demands (include "common.demand" $demand) -}}
{{- end -}}
{{- end -}}
{{- include "common.sum" $demands -}}
{{- end -}}

{{/*
Files of rules or dashboards as ConfigMap entries, with what is this release's filled in: dict "ctx" $ "files" PATTERN and, where
their names must differ from those of other releases, "prefix".
*/}}
{{- define "monitoring.files" -}}
{{- range $path, $content := .ctx.Files.Glob .files }}
{{ $.prefix }}{{ base $path }}: |
  {{- include "monitoring.filled" (dict "ctx" $.ctx "text" (toString $content)) | trim | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A text with the placeholders of rules and dashboards filled in; nothing else in it is ours: dict "ctx" $ "text" TEXT. */}}
{{- define "monitoring.filled" -}}
{{- $fills := dict "${NAMESPACE}" .ctx.Release.Namespace "${RELEASE}" .ctx.Release.Name "${BASE}" (include "common.base" .ctx) "${ID}" (include "monitoring.id" .ctx) "${RUNBOOKS}" .ctx.Values.runbooksUrl -}}
{{- $text := .text -}}
{{- range $placeholder, $fill := $fills -}}
{{- $text = replace $placeholder $fill $text -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/* What tells this release from others in a Grafana that has dashboards of several. */}}
{{- define "monitoring.id" -}}
{{- printf "%s/%s" .Release.Namespace (include "common.base" .) | sha256sum | trunc 8 -}}
{{- end -}}

{{/* Probes over HTTP: dict "live" PATH "ready" PATH "patience" SECONDS-TO-START and, where it isn't metrics, the ports "livePort" and "readyPort". */}}
{{- define "monitoring.probes" -}}
startupProbe:
  {{- include "monitoring.answers" (dict "path" .ready "port" .readyPort) | nindent 2 }}
  periodSeconds: 2
  failureThreshold: {{ div .patience 2 }}
livenessProbe:
  {{- include "monitoring.answers" (dict "path" .live "port" .livePort) | nindent 2 }}
  periodSeconds: 30
  failureThreshold: 4
readinessProbe:
  {{- include "monitoring.answers" (dict "path" .ready "port" .readyPort) | nindent 2 }}
  periodSeconds: 5
{{- end -}}

{{- define "monitoring.answers" -}}
httpGet:
  path: {{ .path }}
  port: {{ .port | default "metrics" }}
timeoutSeconds: 5
{{- end -}}

{{/* The address of a component within the release: dict "ctx" $ "component" NAME "port" PORT. */}}
{{- define "monitoring.address" -}}
{{- $service := printf "%s-%s" (include "common.base" .ctx) .component -}}
{{- printf "%s:%d" (include "common.dns" (dict "ctx" .ctx "service" $service)) .port -}}
{{- end -}}
