{{- /* Settings of the controller. Back ends are in files of their own, which are reloaded. */ -}}
{{- define "cinderlib.controllerSettings" -}}
driver_name: {{ .Values.driverName }}
kubernetes: true
workers: {{ .Values.controller.workers }}
max_volumes_per_node: {{ include "cinderlib.text" .Values.node.maxVolumes }}
log: {{ toJson .Values.logging }}
sealing_keys_file: /etc/csi-cinderlib/sealing/keys.yaml
shared_keys_file: /etc/csi-cinderlib/shared-sealing/keys.yaml
backends_directory: /etc/csi-cinderlib/backends
{{- if not .Values.sidecars.livenessProbe.enabled }}
health_address: {{ printf "%s:%v" (.Values.controller.privileged | ternary "127.0.0.1" "") .Values.controller.healthPort | quote }}
{{- end }}
{{- include "cinderlib.metricsSettings" (dict "root" . "role" "controller" "hostNetwork" .Values.controller.privileged) }}
{{- if eq .Values.store "crd" }}
store:
  plugin: kubernetes
  options: {namespace: {{ .Release.Namespace | quote }}}
{{- else }}
store:
  plugin: sql
  options: {url: {file: /etc/csi-cinderlib/store/url}}
{{- end }}
{{- with .Values.takeOverFrom }}
  take_over_from: {{ . | quote }}
{{- end }}
{{- with .Values.cinderDefaults }}
cinder_defaults:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.volumeTypes }}
volume_types:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* All back ends of the values, in the form of backends_directory. */ -}}
{{- define "cinderlib.backends" -}}
{{- $all := deepCopy .Values.backends }}
{{- with .Values.localBackend }}
{{- if .enabled }}
{{- $local := dict "driver" "csi_cinderlib.drivers.loopfile.LoopFileDriver" "options" (dict "loopfile_directories" (list .path)) }}
{{- if .node }}
{{- $_ := set $local "topology" (dict "node" .node) }}
{{- end }}
{{- $_ := set $all .name $local }}
{{- end }}
{{- end }}
{{- toYaml $all }}
{{- end }}

{{- /* All back ends of the values, also those that become objects: driver, options and topology have the same form. */ -}}
{{- define "cinderlib.allBackends" -}}
{{- merge (include "cinderlib.backends" . | fromYaml) (deepCopy .Values.backendObjects.specs) | toYaml }}
{{- end }}

{{- /* Paths that a node may attach: the directories of back ends with files in the values, and node.localPaths. */ -}}
{{- define "cinderlib.localPaths" -}}
{{- $paths := .Values.node.localPaths }}
{{- range include "cinderlib.allBackends" . | fromYaml }}
{{- if eq .driver "csi_cinderlib.drivers.loopfile.LoopFileDriver" }}
{{- $directories := (.options | default dict).loopfile_directories | default list }}
{{- if kindIs "string" $directories }}
{{- $directories = splitList "," $directories }}
{{- end }}
{{- range $directories }}
{{- $paths = append $paths (regexReplaceAll "^[^/]*:" (trim .) "") }}
{{- end }}
{{- end }}
{{- end }}
{{- $paths | uniq | toJson }}
{{- end }}

{{- /* Settings of a node, without secrets. */ -}}
{{- define "cinderlib.nodeSettings" -}}
driver_name: {{ .Values.driverName }}
kubernetes: true
multipath: {{ .Values.multipath }}
max_volumes_per_node: {{ include "cinderlib.text" .Values.node.maxVolumes }}
log: {{ toJson .Values.logging }}
shared_keys_file: /etc/csi-cinderlib/shared-sealing/keys.yaml
store: {plugin: kubernetes, options: {namespace: {{ .Release.Namespace | quote }}}}
{{- if and .Values.localBackend.enabled .Values.localBackend.node }}
topology: {node: {env: CINDERLIB_NODE_NAME}}
{{- end }}
{{- with .Values.node.topologyLabels }}
topology_labels: {{ toJson . }}
{{- end }}
local_paths: {{ include "cinderlib.localPaths" . }}
kubelet_directory: {{ .Values.kubeletPath }}
{{- if not .Values.sidecars.nodeDriverRegistrar.enabled }}
kubelet_registration: {{ .Values.kubeletPath }}/plugins_registry
{{- end }}
{{- if not .Values.sidecars.livenessProbe.enabled }}
health_address: {{ printf "%s:%v" (.Values.node.hostNetwork | ternary "127.0.0.1" "") .Values.node.healthPort | quote }}
{{- end }}
{{- include "cinderlib.metricsSettings" (dict "root" . "role" "node" "hostNetwork" .Values.node.hostNetwork) }}
{{- end }}
