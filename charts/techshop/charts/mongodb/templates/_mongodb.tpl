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
- name: tmp
  mountPath: /tmp
{{- end -}}

{{/* A probe that asks mongod itself: dict "question" alive|ready. */}}
{{- define "mongodb.ask" -}}
exec:
  command: [timeout, "4", bash, /scripts/hello.sh, 127.0.0.1, {{ . }}]
timeoutSeconds: 5
{{- end -}}

{{/* What it can ask of a quota. */}}
{{- define "mongodb.demand" -}}
{{- include "common.demand" (dict "pods" .Values.replicaSet.replicas "containers" (list .Values.resources .Values.reconciler.resources) "size" .Values.persistence.size) -}}
{{- end -}}
