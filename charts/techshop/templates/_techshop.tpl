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
