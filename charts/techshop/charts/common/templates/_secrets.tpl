{{/* The Secret a part reads: the user's own or the part's: dict "ctx" $ "part" NAME. */}}
{{- define "common.secretName" -}}
{{- get .ctx.Values.global.secrets.existing .part | default (printf "%s-%s" (include "common.base" .ctx) .part) -}}
{{- end -}}

{{/*
A part's Secret: dict "ctx" $ "lengths" (dict KEY CHARACTERS ...) and, unless all of them, what one of the user's own must have
in "required" (list KEY ...). What the cluster already holds stays as it is. A new
value comes from the seed or, without one, from chance; chance needs a cluster to keep it, so where none can be seen
(helm template) and there is no seed, nothing is rendered. Only a live cluster lists its kinds in the capabilities.
*/}}
{{- define "common.secret" -}}
{{- $secrets := .ctx.Values.global.secrets -}}
{{- $name := include "common.fullname" .ctx -}}
{{- $part := .ctx.component | default .ctx.Chart.Name -}}
{{- include "common.checkSecret" (dict "ctx" .ctx "part" $part "keys" (.required | default (keys .lengths))) -}}
{{- $live := .ctx.Capabilities.APIVersions.Has "v1/Secret" -}}
{{- if and (not (get $secrets.existing $part)) (or $live $secrets.seed) -}}
{{- $kept := (lookup "v1" "Secret" .ctx.Release.Namespace $name).data | default dict -}}
apiVersion: v1
kind: Secret
metadata:
  {{- include "common.metadata" (dict "ctx" .ctx) | nindent 2 }}
  annotations:
    helm.sh/resource-policy: keep
type: Opaque
data:
  {{- range $key, $length := .lengths }}
  {{- $derived := printf "%s/%s/%s/%s" $secrets.seed $.ctx.Release.Namespace $name $key | sha256sum | trunc (int $length) }}
  {{ $key }}: {{ get $kept $key | default (ternary $derived (randAlphaNum (int $length)) (not (empty $secrets.seed)) | b64enc) | quote }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* A variable from a Secret: dict "ctx" $ "name" VARIABLE "part" WHOSE "key" KEY ["optional" true]. */}}
{{- define "common.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ include "common.secretName" . | quote }}
      key: {{ .key }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end -}}

{{/* Refuse a Secret of the user's own that is there but lacks a key: dict "ctx" $ "part" NAME "keys" (list KEY ...). */}}
{{- define "common.checkSecret" -}}
{{- $name := get .ctx.Values.global.secrets.existing .part -}}
{{- if $name -}}
{{- $data := (lookup "v1" "Secret" $.ctx.Release.Namespace $name).data | default dict -}}
{{- range $key := sortAlpha $.keys -}}
{{- if and $data (not (get $data $key)) -}}
{{- fail (printf "global.secrets.existing.%s: the Secret %s has no %s, without which pods can't start; add it, or name another Secret" $.part $name $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
