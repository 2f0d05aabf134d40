{{/*
A job of ours: dict "ctx" $ "mongodb" IMAGE "name" SCRIPT "resources" RESOURCES "at" KEY and, where it has some, "secrets" (list KEY ...)
"env" YAML "volume" YAML.
*/}}
{{- define "backup.job" -}}
{{- $ctx := .ctx -}}
{{- $values := $ctx.Values -}}
backoffLimit: 1
activeDeadlineSeconds: {{ int64 $values.deadlineSeconds }}
template:
  metadata:
    {{- include "common.podMetadata" (dict "ctx" $ctx "checksum" (include "common.scripts" $ctx)) | nindent 4 }}
  spec:
    {{- include "common.podSpec" (dict "ctx" $ctx "user" 999) | nindent 4 }}
    restartPolicy: Never
    initContainers:
      # One program beside MongoDB's: of a stream between two containers neither knows how the other's half ended.
      - name: rclone
        {{- include "common.container" (dict "ctx" $ctx "image" $values.image "resources" .resources "at" .at) | nindent 8 }}
        command: [sh, -c, 'cp "$(command -v rclone)" /etc/ssl/certs/ca-certificates.crt /tools/']
        volumeMounts:
          - name: tools
            mountPath: /tools
    containers:
      - name: {{ .name }}
        {{- include "common.container" (dict "ctx" $ctx "image" .mongodb "resources" .resources "at" .at) | nindent 8 }}
        command: [bash, /scripts/{{ .name }}.sh]
        terminationMessagePolicy: FallbackToLogsOnError
        env:
          {{- include "backup.env" $ctx | nindent 10 }}
          {{- with .env }}
          {{- . | nindent 10 }}
          {{- end }}
        volumeMounts:
          - name: scripts
            mountPath: /scripts
          {{- if .secrets }}
          - name: secrets
            mountPath: /secrets
          {{- end }}
          - name: tools
            mountPath: /tools
          - name: tmp
            mountPath: /tmp
          {{- if .volume }}
          - name: data
            mountPath: /data
          {{- end }}
          {{- include "backup.storeMounts" $ctx | nindent 10 }}
          {{- if $values.global.tls.enabled }}
          - name: tls
            mountPath: /tls
          {{- end }}
    volumes:
      - name: scripts
        configMap:
          name: {{ include "common.fullname" $ctx }}
      {{- with .secrets }}
      - name: secrets
        secret:
          secretName: {{ include "common.secretName" (dict "ctx" $ctx "part" "mongodb") | quote }}
          defaultMode: 0440
          items:
            {{- range . }}
            - key: {{ . }}
              path: {{ . }}
            {{- end }}
      {{- end }}
      - name: tools
        emptyDir:
          sizeLimit: 256Mi
      - name: tmp
        emptyDir:
          sizeLimit: 64Mi
      {{- with .volume }}
      - name: data
        {{- . | nindent 8 }}
      {{- end }}
      {{- include "backup.storeVolumes" $ctx | nindent 6 }}
      {{- if $values.global.tls.enabled }}
      - name: tls
        secret:
          secretName: {{ include "common.tlsSecretName" (dict "ctx" $ctx "part" "mongodb") | quote }}
          defaultMode: 0440
          items:
            - key: ca.crt
              path: ca.crt
      {{- end }}
{{- end -}}

{{/* What the scripts read of the bucket beside the variables, and where: its certificates, the encryption's password. */}}
{{- define "backup.storeMounts" -}}
- name: s3
  mountPath: /s3
{{- if .Values.encryption.existingSecret }}
- name: encryption
  mountPath: /encryption
{{- end }}
{{- end -}}

{{- define "backup.storeVolumes" -}}
{{ include "common.s3Volume" . }}
{{- with .Values.encryption.existingSecret }}
- name: encryption
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0440
    items:
      - key: password
        path: password
{{- end }}
{{- end -}}

{{/* Variables of every job: the bucket and MongoDB. */}}
{{- define "backup.env" -}}
{{ include "backup.storeEnv" . }}
- name: MONGODB
  value: {{ include "common.dns" (dict "ctx" . "service" (printf "%s-mongodb" (include "common.base" .))) | quote }}
{{ include "common.tlsEnv" . }}
{{- end -}}

{{/* The bucket, as rclone wants to hear of it. */}}
{{- define "backup.storeEnv" -}}
{{ include "common.s3Env" (dict "ctx" . "bucket" "backups") }}
- name: RCLONE_CONFIG_S3_TYPE
  value: s3
- name: RCLONE_CONFIG_S3_PROVIDER
  value: Other
{{- range $setting, $from := dict "ENDPOINT" "ENDPOINT" "REGION" "REGION" "FORCE_PATH_STYLE" "PATH_STYLE" "ACCESS_KEY_ID" "ACCESS_KEY" "SECRET_ACCESS_KEY" "SECRET_KEY" }}
- name: RCLONE_CONFIG_S3_{{ $setting }}
  value: $(S3_{{ $from }})
{{- end }}
{{- if .Values.encryption.existingSecret }}
- name: RCLONE_CONFIG_BACKUP_TYPE
  value: crypt
# Names stay as they are: retention and people read them.
{{- range $setting, $value := dict "FILENAME_ENCRYPTION" "off" "DIRECTORY_NAME_ENCRYPTION" "false" "SUFFIX" "none" }}
- name: RCLONE_CONFIG_BACKUP_{{ $setting }}
  value: {{ $value | quote }}
{{- end }}
{{- else }}
- name: RCLONE_CONFIG_BACKUP_TYPE
  value: alias
{{- end }}
- name: RCLONE_CONFIG_BACKUP_REMOTE
  value: s3:$(S3_BUCKET)
{{- end -}}

{{/* What it can ask of a quota: a backup, a verification and a restore at the same time, and the metrics. */}}
{{- define "backup.demand" -}}
{{- $demand := dict -}}
{{- $pods := list .Values.resources .Values.resources .Values.verification.resources -}}
{{- if .Values.metrics.enabled -}}
{{- $pods = append $pods .Values.metrics.resources -}}
{{- end -}}
{{- range $pods -}}
{{- range $resource, $amount := include "common.demand" (dict "pods" 1 "containers" (list .)) | fromYaml -}}
{{- $_ := set $demand $resource (addf (get $demand $resource | default 0.0) $amount | printf "%.0f") -}}
{{- end -}}
{{- end -}}
{{- toYaml $demand -}}
{{- end -}}

{{/* What all three schedules have in common. */}}
{{- define "backup.cron" -}}
timeZone: {{ .Values.timeZone | quote }}
concurrencyPolicy: Forbid
startingDeadlineSeconds: 3600
successfulJobsHistoryLimit: 3
failedJobsHistoryLimit: 3
{{- end -}}
