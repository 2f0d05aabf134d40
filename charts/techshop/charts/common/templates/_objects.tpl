{{/* A ServiceAccount that gives its pods no token; a cloud's webhook, which annotations call, mounts one of its own. */}}
{{- define "common.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "common.metadata" (dict "ctx" .) | nindent 2 }}
  {{- with (.Values.serviceAccount | default dict).annotations }}
  annotations:
    {{- include "common.strings" . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}

{{/* Whom a binding of a role binds, the part's ServiceAccount, and to what: dict "ctx" $ "kind" Role|ClusterRole "name" NAME. */}}
{{- define "common.bound" -}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "common.fullname" .ctx }}
    namespace: {{ .ctx.Release.Namespace | quote }}
{{- end -}}

{{/* A budget that lets a drain take one pod at a time, or as many as the part says, and always one that is broken already. */}}
{{- define "common.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "common.metadata" (dict "ctx" .) | nindent 2 }}
spec:
  maxUnavailable: {{ (.Values.podDisruptionBudget | default dict).maxUnavailable | default 1 | int64 }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "common.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* The volume claim of a StatefulSet, called "data". */}}
{{- define "common.volumeClaim" -}}
{{- $class := .Values.persistence.storageClass | default .Values.global.storageClass | default "" -}}
{{- include "common.sameVolumes" (dict "ctx" . "class" $class) -}}
- apiVersion: v1
  kind: PersistentVolumeClaim
  metadata:
    name: data
    labels:
      {{- include "common.selectorLabels" . | nindent 6 }}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with $class }}
    storageClassName: {{ . | quote }}
    {{- end }}
    resources:
      requests:
        storage: {{ .Values.persistence.size | quote }}
{{- end -}}

{{/* Refuse to change the volumes of a StatefulSet that runs already, which can't be done: dict "ctx" $ "class" STORAGECLASS. */}}
{{- define "common.sameVolumes" -}}
{{- $name := include "common.fullname" .ctx -}}
{{- $namespace := .ctx.Release.Namespace -}}
{{- $persistence := printf "%s.persistence" (include "common.place" .ctx) -}}
{{- $wanted := .ctx.Values.persistence.size -}}
{{- $running := (lookup "apps/v1" "StatefulSet" $namespace $name).spec | default dict -}}
{{- range $running.volumeClaimTemplates -}}
{{- $class := .spec.storageClassName | default "" -}}
{{- $size := .spec.resources.requests.storage -}}
{{- if ne $class $.class -}}
{{- fail (printf "%s.storageClass: the volumes of this release have the class %q, which nothing can change to %q; keep it, or give the members new volumes one by one, which copy the data from the others: see docs/runbooks/change-storage-class.md" $persistence $class $.class) -}}
{{- end -}}
{{- $difference := subf (include "common.milli" $wanted) (include "common.milli" $size) -}}
{{- if lt $difference 0.0 -}}
{{- fail (printf "%s.size: the volumes of this release have %s, and none can shrink to %v; write %s" $persistence $size $wanted $size) -}}
{{- else if gt $difference 0.0 -}}
{{- fail (printf "%[1]s.size: the volumes of this release have %[2]s, and a StatefulSet can't change that to %[3]v; write %[2]s, or grow them by hand (their class must allow it): `kubectl -n %[4]s patch pvc data-%[5]s-N -p '{\"spec\":{\"resources\":{\"requests\":{\"storage\":\"%[3]v\"}}}}'` for each pod N, then `kubectl -n %[4]s delete statefulset %[5]s --cascade=orphan`, which leaves the pods alone, then upgrade again" $persistence $size $wanted $namespace $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
