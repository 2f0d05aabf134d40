{{/* A selector for the pods of this release or, with "component", of one part: dict "ctx" $ ["component" NAME]. */}}
{{- define "techshop.pods" -}}
matchLabels:
  app.kubernetes.io/name: techshop
  app.kubernetes.io/instance: {{ .ctx.Release.Name | quote }}
  {{- with .component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
{{- end -}}

{{/* The storefront's way to a store; one outside the release may be anywhere and have any port: dict "ctx" $ "component" NAME "port" PORT "outside" ADDRESS. */}}
{{- define "techshop.egressToStore" -}}
{{- if .outside -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
    - ipBlock:
        cidr: ::/0
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

{{/* What all parts together can ask of a quota, in thousandths; what one of them leaves open is left out. */}}
{{- define "techshop.demand" -}}
{{- $demands := list -}}
{{- range $part, $chart := .Subcharts -}}
{{- if ne $chart.Chart.Type "library" -}}
{{- with include (printf "%s.demand" $part) $chart | fromYaml -}}
{{- $demands = append $demands . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $resource, $_ := first $demands }}
{{- $sum := 0.0 }}
{{- $open := false }}
{{- range $demands }}
{{- $open = or $open (not (hasKey . $resource)) }}
{{- $sum = addf $sum (get . $resource) }}
{{- end }}
{{- if not $open }}
{{ $resource }}: {{ printf "%.0f" $sum | quote }}
{{- end }}
{{- end }}
{{- end -}}
