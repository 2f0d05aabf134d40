{{/* The jobs; they run MongoDB's own programs, so the umbrella says which image it has: dict "ctx" $ "mongodb" IMAGE "identity" WHO-ASKS-S3. */}}
{{- define "backup.cronjobs" -}}
{{- $mongodb := .mongodb -}}
{{- $identity := .identity -}}
{{- with .ctx -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  {{- include "common.metadata" (dict "ctx" .) | nindent 2 }}
spec:
  schedule: {{ .Values.schedule | quote }}
  {{- include "backup.cron" . | nindent 2 }}
  jobTemplate:
    spec:
      {{- $env := include "backup.retentionEnv" . | trim }}
      {{- if .Values.pitr.enabled }}
      {{- $env = printf "%s\n- name: KEEP_MOMENTS\n  value: %q" $env (int64 .Values.pitr.keepDays | toString) }}
      {{- end }}
      {{- include "backup.job" (dict "ctx" . "part" "mongodb" "image" $mongodb "identity" $identity "name" "dump" "secrets" (list "backup-password") "resources" .Values.resources "at" "backup.resources" "env" $env) | nindent 6 }}
---
apiVersion: batch/v1
kind: CronJob
metadata:
  {{- include "common.metadata" (dict "ctx" . "name" (printf "%s-verify" (include "common.fullname" .))) | nindent 2 }}
spec:
  schedule: {{ .Values.verification.schedule | quote }}
  {{- include "backup.cron" . | nindent 2 }}
  jobTemplate:
    spec:
      {{- $volume := dict "emptyDir" (dict "sizeLimit" .Values.verification.size) | toYaml }}
      {{- include "backup.job" (dict "ctx" . "part" "mongodb" "image" $mongodb "identity" $identity "name" "verify" "resources" .Values.verification.resources "at" "backup.verification.resources" "volume" $volume) | nindent 6 }}
---
# Never by itself: docs/disaster-recovery.md says how it is started.
apiVersion: batch/v1
kind: CronJob
metadata:
  {{- include "common.metadata" (dict "ctx" . "name" (printf "%s-restore" (include "common.base" .))) | nindent 2 }}
spec:
  suspend: true
  schedule: "0 0 1 1 *"
  {{- include "backup.cron" . | nindent 2 }}
  jobTemplate:
    spec:
      {{- $env := list (dict "name" "BACKUP" "value" "latest") (dict "name" "DROP" "value" "no") | toYaml }}
      {{- $secrets := list "keyfile" "root-password" "app-password" "backup-password" "exporter-password" }}
      {{- include "backup.job" (dict "ctx" . "part" "mongodb" "image" $mongodb "identity" $identity "name" "restore" "secrets" $secrets "resources" (include "backup.restoreResources" . | fromYaml) "at" (ternary "backup.pitr.resources" "backup.resources" .Values.pitr.enabled) "env" $env) | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* Snapshots of Redis, beside each backup of MongoDB: dict "ctx" $ "redis" VALUES-OF-REDIS "identity" WHO-ASKS-S3. */}}
{{- define "backup.redisCronjob" -}}
{{- $redis := .redis -}}
{{- $identity := .identity -}}
{{- with .ctx -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  {{- include "common.metadata" (dict "ctx" . "name" (printf "%s-redis" (include "common.fullname" .))) | nindent 2 }}
spec:
  schedule: {{ .Values.schedule | quote }}
  {{- include "backup.cron" . | nindent 2 }}
  jobTemplate:
    spec:
      {{- $volume := dict "emptyDir" (dict "sizeLimit" $redis.resources.limits.memory) | toYaml }}
      {{- include "backup.job" (dict "ctx" . "part" "redis" "image" $redis.image "identity" $identity "name" "redis" "secrets" (list "admin-password") "resources" .Values.resources "at" "backup.resources" "env" (include "backup.retentionEnv" . | trim) "volume" $volume) | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* Which backups stay. */}}
{{- define "backup.retentionEnv" -}}
{{- $retention := .Values.retention -}}
{{- range $name, $many := dict "KEEP_DAYS" $retention.keepDays "KEEP_LAST" $retention.keepLast "KEEP_WEEKLY" $retention.keepWeekly "KEEP_MONTHLY" $retention.keepMonthly }}
- name: {{ $name }}
  value: {{ int64 $many | quote }}
{{- end }}
{{- end -}}
