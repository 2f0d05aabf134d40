{{/* What node-exporter reads of the node, by the name below /host. */}}
{{- define "monitoring.nodePaths" -}}
proc: /proc
sys: /sys
root: /
{{- end -}}
