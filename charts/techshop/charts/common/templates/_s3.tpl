{{/*
Variables with which a container finds a bucket of the object storage and may use it, wherever that is:
dict "ctx" $ "bucket" assets|backups and, where it is known, "identity" keys|serviceAccount: then there are no keys. The file that S3_CA_FILE names is in the volume of common.s3Volume, mounted at /s3; it
is empty where S3 needs no certificates of its own. All of it is read when a pod starts.
*/}}
{{- define "common.s3Env" -}}
{{- $read := dict "S3_BUCKET" (printf "%s-bucket" .bucket) "S3_ENDPOINT" "endpoint" "S3_PATH_STYLE" "path-style" "S3_REGION" "region" -}}
{{- range $name, $key := $read -}}
- name: {{ $name }}
  valueFrom:
    configMapKeyRef:
      name: {{ include "common.base" $.ctx }}-objectstorage
      key: {{ $key }}
{{ end -}}
- name: S3_CA_FILE
  value: /s3/ca.crt
{{- if ne (.identity | default "keys") "serviceAccount" }}
{{ include "common.secretEnv" (dict "ctx" .ctx "name" "S3_ACCESS_KEY" "part" "objectstorage" "key" (printf "%s-access-key" .bucket)) }}
{{ include "common.secretEnv" (dict "ctx" .ctx "name" "S3_SECRET_KEY" "part" "objectstorage" "key" (printf "%s-secret-key" .bucket)) }}
{{- end }}
{{- end -}}

{{/* The volume "s3" with the certificates by which S3 is trusted. */}}
{{- define "common.s3Volume" -}}
- name: s3
  configMap:
    name: {{ include "common.base" . }}-objectstorage
    items:
      - key: ca.crt
        path: ca.crt
{{- end -}}
