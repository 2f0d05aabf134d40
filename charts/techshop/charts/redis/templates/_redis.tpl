{{/* How many pods: shards with their replicas, or one. */}}
{{- define "redis.pods" -}}
{{- with .Values.cluster -}}
{{- ternary (mul .shards (add 1 .replicasPerShard)) 1 .enabled -}}
{{- end -}}
{{- end -}}

{{/* The headless Service by which nodes know each other. */}}
{{- define "redis.nodes" -}}
{{- printf "%s-nodes" (include "common.fullname" .) -}}
{{- end -}}

{{/* Variables of both containers. */}}
{{- define "redis.env" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: CLUSTER
  value: {{ .Values.cluster.enabled | quote }}
{{ include "common.tlsEnv" . }}
{{- end -}}

{{/* Mounts of both containers. */}}
{{- define "redis.mounts" -}}
- name: scripts
  mountPath: /scripts
- name: secrets
  mountPath: /secrets
- name: run
  mountPath: /run/redis
{{- if .Values.global.tls.enabled }}
- name: tls
  mountPath: /tls
{{- end }}
{{- end -}}

{{/* Variables of the exporter. */}}
{{- define "redis.exporterEnv" -}}
{{- $host := include "common.dns" (dict "ctx" . "service" (include "redis.nodes" .)) -}}
- name: REDIS_ADDR
  value: {{ printf "%s://$(POD_NAME).%s:6379" (ternary "rediss" "redis" .Values.global.tls.enabled) $host | quote }}
- name: REDIS_USER
  value: exporter
{{ include "common.secretEnv" (dict "ctx" . "name" "REDIS_PASSWORD" "part" "redis" "key" "exporter-password") }}
{{- if .Values.global.tls.enabled }}
- name: REDIS_EXPORTER_TLS_CA_CERT_FILE
  value: /tls/ca.crt
{{- end }}
{{- end -}}

{{/* A probe that any answer satisfies, also that redis-server loads its data or wants a password. */}}
{{- define "redis.ping" -}}
exec:
  command: [timeout, "4", redis-cli, {{ if .Values.global.tls.enabled }}--tls, --cacert, /tls/ca.crt, {{ end }}ping]
timeoutSeconds: 5
{{- end -}}

{{/* Variables of redis-server's container. */}}
{{- define "redis.serverEnv" -}}
{{ include "redis.env" . }}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: ZONE # empty on Kubernetes before 1.35, which doesn't label pods with it
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['topology.kubernetes.io/zone']
- name: NODE_TIMEOUT_MILLIS
  value: {{ .Values.cluster.nodeTimeoutMillis | int | quote }}
{{ include "common.memoryLimitEnv" "redis" }}
{{- end -}}

{{/* What it can ask of a quota. */}}
{{- define "redis.demand" -}}
{{- include "common.storeDemand" (dict "ctx" . "pods" (include "redis.pods" .)) -}}
{{- end -}}
