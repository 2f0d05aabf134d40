{{/* What kube-state-metrics counts and may list, by API group. */}}
{{- define "monitoring.counted" -}}
core: [persistentvolumeclaims, pods, resourcequotas]
apps: [daemonsets, deployments, replicasets, statefulsets]
autoscaling: [horizontalpodautoscalers]
batch: [cronjobs, jobs]
policy: [poddisruptionbudgets]
{{- end -}}
