{{/* prometheus.yml, in the context of the component. */}}
{{- define "monitoring.prometheusConfig" -}}
{{- $values := .Values -}}
global:
  scrape_interval: 15s
  evaluation_interval: 15s
  sample_limit: {{ int64 $values.sampleLimit }}
  label_limit: 64
  label_value_length_limit: 1024
  body_size_limit: 64MB
storage:
  tsdb:
    retention:
      time: {{ $values.retention.time }}
      size: {{ $values.retention.size | default (include "monitoring.fourFifths" $values.persistence.size) }}
rule_files: [/etc/prometheus/rules/*.yaml]
{{- if .ctx.Values.alertmanager.enabled }}
alerting:
  alertmanagers:
    - static_configs:
        - targets: [{{ include "monitoring.address" (dict "ctx" .ctx "component" "alertmanager" "port" 9093) | quote }}]
{{- end }}
scrape_configs:
  # The storefront, at its only port.
  - job_name: app
    scrape_interval: 10s
    kubernetes_sd_configs:
      {{- include "monitoring.discovery" . | nindent 6 }}
    relabel_configs:
      {{- include "monitoring.keep" (dict "port" "http" "component" "app") | nindent 6 }}
      {{- include "monitoring.podLabels" . | nindent 6 }}
  # Every port called `metrics` of every pod.
  - job_name: pods
    kubernetes_sd_configs:
      {{- include "monitoring.discovery" . | nindent 6 }}
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_component]
        regex: kube-state-metrics
        action: drop
      {{- include "monitoring.keep" (dict "port" "metrics" "component" ".+") | nindent 6 }}
      {{- include "monitoring.podLabels" . | nindent 6 }}
  {{- if .ctx.Values.kubeStateMetrics.enabled }}
  # What it says is about other pods, and doesn't change when its own does.
  - job_name: kube-state-metrics
    honor_labels: true
    kubernetes_sd_configs:
      {{- include "monitoring.discovery" . | nindent 6 }}
    relabel_configs:
      {{- include "monitoring.keep" (dict "port" "metrics" "component" "kube-state-metrics") | nindent 6 }}
      {{- include "monitoring.labels" (dict "job" "kube-state-metrics" "instance" "kube-state-metrics" "namespace" .Release.Namespace "release" .Release.Name) | trim | nindent 6 }}
  {{- end }}
  {{- if $values.nodeMetrics }}
  - job_name: kubelet-containers
    metrics_path: /metrics/cadvisor
    {{- include "monitoring.kubelet" . | nindent 4 }}
      # What sums up a pod's containers, and what nothing reads.
      - source_labels: [__name__, container]
        regex: container_[^n].*;
        action: drop
      - source_labels: [__name__]
        regex: container_(tasks_state|memory_failures_total|blkio_.+|fs_io_.+|fs_sector_.+|network_.+_packets_total)
        action: drop
  - job_name: kubelet-volumes
    metrics_path: /metrics
    {{- include "monitoring.kubelet" . | nindent 4 }}
      - source_labels: [__name__]
        regex: kubelet_volume_stats_.+
        action: keep
  {{- end }}
{{- end -}}

{{/* Four fifths of a volume, as Prometheus writes sizes: the rest is for what it hasn't compacted yet. */}}
{{- define "monitoring.fourFifths" -}}
{{- printf "%.0fMB" (divf (include "common.milli" .) 1048576e3 | mulf 0.8 | floor | maxf 1.0) -}}
{{- end -}}

{{/* The release's pods, and nobody else's. */}}
{{- define "monitoring.discovery" -}}
- role: pod
  namespaces:
    names: [{{ .Release.Namespace | quote }}]
  selectors:
    - role: pod
      label: app.kubernetes.io/name=techshop,app.kubernetes.io/instance={{ .Release.Name }}
{{- end -}}

{{/* Keep one port of the pods of a component while they live: dict "port" NAME "component" PATTERN. */}}
{{- define "monitoring.keep" -}}
- source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_component, __meta_kubernetes_pod_container_port_name]
  regex: {{ .component }};{{ .port }}
  action: keep
- source_labels: [__meta_kubernetes_pod_phase]
  regex: Succeeded|Failed
  action: drop
{{- end -}}

{{/* The labels of a pod's series: `instance` is the pod, so that those of a StatefulSet go on after a restart. */}}
{{- define "monitoring.podLabels" -}}
- source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_component]
  target_label: job
{{- range $component, $job := dict "backup-metrics" "backup" "tracing" "jaeger" }}
- source_labels: [job]
  regex: {{ $component }}
  target_label: job
  replacement: {{ $job }}
{{- end }}
- source_labels: [__meta_kubernetes_namespace]
  target_label: namespace
- source_labels: [__meta_kubernetes_pod_name]
  target_label: pod
- source_labels: [__meta_kubernetes_pod_name]
  target_label: instance
- source_labels: [__meta_kubernetes_pod_node_name]
  target_label: node
- target_label: release
  replacement: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels that every target has the same: a dict of them. */}}
{{- define "monitoring.labels" -}}
{{- range $label, $value := . }}
- target_label: {{ $label }}
  replacement: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/*
Half of a scrape of the kubelets. They are found by the release's own pods, so that nobody needs to list nodes; a node with
many of them stays one target. Ends within the relabelling of series, where only those of this namespace are left.
*/}}
{{- define "monitoring.kubelet" -}}
scheme: https
honor_labels: true
authorization:
  credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token
# Most kubelets' certificates are signed by themselves.
tls_config:
  insecure_skip_verify: true
kubernetes_sd_configs:
  {{- include "monitoring.discovery" . | nindent 2 }}
relabel_configs:
  - source_labels: [__meta_kubernetes_pod_host_ip]
    regex: ([^:]+)
    target_label: __address__
    replacement: $1:10250
  - source_labels: [__meta_kubernetes_pod_host_ip]
    regex: (.+:.+)
    target_label: __address__
    replacement: "[$1]:10250"
  - source_labels: [__meta_kubernetes_pod_host_ip]
    regex: .+
    action: keep
  - source_labels: [__meta_kubernetes_pod_node_name]
    target_label: instance
  - source_labels: [__meta_kubernetes_pod_node_name]
    target_label: node
  - source_labels: [__metrics_path__]
    target_label: metrics_path
  {{- include "monitoring.labels" (dict "job" "kubelet" "namespace" .Release.Namespace "release" .Release.Name) | trim | nindent 2 }}
metric_relabel_configs:
  - source_labels: [namespace]
    regex: {{ .Release.Namespace | quote }}
    action: keep
{{- end -}}
