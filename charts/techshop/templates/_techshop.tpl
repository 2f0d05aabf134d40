{{/* A selector for the pods of this release or, with "component", of one part: dict "ctx" $ ["component" NAME]. */}}
{{- define "techshop.pods" -}}
matchLabels:
  app.kubernetes.io/name: techshop
  app.kubernetes.io/instance: {{ .ctx.Release.Name | quote }}
  {{- with .component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
{{- end -}}

{{/* The way to what may have any address: a list of its ports, or of none for all. */}}
{{- define "techshop.egressAnywhere" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
    - ipBlock:
        cidr: ::/0
  {{- with . }}
  ports:
    {{- range . }}
    - {protocol: TCP, port: {{ int64 . }}}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* The storefront's way to a store; one outside the release may be anywhere and have any port: dict "ctx" $ "component" NAME "port" PORT "outside" ADDRESS. */}}
{{- define "techshop.egressToStore" -}}
{{- if .outside -}}
{{- include "techshop.egressAnywhere" list -}}
{{- else -}}
- to:
    - podSelector:
        {{- include "techshop.pods" . | nindent 8 }}
  ports:
    - {protocol: TCP, port: {{ .port }}}
{{- end -}}
{{- end -}}

{{/* The way to the object storage, wherever it is; one outside has others beside it, such as who gives temporary keys. */}}
{{- define "techshop.egressToBucket" -}}
{{- with .Subcharts.objectstorage -}}
{{- include "techshop.egressToStore" (dict "ctx" $ "component" "objectstorage" "port" 8333 "outside" (ternary .Values.external.endpoint "" .Values.external.enabled)) -}}
{{- end -}}
{{- end -}}

{{/* The stores that the backup reaches, as a list. */}}
{{- define "techshop.backedUp" -}}
{{- with .Subcharts.backup -}}
- mongodb
{{- if and .Values.redis.enabled $.Values.redis.enabled }}
- redis
{{- end }}
{{- end -}}
{{- end -}}

{{/* The component that stores MongoDB's oplog, where it runs: a list of one or none. */}}
{{- define "techshop.storesOplog" -}}
{{- with .Subcharts.backup -}}
{{- if .Values.pitr.enabled -}}
- backup-oplog
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Who asks the object storage: keys, or the ServiceAccount of a pod. */}}
{{- define "techshop.s3Identity" -}}
{{- with .Subcharts.objectstorage -}}
{{- ternary .Values.external.identity "keys" .Values.external.enabled -}}
{{- end -}}
{{- end -}}

{{/* What all parts together can ask of a quota, in thousandths; what one of them leaves open is left out. */}}
{{- define "techshop.demand" -}}
{{- $demands := list -}}
{{- range $part, $chart := .Subcharts -}}
{{- if ne $chart.Chart.Type "library" -}}
{{- $demands = append $demands (include (printf "%s.demand" $part) $chart) -}}
{{- end -}}
{{- end -}}
{{- if has "redis" (include "techshop.backedUp" . | fromYamlArray) -}}
{{- $demands = append $demands (include "backup.redisDemand" .Subcharts.backup) -}}
{{- end -}}
{{- include "common.sum" $demands -}}
{{- end -}}

{{/* Who may scrape metrics: this release's Prometheus, where it runs one, and whom the values name. */}}
{{- define "techshop.scrapers" -}}
{{- with .Subcharts.monitoring }}
{{- if not .Values.operator.enabled }}
- podSelector:
    {{- include "techshop.pods" (dict "ctx" $ "component" "prometheus") | nindent 4 }}
{{- end }}
{{- end }}
{{- with .Values.networkPolicy.scrapers }}
{{ toYaml . }}
{{- end }}
{{- end -}}
