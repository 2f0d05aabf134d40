{{/*
The pod that stores slices of the oplog. It is a component of its own, which no selector takes for one of the jobs, with their
ServiceAccount: dict "ctx" $ "mongodb" IMAGE "identity" WHO-ASKS-S3 "checksum" WHAT-ROLLS-IT-BESIDE-ITS-SCRIPTS.
*/}}
{{- define "backup.oplog" -}}
{{- $pitr := .ctx.Values.pitr -}}
{{- $pod := dict "ctx" .ctx "part" "mongodb" "image" .mongodb "identity" .identity "checksum" .checksum "name" "oplog" "secrets" (list "backup-password") "resources" $pitr.resources "at" "backup.pitr.resources" -}}
{{- $_ := set $pod "env" (list (dict "name" "INTERVAL" "value" (int64 $pitr.intervalSeconds | toString)) | toYaml) -}}
{{- $_ := merge $pod (dict "component" "backup-oplog" "probes" (include "backup.goesRound" .)) -}}
{{- with merge (dict "component" "backup-oplog") .ctx -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "common.metadata" (dict "ctx" .) | nindent 2 }}
spec:
  replicas: 1
  revisionHistoryLimit: 5
  # Of two at the same time each would store the same.
  strategy:
    type: Recreate
  selector:
    matchLabels:
      {{- include "common.selectorLabels" . | nindent 6 }}
  {{- include "backup.template" $pod | nindent 2 }}
---
{{ include "common.podDisruptionBudget" . }}
{{- end -}}
{{- end -}}

{{/* Whether it still goes round: what it says of a slice that failed is in its log and in the metrics. */}}
{{- define "backup.goesRound" -}}
startupProbe:
  exec:
    command: [test, -e, /tmp/round]
  periodSeconds: 5
  failureThreshold: 36
livenessProbe:
  exec:
    command: [bash, -c, '[ $(($(date +%s) - $(date -r /tmp/round +%s))) -lt 1800 ]']
  periodSeconds: 60
  timeoutSeconds: 10
  failureThreshold: 3
readinessProbe:
  exec:
    command: [test, -e, /tmp/round]
  periodSeconds: 30
  timeoutSeconds: 10
{{- end -}}
