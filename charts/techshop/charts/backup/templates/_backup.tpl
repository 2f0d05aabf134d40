{{/*
A job of ours: dict "ctx" $ "part" mongodb|redis "image" IMAGE "identity" WHO-ASKS-S3 "name" SCRIPT "resources" RESOURCES "at" KEY
and, where it has some, "secrets" (list KEY ...) "env" YAML "volume" YAML.
*/}}
{{- define "backup.job" -}}
backoffLimit: 1
activeDeadlineSeconds: {{ int64 .ctx.Values.deadlineSeconds }}
{{ include "backup.template" . }}
{{- end -}}

{{/* The pod of a job or, with "component" NAME, of one that runs for ever, which has "probes" YAML and "checksum" WHAT-ROLLS-IT as well. */}}
{{- define "backup.template" -}}
{{- $ctx := .ctx -}}
{{- $values := $ctx.Values -}}
{{- $labelled := ternary (merge (dict "component" .component) $ctx) $ctx (not (empty .component)) -}}
template:
  metadata:
    {{- include "common.podMetadata" (dict "ctx" $labelled "checksum" (print (include "common.scripts" $ctx) (.checksum | default ""))) | nindent 4 }}
  spec:
    {{- include "common.podSpec" (dict "ctx" $labelled "user" 999 "account" (include "common.fullname" $ctx)) | nindent 4 }}
    {{- if not .component }}
    restartPolicy: Never
    {{- end }}
    initContainers:
      # One program beside the store's: of a stream between two containers neither knows how the other's half ended.
      - name: rclone
        {{- include "common.container" (dict "ctx" $ctx "image" $values.image "resources" .resources "at" .at) | nindent 8 }}
        command: [sh, -c, 'cp "$(command -v rclone)" /etc/ssl/certs/ca-certificates.crt /tools/']
        volumeMounts:
          - name: tools
            mountPath: /tools
    containers:
      - name: {{ .name }}
        {{- include "common.container" (dict "ctx" $ctx "image" .image "resources" .resources "at" .at) | nindent 8 }}
        command: [bash, /scripts/{{ .name }}.sh]
        terminationMessagePolicy: FallbackToLogsOnError
        {{- with .probes }}
        {{- . | nindent 8 }}
        {{- end }}
        env:
          {{- include "backup.env" (dict "ctx" $ctx "part" .part "identity" .identity) | nindent 10 }}
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
          secretName: {{ include "common.secretName" (dict "ctx" $ctx "part" $.part) | quote }}
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
          secretName: {{ include "common.tlsSecretName" (dict "ctx" $ctx "part" .part) | quote }}
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

{{/* Variables of every job: the bucket and the store; dict "ctx" $ "part" mongodb|redis "identity" WHO-ASKS-S3. */}}
{{- define "backup.env" -}}
{{ include "backup.storeEnv" . }}
- name: {{ upper .part }}
  value: {{ include "common.dns" (dict "ctx" .ctx "service" (printf "%s-%s" (include "common.base" .ctx) .part)) | quote }}
{{ include "common.tlsEnv" .ctx }}
{{- end -}}

{{/* The bucket, as rclone wants to hear of it: dict "ctx" $ "identity" WHO-ASKS-S3. */}}
{{- define "backup.storeEnv" -}}
{{ include "common.s3Env" (dict "ctx" .ctx "bucket" "backups" "identity" .identity) }}
{{- $settings := dict "TYPE" "s3" "PROVIDER" "Other" "ENDPOINT" "$(S3_ENDPOINT)" "REGION" "$(S3_REGION)" "FORCE_PATH_STYLE" "$(S3_PATH_STYLE)" }}
{{- if eq .identity "serviceAccount" }}
{{- $_ := set $settings "ENV_AUTH" "true" }}
{{- else }}
{{- $settings = merge $settings (dict "ACCESS_KEY_ID" "$(S3_ACCESS_KEY)" "SECRET_ACCESS_KEY" "$(S3_SECRET_KEY)") }}
{{- end }}
{{- with .ctx.Values.serverSideEncryption }}
{{- if ne .type "none" }}
{{- $_ := set $settings "SERVER_SIDE_ENCRYPTION" .type }}
{{- end }}
{{- if .kmsKeyId }}
{{- $_ := set $settings "SSE_KMS_KEY_ID" .kmsKeyId }}
{{- end }}
{{- end }}
{{- range $setting, $value := $settings }}
- name: RCLONE_CONFIG_S3_{{ $setting }}
  value: {{ $value | quote }}
{{- end }}
{{- with .ctx }}
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
{{- end }}
{{- end -}}

{{/* What it can ask of a quota: a backup, a verification, a restore and snapshots of volumes at the same time, the metrics, and who stores the oplog. */}}
{{- define "backup.demand" -}}
{{- $demand := dict -}}
{{- $pods := list .Values.resources (include "backup.restoreResources" . | fromYaml) .Values.verification.resources -}}
{{- if .Values.pitr.enabled -}}
{{- $pods = append $pods .Values.pitr.resources -}}
{{- end -}}
{{- if .Values.metrics.enabled -}}
{{- $pods = append $pods .Values.metrics.resources -}}
{{- end -}}
{{- if .Values.volumeSnapshots.enabled -}}
{{- $pods = append $pods .Values.resources -}}
{{- end -}}
{{- range $pods -}}
{{- range $resource, $amount := include "common.demand" (dict "pods" 1 "containers" (list .)) | fromYaml -}}
{{- $_ := set $demand $resource (addf (get $demand $resource | default 0.0) $amount | printf "%.0f") -}}
{{- end -}}
{{- end -}}
{{- toYaml $demand -}}
{{- end -}}

{{/* A restore to a moment joins the oplog to the backup, which takes more. */}}
{{- define "backup.restoreResources" -}}
{{- ternary .Values.pitr.resources .Values.resources .Values.pitr.enabled | toYaml -}}
{{- end -}}

{{/* What all schedules have in common. */}}
{{- define "backup.cron" -}}
timeZone: {{ .Values.timeZone | quote }}
concurrencyPolicy: Forbid
startingDeadlineSeconds: 3600
successfulJobsHistoryLimit: 3
failedJobsHistoryLimit: 3
{{- end -}}

{{/* What the snapshots of Redis can ask of it, where Redis is on. */}}
{{- define "backup.redisDemand" -}}
{{- include "common.demand" (dict "pods" 1 "containers" (list .Values.resources)) -}}
{{- end -}}
