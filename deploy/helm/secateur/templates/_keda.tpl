{{/* (root, worker) → how a class grows and shrinks */}}
{{- define "secateur.scaledObject" -}}
{{- $root := .root }}{{ $worker := .worker }}{{ $keda := .worker.keda -}}
{{- $name := include "secateur.fullname" $root -}}
{{- if gt (int $keda.minReplicas) (int $keda.maxReplicas) -}}
{{- fail (printf "workers: %s: keda.minReplicas must not be above keda.maxReplicas" $worker.name) -}}
{{- end -}}
{{- if and (eq $keda.scaleDown "idle") (gt (int $keda.minReplicas) 0) -}}
{{- fail (printf "workers: %s: keda.minReplicas must be 0 with scaleDown: idle; for workers that are always there, add a class without keda" $worker.name) -}}
{{- end -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ $name }}-worker-{{ $worker.name }}
  labels:
    {{- include "secateur.labels" $root | nindent 4 }}
spec:
  scaleTargetRef:
    name: {{ $name }}-worker-{{ $worker.name }}
  minReplicaCount: {{ $keda.minReplicas }}
  maxReplicaCount: {{ $keda.maxReplicas }}
  pollingInterval: {{ $keda.pollingSeconds }}
  cooldownPeriod: {{ $keda.cooldownSeconds }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown:
          {{- if eq $keda.scaleDown "idle" }}
          selectPolicy: Disabled
          {{- else }}
          stabilizationWindowSeconds: 600
          policies:
            - {type: Pods, value: 1, periodSeconds: 600}
          {{- end }}
  triggers:
    # A job that runs has left the queue, so the queue alone would have busy workers stopped. Rows
    # tell of both. While the database cannot be asked, nothing shrinks.
    - type: postgresql
      metadata:
        {{- include "secateur.kedaDatabase" $root | nindent 8 }}
        query: SELECT count(*) FROM jobs WHERE state IN ('queued', 'running', 'cancelling')
        targetQueryValue: {{ $keda.jobsPerWorker | quote }}
      {{- with $root.Values.databaseSecret.name }}
      authenticationRef:
        name: {{ $name }}-database
      {{- end }}
    - type: redis
      metadata:
        {{- include "secateur.kedaBroker" $root | nindent 8 }}
        listName: secateur
        listLength: {{ $keda.jobsPerWorker | quote }}
      {{- with $root.Values.brokerSecret.name }}
      authenticationRef:
        name: {{ $name }}-broker
      {{- end }}
{{- end -}}

{{- define "secateur.kedaDatabase" -}}
{{- $url := urlParse .Values.databaseUrl -}}
host: {{ $url.hostname | quote }}
port: {{ include "secateur.port" (dict "url" .Values.databaseUrl "default" 5432) | quote }}
userName: {{ $url.userinfo | quote }}
dbName: {{ trimPrefix "/" $url.path | quote }}
sslmode: {{ regexFind "(^|&)sslmode=[^&]+" $url.query | trimPrefix "&" | trimPrefix "sslmode=" | default "prefer" }}
{{- end -}}

{{- define "secateur.kedaBroker" -}}
{{- $url := urlParse .Values.brokerUrl -}}
{{- if and $url.userinfo (not .Values.brokerSecret.usernameKey) -}}
{{- fail "brokerSecret.usernameKey: KEDA needs the user's name of brokerUrl from the secret" -}}
{{- end -}}
address: {{ printf "%s:%s" $url.hostname (include "secateur.port" (dict "url" .Values.brokerUrl "default" 6379)) | quote }}
databaseIndex: {{ trimPrefix "/" $url.path | default "0" | quote }}
enableTLS: {{ eq $url.scheme "rediss" | quote }}
{{- end -}}
