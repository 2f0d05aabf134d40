{{/* alertmanager.yml, in the context of the component. */}}
{{- define "monitoring.alertmanagerConfig" -}}
{{- $names := list -}}
{{- range .Values.receivers -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- if ne (len $names) (uniq $names | len) -}}
{{- fail (printf "monitoring.alertmanager.receivers: two have the same name in %s, and Alertmanager takes no such list; rename one" (join ", " $names)) -}}
{{- end -}}
{{- $asked := list (list "watchdogReceiver" .Values.watchdogReceiver) -}}
{{- range .Values.routes -}}
{{- $asked = append $asked (list "routes" .receiver) -}}
{{- end -}}
{{- range $asked -}}
{{- if and (last .) (not (has (last .) (append $names "nobody"))) -}}
{{- fail (printf "monitoring.alertmanager.%s: no receiver is called %q; add it to monitoring.alertmanager.receivers, or name one of those there: %s" (first .) (toString (last .)) (join ", " $names | default "none")) -}}
{{- end -}}
{{- end -}}
{{- if has "nobody" $names -}}
{{- fail "monitoring.alertmanager.receivers: nobody is the chart's own receiver, for what shall reach nobody; call yours something else" -}}
{{- end -}}
route:
  receiver: {{ first $names | default "nobody" | quote }}
  group_by: [alertname, namespace, release]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: {{ .Values.repeatInterval }}
  routes:
    # What always fires, for something outside that raises the alarm when it stops coming.
    - receiver: {{ .Values.watchdogReceiver | default "nobody" | quote }}
      matchers: [alertname="Watchdog"]
      group_interval: 1m
      repeat_interval: 2m
    {{- with .Values.routes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
receivers:
  {{- toYaml (prepend (.Values.receivers | default list) (dict "name" "nobody")) | nindent 2 }}
{{- with .Values.inhibitRules }}
inhibit_rules:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
