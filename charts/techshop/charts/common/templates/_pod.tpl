{{/* An image's reference; a digest wins over a tag: dict "ctx" $ "image" IMAGE. */}}
{{- define "common.image" -}}
{{- $registry := .ctx.Values.global.imageRegistry | default .image.registry | trimSuffix "/" -}}
{{- $version := ternary (printf "@%s" .image.digest) (printf ":%s" .image.tag) (not (empty .image.digest)) -}}
{{- printf "%s/%s%s" $registry .image.repository $version | quote -}}
{{- end -}}

{{/* Labels and annotations of a part's pods: dict "ctx" $ and, unless nothing does, "checksum" WHAT-ROLLS-THEM. */}}
{{- define "common.podMetadata" -}}
{{- $checksum := dict -}}
{{- with .checksum -}}
{{- $_ := set $checksum "checksum/config" (sha256sum .) -}}
{{- end -}}
{{- with merge $checksum (.ctx.Values.podAnnotations | default dict) -}}
annotations:
  {{- include "common.strings" . | nindent 2 }}
{{ end -}}
labels:
  {{- include "common.strings" (merge (include "common.selectorLabels" .ctx | fromYaml) (.ctx.Values.podLabels | default dict)) | nindent 2 }}
{{- end -}}

{{/*
What every pod has in common, restricted Pod Security included: dict "ctx" $ "user" UID and, where it is not the part's, "account"
NAME, where it asks the cluster's API, "token" true.
*/}}
{{- define "common.podSpec" -}}
serviceAccountName: {{ .account | default (include "common.fullname" .ctx) }}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
{{- with .ctx.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ ternary . (get (ternary dict . (kindIs "string" .)) "name") (kindIs "string" .) | quote }}
  {{- end }}
{{- end }}
{{- with .ctx.Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .ctx.Values.nodeSelector }}
nodeSelector:
  {{- include "common.strings" . | nindent 2 }}
{{- end }}
{{- with .ctx.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .ctx.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- include "common.spread" .ctx | nindent 2 }}
securityContext:
  runAsNonRoot: true
  {{- if not .ctx.Values.global.arbitraryUsers }}
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  {{- end }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* The user's spread or, without one, evenly over zones and nodes where there are enough of them. */}}
{{- define "common.spread" -}}
{{- with .Values.topologySpreadConstraints -}}
{{- toYaml . -}}
{{- else -}}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "common.selectorLabels" $ | nindent 6 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* What every container has in common: dict "ctx" $ "image" IMAGE "resources" RESOURCES and, where they are not the part's, their key "at". */}}
{{- define "common.container" -}}
image: {{ include "common.image" . }}
imagePullPolicy: {{ .image.pullPolicy }}
{{ include "common.resources" (dict "resources" .resources "at" (.at | default (printf "%s.resources" (include "common.place" .ctx)))) }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* A container's variables: ours, then the user's; one of ours can't be set again: dict "ctx" $ "ours" YAML. */}}
{{- define "common.env" -}}
{{- $names := list -}}
{{- range fromYamlArray .ours -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- range .ctx.Values.extraEnv -}}
{{- if has .name $names -}}
{{- fail (printf "%s.extraEnv: the chart sets %s itself; take it out and set the value it comes from" (include "common.place" $.ctx) .name) -}}
{{- end -}}
{{- end -}}
{{ .ours }}
{{- with .ctx.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A container's memory limit in MiB as a variable, for a cache that follows it: the container's name. */}}
{{- define "common.memoryLimitEnv" -}}
- name: MEMORY_LIMIT_MIB
  valueFrom:
    resourceFieldRef:
      containerName: {{ . }}
      resource: limits.memory
      divisor: 1Mi
{{- end -}}

{{/* The files of a part as ConfigMap entries; pods restart when they change. */}}
{{- define "common.scripts" -}}
{{- range $path, $content := .Files.Glob "files/*" }}
{{ base $path }}: |
  {{- $content | toString | trim | nindent 2 }}
{{- end }}
{{- end -}}
