{{/*
Snapshots of the stores' volumes. They are a component of their own, which no policy lets near the stores and the bucket, and no
role of the others near the cluster's API: dict "ctx" $ "mongodb" IMAGE, for the JavaScript in it.
*/}}
{{- define "backup.snapshots" -}}
{{- $mongodb := .mongodb -}}
{{- with merge (dict "component" "backup-snapshots") .ctx -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  {{- include "common.metadata" (dict "ctx" .) | nindent 2 }}
spec:
  schedule: {{ .Values.schedule | quote }}
  {{- include "backup.cron" . | nindent 2 }}
  jobTemplate:
    spec:
      backoffLimit: 1
      activeDeadlineSeconds: {{ int64 .Values.deadlineSeconds }}
      template:
        metadata:
          {{- include "common.podMetadata" (dict "ctx" .) | nindent 10 }}
        spec:
          {{- include "common.podSpec" (dict "ctx" . "user" 999 "token" true) | nindent 10 }}
          restartPolicy: Never
          containers:
            - name: snapshots
              {{- include "common.container" (dict "ctx" . "image" $mongodb "resources" .Values.resources "at" "backup.resources") | nindent 14 }}
              command: [mongosh, --nodb, --norc, --quiet, --file, /scripts/snapshots.js]
              terminationMessagePolicy: FallbackToLogsOnError
              env:
                # Where mongosh keeps its settings.
                - name: HOME
                  value: /tmp
                - name: INSTANCE
                  value: {{ .Release.Name | quote }}
                - name: CLASS
                  value: {{ .Values.volumeSnapshots.className | quote }}
                - name: KEEP_LAST
                  value: {{ int64 .Values.volumeSnapshots.keepLast | quote }}
                # Before its time is over: or nobody would say why.
                - name: PATIENCE
                  value: {{ sub (int64 .Values.deadlineSeconds) 30 | quote }}
              volumeMounts:
                - name: scripts
                  mountPath: /scripts
                - name: tmp
                  mountPath: /tmp
          volumes:
            - name: scripts
              configMap:
                name: {{ include "common.base" . }}-backup
            - name: tmp
              emptyDir:
                sizeLimit: 64Mi
---
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "common.metadata" (dict "ctx" .) | nindent 2 }}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "common.metadata" (dict "ctx" .) | nindent 2 }}
rules:
  - apiGroups: [""]
    resources: [persistentvolumeclaims]
    verbs: [list]
  - apiGroups: [snapshot.storage.k8s.io]
    resources: [volumesnapshots]
    verbs: [create, delete, list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "common.metadata" (dict "ctx" .) | nindent 2 }}
{{ include "common.bound" (dict "ctx" . "kind" "Role" "name" (include "common.fullname" .)) }}
{{- end -}}
{{- end -}}
