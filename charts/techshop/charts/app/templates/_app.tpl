{{/* The MongoDB to talk to, without credentials: one address is enough, the driver learns the members from it. */}}
{{- define "app.mongodbUri" -}}
{{- $host := include "common.dns" (dict "ctx" . "service" (printf "%s-mongodb" (include "common.base" .))) -}}
{{- .Values.mongodb.uri | default (printf "mongodb://%s:27017/techshop?replicaSet=rs0" $host) -}}
{{- end -}}

{{/* The Redis to talk to, without credentials. */}}
{{- define "app.redisUrl" -}}
{{- $host := include "common.dns" (dict "ctx" . "service" (printf "%s-redis" (include "common.base" .))) -}}
{{- .Values.redis.url | default (printf "redis://%s:6379" $host) -}}
{{- end -}}

{{/* A variable from a Secret: dict "ctx" $ "name" VARIABLE "part" WHOSE "key" KEY. */}}
{{- define "app.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ include "common.secretName" . }}
      key: {{ .key }}
{{- end -}}

{{/* The container's own variables. */}}
{{- define "app.env" -}}
- name: PORT
  value: "3000"
- name: LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
- name: DRAIN_SECONDS
  value: {{ .Values.drainSeconds | quote }}
- name: MONGODB_URI
  value: {{ include "app.mongodbUri" . | quote }}
- name: MONGODB_USERNAME
  value: app
{{ include "app.secretEnv" (dict "ctx" . "name" "MONGODB_PASSWORD" "part" "mongodb" "key" "app-password") }}
- name: REDIS_URL
  value: {{ include "app.redisUrl" . | quote }}
- name: REDIS_USERNAME
  value: app
{{ include "app.secretEnv" (dict "ctx" . "name" "REDIS_PASSWORD" "part" "redis" "key" "app-password") }}
{{ include "app.secretEnv" (dict "ctx" . "name" "JWT_SECRET" "part" "app" "key" "jwt-secret") }}
{{- end -}}

{{/* What it can ask of a quota: its most pods, one more in a rollout, and the pod of `helm test`. */}}
{{- define "app.demand" -}}
{{- $pods := ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled -}}
{{- include "common.demand" (dict "pods" (add $pods 2) "containers" (list .Values.resources)) -}}
{{- end -}}
