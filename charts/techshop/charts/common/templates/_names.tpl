{{/* The release's part of every name: at most 38 characters, so that the longest suffix still fits a StatefulSet's 52. */}}
{{- define "common.base" -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- $base := ternary $release (printf "%s-techshop" $release) (contains "techshop" $release) -}}
{{- if gt (len $base) 38 -}}
{{- $base = printf "%s-%s" (trunc 31 $base | trimSuffix "-") (sha256sum $base | trunc 6) -}}
{{- end -}}
{{- $base -}}
{{- end -}}

{{/* The name of a part's objects: BASE-PART; "component" in the context stands for a second kind of pods that a part has. */}}
{{- define "common.fullname" -}}
{{- printf "%s-%s" (include "common.base" .) (.component | default .Chart.Name) -}}
{{- end -}}

{{/* Where the values of a part stand, as messages say it: under its name, or those of a component under the part's. */}}
{{- define "common.place" -}}
{{- .Place | default .Chart.Name -}}
{{- end -}}

{{/*
For a part of several components: make of a dict with "ctx" $ and "component" NAME a context that every helper takes for `.`, with
the component's values, which stand under the part's own, e.g. those of kube-state-metrics under kubeStateMetrics.
*/}}
{{- define "common.component" -}}
{{- $ctx := .ctx -}}
{{- $key := .component | replace "-" " " | title | nospace | untitle -}}
{{- $_ := set . "Values" (merge (dict "global" $ctx.Values.global) (get $ctx.Values $key)) -}}
{{- $_ := set . "Place" (printf "%s.%s" $ctx.Chart.Name $key) -}}
{{- range list "Chart" "Release" "Capabilities" "Files" -}}
{{- $_ := set $ . (get $ctx .) -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a part, or of its "component"; never changes. */}}
{{- define "common.selectorLabels" -}}
app.kubernetes.io/name: techshop
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: {{ .component | default .Chart.Name }}
{{- end -}}

{{/* The labels of an object that is not a pod. */}}
{{- define "common.labels" -}}
{{- $own := include "common.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "techshop" -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/version" (.Chart.AppVersion | default .Chart.Version) -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- include "common.strings" (merge $own (.Values.global.labels | default dict)) -}}
{{- end -}}

{{/* A map as YAML whose values are all strings: labels and annotations must not become numbers or booleans. Helm reads 1000000 as a float, which would print as 1e+06. */}}
{{- define "common.strings" -}}
{{- $strings := dict -}}
{{- range $key, $value := . -}}
{{- $text := toString $value -}}
{{- if and (kindIs "float64" $value) (eq $value (floor $value)) -}}
{{- $text = printf "%.0f" $value -}}
{{- end -}}
{{- $_ := set $strings $key $text -}}
{{- end -}}
{{- toYaml $strings -}}
{{- end -}}

{{/* name, namespace and labels of an object: dict "ctx" $ and, where it is not the part's name, "name". */}}
{{- define "common.metadata" -}}
name: {{ .name | default (include "common.fullname" .ctx) }}
namespace: {{ .ctx.Release.Namespace | quote }}
labels:
  {{- include "common.labels" .ctx | nindent 2 }}
{{- end -}}

{{/* The same of an object that belongs to no namespace; its name says which one it is for. */}}
{{- define "common.clusterMetadata" -}}
name: {{ .ctx.Release.Namespace }}-{{ include "common.fullname" .ctx }}
labels:
  {{- include "common.labels" .ctx | nindent 2 }}
{{- end -}}

{{/* The DNS name of a Service of this release: dict "ctx" $ "service" NAME. */}}
{{- define "common.dns" -}}
{{- printf "%s.%s.svc.%s" .service .ctx.Release.Namespace .ctx.Values.global.clusterDomain -}}
{{- end -}}
