{{/* What consumers read, beside the keys in the Secret, wherever S3 answers: common.s3Env. */}}
{{- define "objectstorage.client" -}}
{{- $outside := .Values.external -}}
{{- $inside := printf "http://%s:8333" (include "common.dns" (dict "ctx" . "service" (include "common.fullname" .))) -}}
{{- range $name, $bucket := .Values.buckets }}
{{ $name }}-bucket: {{ $bucket | quote }}
{{- end }}
{{- if $outside.enabled }}
endpoint: {{ trimSuffix "/" $outside.endpoint | quote }}
region: {{ $outside.region | quote }}
path-style: {{ $outside.pathStyle | quote }}
identity: {{ $outside.identity }}
ca.crt: {{ $outside.caBundle | default "" | quote }}
{{- else }}
endpoint: {{ $inside | quote }}
region: us-east-1
path-style: "true"
identity: keys
ca.crt: ""
{{- end }}
{{- end -}}

{{/* Everything in the ConfigMap; pods restart when it changes. */}}
{{- define "objectstorage.config" -}}
{{- include "objectstorage.client" . | trim }}
{{- if not .Values.external.enabled }}
{{- include "common.scripts" . }}
{{- end }}
{{- end -}}

{{/* Variables of SeaweedFS. */}}
{{- define "objectstorage.env" -}}
- name: HOME
  value: /tmp
- name: VOLUME_MIB
  value: {{ divf (include "common.milli" .Values.persistence.size) 1048576e3 | floor | printf "%.0f" | quote }}
{{ include "common.memoryLimitEnv" "seaweedfs" }}
{{- end -}}

{{/* A probe that S3 answers; whether the servers behind it live, the script sees. */}}
{{- define "objectstorage.answers" -}}
httpGet:
  path: /healthz
  port: s3
timeoutSeconds: 5
{{- end -}}

{{/* What it can ask of a quota: nothing while the storage is elsewhere. */}}
{{- define "objectstorage.demand" -}}
{{- if not .Values.external.enabled -}}
{{- include "common.demand" (dict "pods" 1 "containers" (list .Values.resources) "size" .Values.persistence.size) -}}
{{- end -}}
{{- end -}}

{{/* Refuse buckets that S3 doesn't take, and a storage outside that can't be reached. */}}
{{- define "objectstorage.check" -}}
{{- range $name, $bucket := .Values.buckets -}}
{{- if regexMatch "^([0-9.]+|xn--.*|sthree-.*|amzn-s3-demo-.*|.*-s3alias|.*--ol-s3|.*[.]mrap|.*--x-s3|.*--table-s3)$" $bucket -}}
{{- fail (printf "objectstorage.buckets.%s: S3 keeps names like %q for itself; write one of letters, digits and hyphens, such as techshop-%s" $name $bucket $name) -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.buckets.assets .Values.buckets.backups -}}
{{- fail (printf "objectstorage.buckets.backups: it is %q, as buckets.assets is, and whoever may write the shop's files could delete its backups; write another name" .Values.buckets.backups) -}}
{{- end -}}
{{- if .Values.external.enabled -}}
{{- if not .Values.external.endpoint -}}
{{- fail "objectstorage.external.endpoint: external.enabled is true, but nothing says where the storage answers; write its URL, such as https://s3.eu-central-1.amazonaws.com" -}}
{{- end -}}
{{- if eq .Values.external.identity "keys" -}}
{{- if not .Values.global.secrets.existing.objectstorage -}}
{{- fail (printf "global.secrets.existing.objectstorage: the object storage is outside this release, which can't make its keys; write the name of a Secret with the keys %s, or, where a cloud gives keys to ServiceAccounts, objectstorage.external.identity: serviceAccount" (include "objectstorage.keys" . | fromYaml | keys | sortAlpha | join ", ")) -}}
{{- end -}}
{{- include "common.checkSecret" (dict "ctx" . "part" "objectstorage" "keys" (include "objectstorage.keys" . | fromYaml | keys)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What stands in the Secret, and how long it is. */}}
{{- define "objectstorage.keys" -}}
assets-access-key: 32
assets-secret-key: 40
backups-access-key: 32
backups-secret-key: 40
{{- end -}}

{{/* The headless Service that a StatefulSet needs. */}}
{{- define "objectstorage.nodes" -}}
{{- printf "%s-nodes" (include "common.fullname" .) -}}
{{- end -}}
