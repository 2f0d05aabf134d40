{{/* Whether Jaeger runs here, and whether it keeps traces on a volume of its own: "true" or nothing. */}}
{{- define "tracing.inside" -}}
{{- ternary "" "true" .Values.external.enabled -}}
{{- end -}}
{{- define "tracing.volume" -}}
{{- if and (include "tracing.inside" .) (eq .Values.store "badger") -}}true{{- end -}}
{{- end -}}

{{/* What the storefront reads, wherever traces go. */}}
{{- define "tracing.client" -}}
{{- $inside := printf "http://%s:4318" (include "common.dns" (dict "ctx" . "service" (include "common.fullname" .))) -}}
endpoint: {{ ternary .Values.external.endpoint $inside .Values.external.enabled | trimSuffix "/" | quote }}
sampling-ratio: {{ .Values.sampling.ratio | quote }}
{{- end -}}

{{/* Jaeger's configuration, which is that of an OpenTelemetry collector. */}}
{{- define "tracing.config" -}}
service:
  extensions: [jaeger_storage, jaeger_query, healthcheckv2]
  pipelines:
    traces:
      receivers: [otlp]
      processors: [memory_limiter, batch]
      exporters: [jaeger_storage_exporter]
  telemetry:
    resource:
      service.name: jaeger
    metrics:
      level: normal
      readers:
        - pull:
            exporter:
              prometheus:
                host: ""
                port: 8888
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: ":4317"
      http:
        endpoint: ":4318"
processors:
  # Refuses traces before the container's limit is reached.
  memory_limiter:
    check_interval: 1s
    limit_percentage: 80
    spike_limit_percentage: 20
  batch: {}
exporters:
  jaeger_storage_exporter:
    trace_storage: traces
extensions:
  healthcheckv2:
    use_v2: true
    http:
      endpoint: ":13133"
  jaeger_query:
    storage:
      traces: traces
    http:
      endpoint: ":16686"
    grpc:
      endpoint: 127.0.0.1:16685
  jaeger_storage:
    backends:
      traces:
        {{- if include "tracing.volume" . }}
        badger:
          ephemeral: false
          directories:
            keys: /data/keys
            values: /data/values
          ttl:
            spans: {{ mul .Values.retentionDays 24 }}h
        {{- else }}
        {{ .Values.store }}:
          server_urls: [{{ .Values.elasticsearch.url | quote }}]
          max_span_age: {{ mul .Values.retentionDays 24 }}h
          {{- if .Values.global.secrets.existing.tracing }}
          auth:
            basic:
              username: ${env:STORE_USERNAME}
              password_file: /secrets/password
              reload_interval: 30s
          {{- end }}
          {{- if .Values.elasticsearch.caBundle }}
          tls:
            ca_file: /config/ca.crt
          {{- end }}
          indices:
            index_prefix: {{ .Values.elasticsearch.indexPrefix | quote }}
            {{- range list "spans" "services" "dependencies" }}
            {{ . }}:
              date_layout: "2006-01-02"
              rollover_frequency: day
              shards: 1
              replicas: {{ $.Values.elasticsearch.replicas }}
            {{- end }}
        {{- end }}
{{- end -}}

{{/* Jaeger's files; pods restart when they change. */}}
{{- define "tracing.files" -}}
config.yaml: |
  {{- include "tracing.config" . | nindent 2 }}
{{- if and (not (include "tracing.volume" .)) .Values.elasticsearch.caBundle }}
ca.crt: {{ .Values.elasticsearch.caBundle | quote }}
{{- end }}
{{- end -}}

{{/* Jaeger's variables. Its garbage collector works harder before the limit at which traces are refused. */}}
{{- define "tracing.env" -}}
- name: GOMEMLIMIT
  value: {{ mulf (include "common.milli" .Values.resources.limits.memory) 0.0007 | floor | printf "%.0f" | quote }}
{{- if include "tracing.login" . }}
{{ include "common.secretEnv" (dict "ctx" . "name" "STORE_USERNAME" "part" "tracing" "key" "username") }}
{{- end }}
{{- end -}}

