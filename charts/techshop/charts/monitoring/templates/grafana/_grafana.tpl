{{/* Files of Grafana's provisioning, in the context of the component. */}}
{{- define "monitoring.provisioning" -}}
datasources.yaml: |
  apiVersion: 1
  prune: true
  datasources:
    - name: Prometheus
      uid: prometheus
      type: prometheus
      access: proxy
      url: http://{{ include "monitoring.address" (dict "ctx" .ctx "component" "prometheus" "port" 9090) }}
      isDefault: true
      jsonData:
        httpMethod: POST
        timeInterval: 15s
    {{- if .ctx.Values.alertmanager.enabled }}
    - name: Alertmanager
      uid: alertmanager
      type: alertmanager
      access: proxy
      url: http://{{ include "monitoring.address" (dict "ctx" .ctx "component" "alertmanager" "port" 9093) }}
      jsonData:
        implementation: prometheus
    {{- end }}
dashboards.yaml: |
  apiVersion: 1
  providers:
    - name: techshop
      folder: TechShop
      type: file
      allowUiUpdates: false
      options:
        path: /etc/grafana/dashboards
{{- end -}}

{{/* What Grafana must know and what it shall not do, as its variables. */}}
{{- define "monitoring.grafanaEnv" -}}
{{ include "common.secretEnv" (dict "ctx" . "name" "GF_SECURITY_ADMIN_PASSWORD" "part" "grafana" "key" "admin-password") }}
{{- $settings := dict
  "ANALYTICS_CHECK_FOR_PLUGIN_UPDATES" "false"
  "ANALYTICS_CHECK_FOR_UPDATES" "false"
  "ANALYTICS_REPORTING_ENABLED" "false"
  "AUTH_ANONYMOUS_ENABLED" "false"
  "LOG_MODE" "console"
  "NEWS_NEWS_FEED_ENABLED" "false"
  "PATHS_LOGS" "/var/lib/grafana/logs"
  "PLUGINS_PLUGIN_ADMIN_ENABLED" "false"
  "PLUGINS_PREINSTALL_DISABLED" "true"
  "PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED" "true"
  "SECURITY_DISABLE_GRAVATAR" "true"
  "SNAPSHOTS_EXTERNAL_ENABLED" "false"
  "USERS_ALLOW_SIGN_UP" "false" }}
{{- with .Values.externalUrl }}
{{- $_ := set $settings "SERVER_ROOT_URL" . }}
{{- end }}
{{- range $name, $value := $settings }}
- name: GF_{{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* The names of the dashboards, without what ends them, as a list. */}}
{{- define "monitoring.dashboards" -}}
{{- range $path, $_ := .Files.Glob "files/dashboards/*.json" }}
- {{ base $path | trimSuffix ".json" }}
{{- end }}
{{- end -}}
