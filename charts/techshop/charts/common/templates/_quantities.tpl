{{/* A quantity in thousandths, without a unit: 250m is 250, 1Ki is 1024000; the cluster may answer 1e9 where 1G was written. */}}
{{- define "common.milli" -}}
{{- $text := ternary (printf "%f" .) (toString .) (kindIs "float64" .) -}}
{{- $number := regexFind "^[0-9.]+([eE][+-]?[0-9]+)?" $text -}}
{{- $factors := dict "m" 1.0 "" 1e3 "k" 1e6 "M" 1e9 "G" 1e12 "T" 1e15 "P" 1e18 "E" 1e21 "Ki" 1024e3 "Mi" 1048576e3 "Gi" 1073741824e3 "Ti" 1099511627776e3 "Pi" 1125899906842624e3 "Ei" 1152921504606846976e3 -}}
{{- printf "%.0f" (mulf $number (get $factors (trimPrefix $number $text))) -}}
{{- end -}}

{{/* Thousandths as people write a resource's quantity, rounded up: dict "milli" N "of" RESOURCE. */}}
{{- define "common.quantity" -}}
{{- if contains "cpu" .of -}}
{{- printf "%.0fm" (float64 .milli) -}}
{{- else if or (contains "memory" .of) (contains "storage" .of) -}}
{{- printf "%.0fMi" (ceil (divf .milli 1048576e3)) -}}
{{- else -}}
{{- printf "%.0f" (ceil (divf .milli 1e3)) -}}
{{- end -}}
{{- end -}}

{{/* A container's resources, refused when no node could keep to them: dict "resources" RESOURCES "at" KEY. */}}
{{- define "common.resources" -}}
{{- $requests := (.resources | default dict).requests | default dict -}}
{{- $limits := (.resources | default dict).limits | default dict -}}
{{- if not (and $requests.cpu $requests.memory $limits.memory) -}}
{{- fail (printf "%s: a container needs requests.cpu, requests.memory and limits.memory, or it takes them from its neighbours; write all three" .at) -}}
{{- end -}}
{{- range $resource, $limit := $limits -}}
{{- $request := get $requests $resource -}}
{{- if and $request (gt (include "common.milli" $request | float64) (include "common.milli" $limit | float64)) -}}
{{- fail (printf "%s.requests.%s: %v is more than the limit of %v, and Kubernetes takes no such pod; write %v or less, or raise limits.%s" $.at $resource $request $limit $limit $resource) -}}
{{- end -}}
{{- end -}}
resources:
  {{- toYaml .resources | nindent 2 }}
{{- end -}}

{{/*
What a number of equal pods takes from a ResourceQuota, in thousandths; what a container leaves open is left out:
dict "pods" N "containers" (list RESOURCES ...) and, where each has a volume, "size" QUANTITY.
*/}}
{{- define "common.demand" -}}
pods: {{ mulf .pods 1e3 | printf "%.0f" | quote }}
{{- range $kind := list "requests" "limits" }}
{{- range $resource := list "cpu" "memory" "ephemeral-storage" }}
{{- $sum := 0.0 }}
{{- $open := false }}
{{- range $.containers }}
{{- $amount := get (get (. | default dict) $kind | default dict) $resource }}
{{- if eq (toString $amount) "" }}
{{- $open = true }}
{{- else }}
{{- $sum = addf $sum (include "common.milli" $amount) }}
{{- end }}
{{- end }}
{{- if not $open }}
{{ $kind }}.{{ $resource }}: {{ mulf $sum $.pods | printf "%.0f" | quote }}
{{- end }}
{{- end }}
{{- end }}
persistentvolumeclaims: {{ ternary (mulf .pods 1e3) 0.0 (hasKey . "size") | printf "%.0f" | quote }}
requests.storage: {{ include "common.milli" (.size | default 0) | mulf .pods | printf "%.0f" | quote }}
{{- end -}}

{{/* What a store takes: dict "ctx" $ "pods" N. */}}
{{- define "common.storeDemand" -}}
{{- $values := .ctx.Values -}}
{{- $containers := list $values.resources $values.reconciler.resources -}}
{{- if $values.exporter.enabled -}}
{{- $containers = append $containers $values.exporter.resources -}}
{{- end -}}
{{- include "common.demand" (dict "pods" .pods "containers" $containers "size" $values.persistence.size) -}}
{{- end -}}

{{/* The sum of demands, in thousandths; what one of them leaves open is left out: a list of YAML texts. */}}
{{- define "common.sum" -}}
{{- $demands := list -}}
{{- range . -}}
{{- with fromYaml . -}}
{{- $demands = append $demands . -}}
{{- end -}}
{{- end -}}
{{- range $resource, $_ := first $demands }}
{{- $sum := 0.0 }}
{{- $open := false }}
{{- range $demands }}
{{- $open = or $open (not (hasKey . $resource)) }}
{{- $sum = addf $sum (get . $resource) }}
{{- end }}
{{- if not $open }}
{{ $resource }}: {{ printf "%.0f" $sum | quote }}
{{- end }}
{{- end }}
{{- end -}}
