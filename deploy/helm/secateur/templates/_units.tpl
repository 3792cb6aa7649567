{{/* A quantity of memory → bytes */}}
{{- define "secateur.bytes" -}}
{{- $text := toString . -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mul (regexFind "^[0-9]+" $text | int64) (get $units (regexFind "[A-Za-z]*$" $text)) -}}
{{- end -}}

{{/* A limit of CPUs → whole threads, at least one */}}
{{- define "secateur.threads" -}}
{{- $text := toString . -}}
{{- if hasSuffix "m" $text -}}
{{- max 1 (div (trimSuffix "m" $text | int64) 1000) -}}
{{- else -}}
{{- max 1 (floor (float64 $text) | int64) -}}
{{- end -}}
{{- end -}}

{{/* (url, default) → the port that is connected to */}}
{{- define "secateur.port" -}}
{{- $port := regexFind ":[0-9]+$" (urlParse .url).host | trimPrefix ":" -}}
{{- default (toString .default) $port -}}
{{- end -}}

{{/* The store's port: of its endpoint, which stands in the query, else that of AWS */}}
{{- define "secateur.storePort" -}}
{{- $query := (urlParse .Values.storeUrl).query -}}
{{- $endpoint := regexFind "(^|&)endpoint=[^&]+" $query | trimPrefix "&" | trimPrefix "endpoint=" -}}
{{- $endpoint = $endpoint | replace "%3A" ":" | replace "%2F" "/" -}}
{{- if $endpoint -}}
{{- include "secateur.port" (dict "url" $endpoint "default" (ternary 80 443 (hasPrefix "http:" $endpoint))) -}}
{{- else -}}
443
{{- end -}}
{{- end -}}
