{{/* The MongoDB to talk to, without credentials: one address is enough, the driver learns the members from it. */}}
{{- define "app.mongodbUri" -}}
{{- $host := include "common.dns" (dict "ctx" . "service" (printf "%s-mongodb" (include "common.base" .))) -}}
{{- $tls := ternary "&tls=true&tlsCAFile=/tls/mongodb/ca.crt" "" .Values.global.tls.enabled -}}
{{- .Values.mongodb.uri | default (printf "mongodb://%s:27017/techshop?replicaSet=rs0%s" $host $tls) -}}
{{- end -}}

{{/* The Redis to talk to, without credentials. */}}
{{- define "app.redisUrl" -}}
{{- $host := include "common.dns" (dict "ctx" . "service" (printf "%s-redis" (include "common.base" .))) -}}
{{- .Values.redis.url | default (printf "%s://%s:6379" (ternary "rediss" "redis" .Values.global.tls.enabled) $host) -}}
{{- end -}}

{{/* The stores of this release that talk TLS, as a list. */}}
{{- define "app.tlsStores" -}}
{{- $outside := dict "mongodb" .Values.mongodb.uri "redis" .Values.redis.url -}}
{{- range $part, $address := $outside }}
{{- if and $.Values.global.tls.enabled (not $address) }}
- {{ $part }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
What finds the pictures' bucket. A part can't see whether another is on, so that nothing waits for what isn't there; the
storefront itself refuses a bucket without keys.
*/}}
{{- define "app.s3Env" -}}
- name: S3_IDENTITY
  valueFrom:
    configMapKeyRef:
      name: {{ include "common.base" . }}-objectstorage
      key: identity
      optional: true
{{- range include "common.s3Env" (dict "ctx" . "bucket" "assets") | fromYamlArray }}
{{- range .valueFrom }}
{{- $_ := set . "optional" true }}
{{- end }}
{{ list . | toYaml }}
{{- end }}
{{- end -}}

{{/* Where traces go and how many. A part can't see whether another is on: without the variables the storefront traces nothing. */}}
{{- define "app.tracingEnv" -}}
{{- range $name, $key := dict "OTEL_EXPORTER_OTLP_ENDPOINT" "endpoint" "OTEL_TRACES_SAMPLER_ARG" "sampling-ratio" }}
- name: {{ $name }}
  valueFrom:
    configMapKeyRef:
      name: {{ include "common.base" $ }}-tracing
      key: {{ $key }}
      optional: true
{{- end }}
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
{{ include "common.secretEnv" (dict "ctx" . "name" "MONGODB_PASSWORD" "part" "mongodb" "key" "app-password") }}
- name: REDIS_URL
  value: {{ include "app.redisUrl" . | quote }}
- name: REDIS_USERNAME
  value: app
{{- if has "redis" (include "app.tlsStores" . | fromYamlArray) }}
- name: REDIS_CA_FILE
  value: /tls/redis/ca.crt
{{- end }}
{{ include "common.secretEnv" (dict "ctx" . "name" "REDIS_PASSWORD" "part" "redis" "key" "app-password") }}
{{ include "common.secretEnv" (dict "ctx" . "name" "JWT_SECRET" "part" "app" "key" "jwt-secret") }}
{{ include "app.s3Env" . | trim }}
{{ include "app.tracingEnv" . | trim }}
{{ include "common.secretEnv" (dict "ctx" . "name" "UPLOAD_TOKEN" "part" "app" "key" "upload-token" "optional" true) }}
{{- end -}}

{{/* What it can ask of a quota: its most pods, one more in a rollout, and the pod of `helm test`. */}}
{{- define "app.demand" -}}
{{- $pods := ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled -}}
{{- include "common.demand" (dict "pods" (add $pods 2) "containers" (list .Values.resources)) -}}
{{- end -}}
