{{/* The Secret of a part's certificate: the user's own or the one that cert-manager fills: dict "ctx" $ "part" NAME. */}}
{{- define "common.tlsSecretName" -}}
{{- $tls := .ctx.Values.global.tls -}}
{{- $own := get $tls.existing .part -}}
{{- if not (or $own $tls.issuerRef.name) -}}
{{- fail (printf "global.tls.issuerRef.name: global.tls.enabled is true, but nobody issues a certificate for %s; write the name of a cert-manager issuer, or in global.tls.existing.%s that of a Secret with tls.crt, tls.key and ca.crt" .part .part) -}}
{{- end -}}
{{- $own | default (printf "%s-%s-tls" (include "common.base" .ctx) .part) -}}
{{- end -}}

{{/*
What cert-manager shall issue for a part, unless the user brought a Secret: dict "ctx" $ "services" (list SERVICE ...),
the headless ones whose pods have a name each. A node is a server to clients and a client of its peers.
*/}}
{{- define "common.certificate" -}}
{{- $tls := .ctx.Values.global.tls -}}
{{- if and $tls.enabled (not (get $tls.existing .ctx.Chart.Name)) -}}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  {{- include "common.metadata" (dict "ctx" .ctx) | nindent 2 }}
spec:
  secretName: {{ include "common.tlsSecretName" (dict "ctx" .ctx "part" .ctx.Chart.Name) | quote }}
  issuerRef:
    {{- include "common.strings" $tls.issuerRef | nindent 4 }}
  subject:
    organizations: [techshop]
  dnsNames:
    {{- range .services }}
    {{- $name := include "common.dns" (dict "ctx" $.ctx "service" .) }}
    - {{ $name | quote }}
    - {{ printf "*.%s" $name | quote }}
    {{- end }}
    - localhost
  usages: [digital signature, key encipherment, server auth, client auth]
  privateKey:
    algorithm: ECDSA
    size: 256
    rotationPolicy: Always
{{- end -}}
{{- end -}}

{{/* Tells a store's scripts whether to use TLS. */}}
{{- define "common.tlsEnv" -}}
- name: TLS
  value: {{ .Values.global.tls.enabled | quote }}
{{- end -}}

{{/*
A store's nodes can't be moved to TLS one by one: those that want it and those that don't understand each other no more,
and the store would have no majority half way.
*/}}
{{- define "common.tlsUnchanged" -}}
{{- $name := include "common.fullname" . -}}
{{- $running := lookup "apps/v1" "StatefulSet" .Release.Namespace $name -}}
{{- with $running -}}
{{- $before := false -}}
{{- range dig "spec" "template" "spec" "volumes" list . -}}
{{- if eq .name "tls" -}}{{- $before = true -}}{{- end -}}
{{- end -}}
{{- if ne $before $.Values.global.tls.enabled -}}
{{- fail (printf "global.tls.enabled: %s runs with it %t, and its nodes would no longer understand each other half way through; uninstall the release, which keeps volumes and passwords, and install it anew with %t" $name $before $.Values.global.tls.enabled) -}}
{{- end -}}
{{- end -}}
{{- end -}}
