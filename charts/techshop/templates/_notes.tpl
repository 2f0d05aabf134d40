{{/* What these values risk in production, one line each, with the value that ends it. */}}
{{- define "techshop.risks" -}}
{{- $app := .Values.app -}}
{{- if $app.enabled }}
{{- $fewest := ternary "autoscaling.minReplicas" "replicaCount" $app.autoscaling.enabled }}
{{- if lt (ternary $app.autoscaling.minReplicas $app.replicaCount $app.autoscaling.enabled | int) 2 }}
- The storefront may have one pod: its loss is seen by customers (app.{{ $fewest }}: 2)
{{- end }}
{{- if ne $app.service.type "ClusterIP" }}
- The Service answers in plain HTTP to whoever reaches it, and logins can be read on the way: put TLS in front of it
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.tls.enabled) }}
- The Ingress answers in plain HTTP, and logins can be read on the way (ingress.tls.enabled: true)
{{- end }}
{{- with .Values.gateway }}
{{- if and .enabled .className (not .tls.enabled) }}
- The Gateway answers in plain HTTP, and logins can be read on the way (gateway.tls.enabled: true)
{{- end }}
{{- end }}
{{- $mongodb := $app.mongodb.uri | default "" }}
{{- if and (hasPrefix "mongodb://" $mongodb) (not (regexMatch "[?&](tls|ssl)=true(&|$)" $mongodb)) }}
- The MongoDB outside is reached without TLS (app.mongodb.uri: add tls=true)
{{- end }}
{{- if $app.redis.url | default "" | hasPrefix "redis://" }}
- The Redis outside is reached without TLS, its password included (app.redis.url: rediss://...)
{{- end }}
{{- end }}
{{- if and .Values.mongodb.enabled (eq (int .Values.mongodb.replicaSet.replicas) 1) }}
- MongoDB has one member: its loss stops the shop (mongodb.replicaSet.replicas: 3)
{{- end }}
{{- if and .Values.redis.enabled (not .Values.redis.cluster.enabled) }}
- Redis is one node: its loss stops carts and sessions (redis.cluster.enabled: true)
{{- end }}
{{- with .Subcharts.objectstorage }}
{{- if not .Values.external.enabled }}
- The object storage keeps one copy of each file, on one volume beside the stores: if it is lost, so are backups (objectstorage.external.enabled: true)
{{- else if hasPrefix "http:" .Values.external.endpoint }}
- The S3 outside is reached without TLS (objectstorage.external.endpoint: https://...)
{{- end }}
{{- end }}
{{- if and .Values.mongodb.enabled (not .Subcharts.backup) }}
- MongoDB is not backed up (backup.enabled: true)
{{- end }}
{{- if not .Subcharts.monitoring }}
- Nobody watches the shop (monitoring.enabled: true)
{{- end }}
{{- with .Subcharts.monitoring }}
{{- if .Values.operator.enabled }}
{{- if and $.Values.networkPolicy.enabled (not $.Values.networkPolicy.scrapers) }}
- The operator's Prometheus reaches none of the pods (networkPolicy.scrapers: where it runs)
{{- end }}
{{- else if not .Values.alertmanager.enabled }}
- Alerts go nowhere (monitoring.alertmanager.enabled: true)
{{- else if not .Values.alertmanager.receivers }}
- Alerts reach nobody (monitoring.alertmanager.receivers: whom to tell)
{{- end }}
{{- end }}
{{- if not .Values.networkPolicy.enabled }}
- Any pod of the cluster can reach this release's (networkPolicy.enabled: true)
{{- end }}
{{- end -}}
