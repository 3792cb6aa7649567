{{/* (root, worker) → the class, its gaps filled with what all have */}}
{{- define "secateur.worker" -}}
{{- $worker := mergeOverwrite (deepCopy .root.Values.workerDefaults) .worker -}}
{{- $_ := set $worker "image" (mergeOverwrite (deepCopy .root.Values.images.worker) $worker.image) -}}
{{- $device := default (ternary "cuda" "cpu" (gt (int $worker.gpus) 0)) $worker.device -}}
{{- if ne (hasPrefix "cuda" $device) (gt (int $worker.gpus) 0) -}}
{{- fail (printf "workers: %s: device %s and gpus: %v do not go together" $worker.name $device $worker.gpus) -}}
{{- end -}}
{{- $_ := set $worker "device" $device -}}
{{- $kind := regexFind "^[a-z]+" $device -}}
{{- $_ := set $worker.image "tag" (default (printf "%s-%s" .root.Chart.AppVersion $kind) $worker.image.tag) -}}
{{- if not $worker.resources -}}
{{- fail (printf "workers: %s: resources are missing; their memory limit is the least there must be" $worker.name) -}}
{{- end -}}
{{- toYaml $worker -}}
{{- end -}}

{{- define "secateur.workerSelector" -}}
{{ include "secateur.selector" .root }}
app.kubernetes.io/component: worker
secateur/class: {{ .worker.name }}
{{- end }}

{{- define "secateur.workerDeployment" -}}
{{- $root := .root }}{{ $worker := .worker }}{{ $selector := include "secateur.workerSelector" . -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "secateur.fullname" $root }}-worker-{{ $worker.name }}
  labels:
    {{- include "secateur.labels" $root | nindent 4 }}
    app.kubernetes.io/component: worker
    secateur/class: {{ $worker.name }}
spec:
  {{- if not $worker.keda.enabled }}
  replicas: {{ $worker.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  strategy:
    type: RollingUpdate
    rollingUpdate:
      # A new worker would wait for the device that an old one holds.
      maxSurge: 0
      maxUnavailable: {{ $worker.maxUnavailable }}
  selector:
    matchLabels:
      {{- $selector | nindent 6 }}
  template:
    metadata:
      labels:
        {{- $selector | nindent 8 }}
      annotations:
        checksum/config: {{ include "secateur.settings" $root | sha256sum }}
        {{- with $worker.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "secateur.serviceAccount" $root }}
      {{- include "secateur.podSecurity" $root | nindent 6 }}
      {{- include "secateur.spread" $selector | nindent 6 }}
      {{- with include "secateur.placement" $worker }}
      {{- . | trim | nindent 6 }}
      {{- end }}
      # On SIGTERM a run gets five seconds, its job goes back into the queue, and the worker leaves.
      # The rest is for a database and a store that are slow to answer.
      terminationGracePeriodSeconds: 60
      initContainers:
        # A worker whose device, database, broker or store fails must not begin to take jobs.
        - name: check
          {{- include "secateur.workerContainer" . | nindent 10 }}
          command: [secateur, doctor]
      containers:
        - name: worker
          {{- include "secateur.workerContainer" . | nindent 10 }}
          command: [secateur, worker]
          # The file is touched after every look at database and queue.
          startupProbe:
            {{- include "secateur.recently" 2 | nindent 12 }}
            periodSeconds: 5
            timeoutSeconds: 5
            failureThreshold: 60
          readinessProbe:
            {{- include "secateur.recently" 2 | nindent 12 }}
            periodSeconds: 30
            timeoutSeconds: 5
            failureThreshold: 2
          # A run survives half an hour without a database, so its worker is left alone that long.
          # One that no longer hears its queue leaves by itself.
          livenessProbe:
            {{- include "secateur.recently" 30 | nindent 12 }}
            periodSeconds: 60
            timeoutSeconds: 5
            failureThreshold: 3
      volumes:
        {{- include "secateur.volumes" (dict "root" $root "hub" true "tmp" "1Gi") | nindent 8 }}
        - name: work
          {{- include "secateur.workVolume" $worker.work | nindent 10 }}
{{- end }}

{{- define "secateur.workerContainer" -}}
{{- $worker := .worker -}}
image: {{ include "secateur.image" (dict "root" .root "image" $worker.image) }}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
envFrom:
  - configMapRef:
      name: {{ include "secateur.fullname" .root }}
env:
  - name: HOME
    value: /tmp
  - name: SECATEUR_WORK_DIR
    value: /var/lib/secateur/work
  - name: SECATEUR_ALIVE_PATH
    value: /tmp/alive
  - name: SECATEUR_DEVICE
    value: {{ $worker.device }}
  {{- with include "secateur.memoryBudget" $worker }}
  - name: SECATEUR_MEMORY_BUDGET
    value: {{ . | quote }}
  {{- end }}
  {{- with $worker.resources.limits.cpu }}
  - name: SECATEUR_THREADS
    value: {{ include "secateur.threads" . | quote }}
  {{- end }}
  {{- if .root.Values.hubSecret.name }}
  - name: HF_TOKEN_PATH
    value: /run/secrets/secateur/hub-token
  {{- end }}
resources:
  {{- $resources := deepCopy $worker.resources }}
  {{- if gt (int $worker.gpus) 0 }}
  {{- $_ := set $resources.limits $worker.gpuResource (int $worker.gpus) }}
  {{- end }}
  {{- toYaml $resources | nindent 2 }}
{{ include "secateur.containerSecurity" .root }}
volumeMounts:
  {{- include "secateur.mounts" (dict "root" .root "hub" true) | nindent 2 }}
  - name: work
    mountPath: /var/lib/secateur/work
{{- end }}

{{/* A container sees the whole node's memory as free: what it may use must be said. */}}
{{- define "secateur.memoryBudget" -}}
{{- if .memoryBudget -}}
{{- include "secateur.bytes" .memoryBudget -}}
{{- else if eq .device "cpu" -}}
{{- div (mul 3 (include "secateur.bytes" .resources.limits.memory | int64)) 4 -}}
{{- end -}}
{{- end }}

{{- define "secateur.workVolume" -}}
{{- if .storageClassName -}}
ephemeral:
  volumeClaimTemplate:
    spec:
      accessModes: [ReadWriteOnce]
      storageClassName: {{ .storageClassName }}
      resources:
        requests:
          storage: {{ .sizeLimit }}
{{- else -}}
emptyDir:
  sizeLimit: {{ .sizeLimit }}
{{- end -}}
{{- end }}

{{- define "secateur.workerBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "secateur.fullname" .root }}-worker-{{ .worker.name }}
  labels:
    {{- include "secateur.labels" .root | nindent 4 }}
spec:
  maxUnavailable: {{ .worker.disruptionBudget }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "secateur.workerSelector" . | nindent 6 }}
{{- end }}

{{/* A probe: the worker has looked around within so many minutes, and has a process for jobs */}}
{{- define "secateur.recently" -}}
exec:
  command:
    - sh
    - -c
    - test -n "$(find /tmp/alive -mmin -{{ . }})" && test -n "$(cat /proc/1/task/*/children)"
{{- end }}
