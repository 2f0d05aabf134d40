{{/* The container that tells Prometheus how a store does. It has no readiness: without it the store still serves: dict "ctx" $ "port" PORT "env" YAML "args" YAML. */}}
{{- define "common.exporter" -}}
{{- $exporter := .ctx.Values.exporter -}}
{{- if $exporter.enabled -}}
- name: exporter
  {{- include "common.container" (dict "ctx" .ctx "image" $exporter.image "resources" $exporter.resources "at" (printf "%s.exporter.resources" (include "common.place" .ctx))) | nindent 2 }}
  {{- with .args }}
  args:
    {{- . | nindent 4 }}
  {{- end }}
  ports:
    - name: metrics
      containerPort: {{ .port }}
  env:
    - name: POD_NAME
      valueFrom:
        fieldRef:
          fieldPath: metadata.name
    {{- .env | nindent 4 }}
  livenessProbe:
    httpGet:
      path: /
      port: metrics
    periodSeconds: 30
    timeoutSeconds: 5
    failureThreshold: 4
  {{- if .ctx.Values.global.tls.enabled }}
  volumeMounts:
    - name: tls
      mountPath: /tls
  {{- end }}
{{- end -}}
{{- end -}}
