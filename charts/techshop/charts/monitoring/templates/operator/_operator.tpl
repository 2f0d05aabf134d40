{{/* Metadata of an object that others find by labels: dict "ctx" $ "labels" LABELS and, where it isn't the part's name, "name". */}}
{{- define "monitoring.labelled" -}}
{{- $metadata := include "common.metadata" . | fromYaml -}}
{{- $_ := set $metadata "labels" (merge $metadata.labels (include "common.strings" (.labels | default dict) | fromYaml)) -}}
{{- toYaml $metadata -}}
{{- end -}}

{{/* Relabelling as the operator writes it, from Prometheus' own: a list. */}}
{{- define "monitoring.asOperator" -}}
{{- $names := dict "source_labels" "sourceLabels" "target_label" "targetLabel" -}}
{{- $rules := list -}}
{{- range . -}}
{{- $rule := dict -}}
{{- range $key, $value := . -}}
{{- $_ := set $rule (get $names $key | default $key) $value -}}
{{- end -}}
{{- $rules = append $rules $rule -}}
{{- end -}}
{{- toYaml $rules -}}
{{- end -}}
