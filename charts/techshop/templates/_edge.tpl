{{/* What clients outside may ask for, as the Gateway API calls the ways to compare: a list of type and path. The rest is for machines inside. */}}
{{- define "techshop.publicPaths" -}}
- {type: Exact, value: /}
- {type: PathPrefix, value: /api}
- {type: PathPrefix, value: /pictures}
{{- end -}}

{{/* The names for which the ways in need a certificate, as a list. */}}
{{- define "techshop.secureHosts" -}}
{{- $hosts := list -}}
{{- if and .Values.ingress.enabled .Values.ingress.tls.enabled -}}
{{- $hosts = .Values.ingress.hosts -}}
{{- end -}}
{{- if and .Values.gateway.enabled .Values.gateway.className .Values.gateway.tls.enabled -}}
{{- $hosts = concat $hosts .Values.gateway.hosts -}}
{{- end -}}
{{- uniq $hosts | toYaml -}}
{{- end -}}

{{/* The Secret with their certificate. */}}
{{- define "techshop.edgeSecret" -}}
{{- with .Values.certificates -}}
{{- if not (or .existingSecret .issuerRef.name) -}}
{{- fail "certificates.issuerRef.name: the way in answers at https, but nobody issues its certificate; write the name of a cert-manager issuer, or in certificates.existingSecret that of a Secret with tls.crt and tls.key, or set tls.enabled of ingress and gateway to false" -}}
{{- end -}}
{{- .existingSecret | default (printf "%s-edge-tls" (include "common.base" $)) -}}
{{- end -}}
{{- end -}}

{{/* Metadata of an object of the ways in: dict "ctx" $ "name" NAME "annotations" ANNOTATIONS. */}}
{{- define "techshop.edgeMetadata" -}}
{{- include "common.metadata" . }}
{{- with .annotations }}
annotations:
  {{- include "common.strings" . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Refuse ways in that lead nowhere; renders nothing. */}}
{{- define "techshop.checkEdge" -}}
{{- range $way := list "ingress" "gateway" }}
{{- with get $.Values $way }}
{{- if and .enabled (not $.Values.app.enabled) }}
{{- fail (printf "%s.enabled: app.enabled is false, so there is no shop to lead to; write %s.enabled: false" $way $way) }}
{{- end }}
{{- if and .enabled (not .hosts) (or (eq $way "ingress") .className) }}
{{- fail (printf "%s.hosts: without a name it would answer for every name that leads to the cluster; write those at which clients find the shop, e.g. [shop.example.com]" $way) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.gateway }}
{{- if and .enabled (eq (empty .className) (empty .parentRefs)) }}
{{- fail (printf "gateway.parentRefs: %s; write the Gateways of the cluster that shall lead to the shop, or in gateway.className the class of one of its own" (ternary "no Gateway takes the route" "gateway.className makes a Gateway for this release alone, which takes the route instead" (empty .className))) }}
{{- end }}
{{- end }}
{{- with get (.Values.ingress.annotations | default dict) "kubernetes.io/ingress.class" }}
{{- fail (printf "ingress.annotations: kubernetes.io/ingress.class has not chosen a controller for years; write ingress.className: %v" .) }}
{{- end }}
{{- end -}}
