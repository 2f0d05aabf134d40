{{/* The release series of an image's reference or tag, such as 8.0, or nothing where it names none. */}}
{{- define "mongodb.series" -}}
{{- regexFind "[0-9]+[.][0-9]" (regexFind "(^|:)v?[1-9][0-9]?[.][0-9]($|[^0-9])" .) -}}
{{- end -}}

{{/*
mongod reads the files of the series before its own, and only while they say so (the feature compatibility version). So
the way from one series to the next is: hold that version at the older of both, change the image, let go when all is well.
*/}}
{{- define "mongodb.upgradeOrder" -}}
{{- $new := include "mongodb.series" .Values.image.tag -}}
{{- $held := .Values.featureCompatibilityVersion | default "" -}}
{{- if and $held $new (semverCompare (printf "<%s" $held) $new) -}}
{{- fail (printf "mongodb.featureCompatibilityVersion: MongoDB %s can't keep its files as %s does; write %q or the version before it" $new $held $new) -}}
{{- end -}}
{{- $name := include "common.fullname" . -}}
{{- range (dig "spec" "template" "spec" "containers" list (lookup "apps/v1" "StatefulSet" .Release.Namespace $name)) -}}
{{- $old := ternary (include "mongodb.series" .image) "" (eq .name "mongod") -}}
{{- if and $old $new (ne $old $new) -}}
{{- $older := ternary $old $new (semverCompare (printf ">%s" $old) $new) -}}
{{- $distance := sub (semver $new).Major (semver $old).Major -}}
{{- if not (has (int $distance) (list -1 0 1)) -}}
{{- fail (printf "mongodb.image.tag: MongoDB %s can't read the files of the %s that runs; go one major version at a time" $new $old) -}}
{{- end -}}
{{- $holds := dig "data" "compatibility" "" (lookup "v1" "ConfigMap" $.Release.Namespace $name) -}}
{{- if or (ne $held $older) (ne $holds $older) -}}
{{- fail (printf "mongodb.image.tag: before MongoDB %s becomes %s, its files must be held at %s; set mongodb.featureCompatibilityVersion to %q in an upgrade of its own, then change the tag and keep that value, and set it to %q when all is well" $old $new $older $older $new) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
