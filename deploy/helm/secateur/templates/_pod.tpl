{{/* What all pods have in common; the "restricted" Pod Security Standard, and then some */}}
{{- define "secateur.podSecurity" -}}
automountServiceAccountToken: false
# Kubernetes would set SECATEUR_PORT and its like for a Service of our name.
enableServiceLinks: false
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "secateur.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* (root, hub, metrics) → the mounts that go with `secateur.volumes` */}}
{{- define "secateur.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if include "secateur.secrets" . }}
- name: secrets
  mountPath: /run/secrets/secateur
  readOnly: true
{{- end }}
{{- range $i, $model := .root.Values.models }}
- name: models-{{ $i }}
  mountPath: {{ $model.path }}
  readOnly: true
{{- end }}
{{- end -}}

{{/* (root, hub, metrics, tmp) → volumes: scratch, secrets as files, models */}}
{{- define "secateur.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .tmp }}
{{- with include "secateur.secrets" . }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- . | trim | nindent 6 }}
{{- end }}
{{- range $i, $model := .root.Values.models }}
- name: models-{{ $i }}
  persistentVolumeClaim:
    claimName: {{ $model.claim }}
    readOnly: true
{{- end }}
{{- end -}}

{{- define "secateur.secrets" -}}
{{- $values := .root.Values -}}
{{- $files := dict "database-password" $values.databaseSecret "broker-password" $values.brokerSecret "aws-credentials" $values.storeSecret -}}
{{- if .hub }}{{ $_ := set $files "hub-token" $values.hubSecret }}{{ end -}}
{{- if .metrics }}{{ $_ := set $files "metrics-token" $values.metricsSecret }}{{ end -}}
{{- range $path, $secret := $files }}
{{- if $secret.name }}
- secret:
    name: {{ $secret.name }}
    items:
      - key: {{ $secret.key }}
        path: {{ $path }}
{{- end }}
{{- end }}
{{- end -}}

{{/* (placement) → where pods go */}}
{{- define "secateur.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* (selector) → spread over nodes where that is possible */}}
{{- define "secateur.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- . | nindent 8 }}
{{- end -}}

{{/* A probe over HTTP of a path */}}
{{- define "secateur.get" -}}
httpGet:
  path: {{ . }}
  port: http
  # A pod's address is none of the names that the API answers to.
  httpHeaders:
    - name: Host
      value: localhost
{{- end }}
