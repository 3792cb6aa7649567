{{/* Every pod's configuration: a map of names to strings, none of them secret */}}
{{- define "secateur.settings" -}}
SECATEUR_DATABASE_URL: {{ .Values.databaseUrl | quote }}
SECATEUR_BROKER_URL: {{ .Values.brokerUrl | quote }}
SECATEUR_STORE_URL: {{ .Values.storeUrl | quote }}
{{- with .Values.databaseSecret.name }}
SECATEUR_DATABASE_PASSWORD_FILE: /run/secrets/secateur/database-password
{{- end }}
{{- with .Values.brokerSecret.name }}
SECATEUR_BROKER_PASSWORD_FILE: /run/secrets/secateur/broker-password
{{- end }}
{{- with .Values.storeSecret.name }}
AWS_SHARED_CREDENTIALS_FILE: /run/secrets/secateur/aws-credentials
{{- end }}
{{- if .Values.models }}
SECATEUR_MODEL_ROOTS: {{ pluck "path" (first .Values.models) | join "" }}{{ range rest .Values.models }}:{{ .path }}{{ end }}
{{- end }}
{{- with .Values.hubEndpoint }}
HF_ENDPOINT: {{ . | quote }}
{{- end }}
{{- range $name, $value := .Values.settings }}
SECATEUR_{{ upper $name }}: {{ include "secateur.setting" $value | quote }}
{{- end }}
{{- end -}}

{{/* A value as its variable has it: lists are joined by commas, objects are JSON */}}
{{- define "secateur.setting" -}}
{{- if kindIs "slice" . -}}
{{ join "," . }}
{{- else if kindIs "string" . -}}
{{ . }}
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end -}}