{{/* Whether there is a login for what keeps the traces: "true" or nothing. */}}
{{- define "tracing.login" -}}
{{- if and (not (include "tracing.volume" .)) .Values.global.secrets.existing.tracing -}}true{{- end -}}
{{- end -}}

{{/* A probe of the collector that Jaeger is. */}}
{{- define "tracing.answers" -}}
httpGet:
  path: /status
  port: health
timeoutSeconds: 5
{{- end -}}

{{/* The headless Service that a StatefulSet needs. */}}
{{- define "tracing.nodes" -}}
{{- printf "%s-nodes" (include "common.fullname" .) -}}
{{- end -}}

{{/* Jaeger's pods, with a volume of their own or without. */}}
{{- define "tracing.pod" -}}
metadata:
  {{- include "common.podMetadata" (dict "ctx" . "checksum" (include "tracing.files" .)) | nindent 2 }}
spec:
  {{- include "common.podSpec" (dict "ctx" . "user" 10001) | nindent 2 }}
  terminationGracePeriodSeconds: 60
  containers:
    - name: jaeger
      {{- include "common.container" (dict "ctx" . "image" .Values.image "resources" .Values.resources) | nindent 6 }}
      args: [--config=/config/config.yaml]
      ports:
        - name: grpc-otlp
          containerPort: 4317
        - name: http-otlp
          containerPort: 4318
        - name: http-query
          containerPort: 16686
        - name: metrics
          containerPort: 8888
        - name: health
          containerPort: 13133
      env:
        {{- include "common.env" (dict "ctx" . "ours" (include "tracing.env" .)) | nindent 8 }}
      # Half an hour for the files of a large volume to be opened.
      startupProbe:
        {{- include "tracing.answers" . | nindent 8 }}
        periodSeconds: 2
        failureThreshold: 900
      livenessProbe:
        {{- include "tracing.answers" . | nindent 8 }}
        periodSeconds: 30
        failureThreshold: 4
      readinessProbe:
        {{- include "tracing.answers" . | nindent 8 }}
        periodSeconds: 5
      volumeMounts:
        - name: config
          mountPath: /config
        - name: tmp
          mountPath: /tmp
        {{- if include "tracing.volume" . }}
        - name: data
          mountPath: /data
        {{- end }}
        {{- if include "tracing.login" . }}
        - name: secrets
          mountPath: /secrets
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "common.fullname" . }}
    - name: tmp
      emptyDir:
        sizeLimit: 64Mi
    {{- if include "tracing.login" . }}
    - name: secrets
      secret:
        secretName: {{ include "common.secretName" (dict "ctx" . "part" "tracing") | quote }}
        defaultMode: 0440
        items:
          - key: password
            path: password
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* What it can ask of a quota; without a volume, a second pod in a rollout. */}}
{{- define "tracing.demand" -}}
{{- $jaeger := dict "pods" 2 "containers" (list .Values.resources) -}}
{{- if include "tracing.volume" . -}}
{{- $jaeger = merge (dict "pods" 1 "size" .Values.persistence.size) $jaeger -}}
{{- end -}}
{{- if include "tracing.inside" . -}}
{{- include "common.demand" $jaeger -}}
{{- end -}}
{{- end -}}

{{/* Refuse a collector or a store outside that can't be reached. */}}
{{- define "tracing.check" -}}
{{- if and .Values.external.enabled (not .Values.external.endpoint) -}}
{{- fail "tracing.external.endpoint: external.enabled is true, but nothing says where the collector answers; write its URL, such as https://otel.example.com:4318" -}}
{{- end -}}
{{- if and (include "tracing.inside" .) (not (include "tracing.volume" .)) -}}
{{- if not .Values.elasticsearch.url -}}
{{- fail (printf "tracing.elasticsearch.url: tracing.store is %s, but nothing says where it answers; write its URL, such as https://elasticsearch.example.com:9200, or tracing.store: badger" .Values.store) -}}
{{- end -}}
{{- include "common.checkSecret" (dict "ctx" . "part" "tracing" "keys" (list "username" "password")) -}}
{{- end -}}
{{- end -}}
