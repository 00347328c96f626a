{{- define "cinderlib.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "cinderlib.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains .Chart.Name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "cinderlib.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "cinderlib.selector" -}}
app.kubernetes.io/name: {{ include "cinderlib.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cinderlib.labels" -}}
{{ include "cinderlib.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.customLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "cinderlib.image" -}}
{{ .image.repository }}:{{ .image.tag | default .version }}
{{- end }}

{{- /* The drivers that manage devices of the machine they run on. */ -}}
{{- define "cinderlib.needsHost" -}}
{{- range $name, $backend := .Values.backends }}
{{- if has $backend.driver (list "cinder.volume.drivers.lvm.LVMVolumeDriver" "cinder.volume.drivers.spdk.SPDKDriver") }}{{ $name }} {{ end }}
{{- end }}
{{- end }}

{{- /* Everything wrong that a schema cannot say. */ -}}
{{- define "cinderlib.check" -}}
{{- $host := include "cinderlib.needsHost" . | trim }}
{{- if and $host (not .Values.controller.privileged) }}
{{- fail (printf "back end %s manages block devices of the controller's machine: set controller.privileged=true" $host) }}
{{- end }}
{{- if hasKey .Values.backends .Values.localBackend.name }}
{{- if .Values.localBackend.enabled }}
{{- fail (printf "backends.%s has the name of the local back end: set localBackend.enabled=false or choose another name" .Values.localBackend.name) }}
{{- end }}
{{- end }}
{{- if and (not .Values.localBackend.enabled) (not .Values.backends) (not .Values.backendSecrets) }}
{{- fail "no back end: set backends, backendSecrets or localBackend.enabled" }}
{{- end }}
{{- end }}

{{- define "cinderlib.sealingSecret" -}}
{{- .Values.sealing.existingSecret | default (printf "%s-sealing" (include "cinderlib.fullname" .)) }}
{{- end }}

{{- /* What csi-cinderlib serve --config reads on the controller. */ -}}
{{- define "cinderlib.controllerConfig" -}}
driver_name: {{ .Values.driverName }}
kubernetes: true
workers: {{ .Values.controller.workers }}
log: {{ toJson .Values.logging }}
sealing_keys_file: /etc/csi-cinderlib/sealing/keys.yaml
{{- if .Values.metrics.enabled }}
metrics_address: ":{{ .Values.metrics.port }}"
{{- end }}
{{- if eq .Values.store "crd" }}
store: {plugin: kubernetes, options: {namespace: {{ .Release.Namespace }}}}
{{- else }}
store: {plugin: sql, options: {url: {file: /etc/csi-cinderlib/store/url}}}
{{- end }}
{{- with .Values.volumeTypes }}
volume_types:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.backendSecrets }}
backends_directory: /etc/csi-cinderlib/backends.d
{{- end }}
backends:
{{- if .Values.localBackend.enabled }}
  {{ .Values.localBackend.name }}:
    driver: csi_cinderlib.drivers.loopfile.LoopFileDriver
    options: {loopfile_directories: [{{ .Values.localBackend.path | quote }}]}
{{- end }}
{{- with .Values.backends }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if not (or .Values.localBackend.enabled .Values.backends) }} {}
{{- end }}
{{- end }}

{{- define "cinderlib.nodeConfig" -}}
driver_name: {{ .Values.driverName }}
kubernetes: true
multipath: {{ .Values.multipath }}
max_volumes_per_node: {{ .Values.node.maxVolumes }}
log: {{ toJson .Values.logging }}
sealing_keys_file: /etc/csi-cinderlib/sealing/keys.yaml
store: {plugin: kubernetes, options: {namespace: {{ .Release.Namespace }}}}
{{- with .Values.node.topology }}
topology: {{ toJson . }}
{{- end }}
{{- if .Values.metrics.enabled }}
metrics_address: ":{{ .Values.metrics.port }}"
{{- end }}
{{- end }}
