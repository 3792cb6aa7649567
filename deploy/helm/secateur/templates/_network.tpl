{{/* (to, ports) → an egress rule over TCP; no peers mean any address */}}
{{- define "secateur.egressTo" -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Where every pod connects to: names, database, broker, store */}}
{{- define "secateur.egress" -}}
{{- $policy := .Values.networkPolicy -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
  {{- with $policy.dns.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{ include "secateur.egressTo" (dict "to" $policy.database.to "ports" (list (include "secateur.port" (dict "url" .Values.databaseUrl "default" 5432)))) }}
{{ include "secateur.egressTo" (dict "to" $policy.broker.to "ports" (list (include "secateur.port" (dict "url" .Values.brokerUrl "default" 6379)))) }}
{{ include "secateur.egressTo" (dict "to" $policy.store.to "ports" (list (include "secateur.storePort" .))) }}
{{- with $policy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Annotations of what the init job needs: made before it, gone when it has succeeded */}}
{{- define "secateur.hookOfJob" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: "-5"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
