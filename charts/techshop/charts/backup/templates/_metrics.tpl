{{/*
The pod that tells Prometheus what is in the bucket. It is a component of its own, which no selector takes for one of the
jobs, with their ServiceAccount: whoever may read the bucket is the same. dict "ctx" $ "identity" WHO-ASKS-S3
"checksum" WHAT-ROLLS-IT-BESIDE-ITS-SCRIPTS.
*/}}
{{- define "backup.metrics" -}}
{{- $account := include "common.fullname" .ctx -}}
{{- $metrics := .ctx.Values.metrics -}}
{{- $checksum := .checksum -}}
{{- $identity := .identity -}}
{{- with merge (dict "component" "backup-metrics") .ctx -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "common.metadata" (dict "ctx" .) | nindent 2 }}
spec:
  replicas: 1
  revisionHistoryLimit: 5
  # Of two at the same time each would tell the same.
  strategy:
    rollingUpdate:
      maxSurge: 0
      maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "common.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      {{- include "common.podMetadata" (dict "ctx" . "checksum" (print (include "common.scripts" .) $checksum)) | nindent 6 }}
    spec:
      {{- include "common.podSpec" (dict "ctx" . "user" 1000 "account" $account) | nindent 6 }}
      terminationGracePeriodSeconds: 5
      containers:
        - name: metrics
          {{- include "common.container" (dict "ctx" . "image" .Values.image "resources" $metrics.resources "at" "backup.metrics.resources") | nindent 10 }}
          command: [sh, /scripts/metrics.sh]
          ports:
            - name: metrics
              containerPort: 9090
          env:
            {{- include "backup.storeEnv" (dict "ctx" . "identity" $identity) | nindent 12 }}
            {{- if .Values.pitr.enabled }}
            - name: INTERVAL
              value: {{ int64 .Values.pitr.intervalSeconds | quote }}
            {{- end }}
          # The first look at a bucket that is away takes a minute.
          startupProbe:
            {{- include "backup.answers" . | nindent 12 }}
            periodSeconds: 5
            failureThreshold: 36
          livenessProbe:
            {{- include "backup.answers" . | nindent 12 }}
            periodSeconds: 30
            failureThreshold: 4
          readinessProbe:
            {{- include "backup.answers" . | nindent 12 }}
            periodSeconds: 10
          volumeMounts:
            - name: scripts
              mountPath: /scripts
            - name: served
              mountPath: /served
            - name: tmp
              mountPath: /tmp
            {{- include "backup.storeMounts" . | nindent 12 }}
      volumes:
        - name: scripts
          configMap:
            name: {{ $account }}
        - name: served
          emptyDir:
            sizeLimit: 1Mi
        - name: tmp
          emptyDir:
            sizeLimit: 64Mi
        {{- include "backup.storeVolumes" . | nindent 8 }}
---
{{ include "common.podDisruptionBudget" . }}
{{- end -}}
{{- end -}}

{{- define "backup.answers" -}}
httpGet:
  path: /metrics
  port: metrics
timeoutSeconds: 5
{{- end -}}
