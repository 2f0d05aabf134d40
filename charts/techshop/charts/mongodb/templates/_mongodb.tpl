{{/* A member's address: dict "ctx" $ "ordinal" N. */}}
{{- define "mongodb.host" -}}
{{- $name := include "common.fullname" .ctx -}}
{{- printf "%s-%d.%s" $name .ordinal (include "common.dns" (dict "ctx" .ctx "service" $name)) -}}
{{- end -}}

{{/* Mounts of both containers. */}}
{{- define "mongodb.mounts" -}}
- name: scripts
  mountPath: /scripts
- name: secrets
  mountPath: /secrets
- name: run
  mountPath: /run/mongodb
- name: tmp
  mountPath: /tmp
{{- if .Values.global.tls.enabled }}
- name: tls
  mountPath: /tls
{{- end }}
{{- end -}}

{{/* Variables of mongod's container. */}}
{{- define "mongodb.serverEnv" -}}
{{ include "common.tlsEnv" . }}
{{ include "common.memoryLimitEnv" "mongod" }}
{{- end -}}

{{/* Variables of the exporter. */}}
{{- define "mongodb.exporterEnv" -}}
{{- $host := include "common.dns" (dict "ctx" . "service" (include "common.fullname" .)) -}}
- name: MONGODB_URI
  value: {{ printf "mongodb://$(POD_NAME).%s:27017/admin%s" $host (ternary "?tls=true&tlsCAFile=/tls/ca.crt" "" .Values.global.tls.enabled) | quote }}
- name: MONGODB_USER
  value: exporter
{{ include "common.secretEnv" (dict "ctx" . "name" "MONGODB_PASSWORD" "part" "mongodb" "key" "exporter-password") }}
{{- end -}}

{{/* What the exporter tells beside whether mongod is up: state and lag of the members, connections, cache, page faults, sizes, oplog window. */}}
{{- define "mongodb.exporterArgs" -}}
- --collector.diagnosticdata
- --collector.replicasetstatus
- --collector.dbstats
- --collector.topmetrics
- --compatible-mode
{{- end -}}

{{/* A probe that asks mongod itself: dict "question" alive|ready. */}}
{{- define "mongodb.ask" -}}
exec:
  command: [timeout, "4", bash, /scripts/hello.sh, 127.0.0.1, {{ . }}]
timeoutSeconds: 5
{{- end -}}

{{/* What it can ask of a quota. */}}
{{- define "mongodb.demand" -}}
{{- include "common.storeDemand" (dict "ctx" . "pods" .Values.replicaSet.replicas) -}}
{{- end -}}
