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
{{- end -}}

{{/* Mounts of both containers. */}}
{{- define "redis.mounts" -}}
- name: scripts
  mountPath: /scripts
- name: secrets
  mountPath: /secrets
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
{{- $containers := list .Values.resources -}}
{{- if .Values.cluster.enabled -}}
{{- $containers = append $containers .Values.reconciler.resources -}}
{{- end -}}
{{- include "common.demand" (dict "pods" (include "redis.pods" .) "containers" $containers "size" .Values.persistence.size) -}}
{{- end -}}
