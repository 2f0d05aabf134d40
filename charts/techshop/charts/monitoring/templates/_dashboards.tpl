{{/* A ConfigMap for each dashboard, which together are too large for one: dict "ctx" $ and, where something finds them by labels, "labels". */}}
{{- define "monitoring.dashboardMaps" -}}
{{- range include "monitoring.dashboards" .ctx | fromYamlArray }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "monitoring.labelled" (dict "ctx" $.ctx "name" (printf "%s-%s-dashboard" (include "common.base" $.ctx) .) "labels" $.labels) | nindent 2 }}
data:
  {{- include "monitoring.files" (dict "ctx" $.ctx "files" (printf "files/dashboards/%s.json" .) "prefix" (printf "techshop-%s-" (include "monitoring.id" $.ctx))) | nindent 2 }}
{{- end }}
{{- end -}}
