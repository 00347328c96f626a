{{- define "cinderlib.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* A Service name has at most 63 characters and no dot; the longest derived name is NAME-controller-metrics. */ -}}
{{- define "cinderlib.fullname" -}}
{{- $name := .Values.fullnameOverride }}
{{- if not $name }}
{{- $own := include "cinderlib.name" . }}
{{- $name = contains $own .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $own) }}
{{- end }}
{{- regexReplaceAll "-+$" (replace "." "-" $name | trunc 44) "" }}
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

{{- /* A value as text. Numbers are floating point in Helm and print as 1e+06 from a million on, except as JSON. */ -}}
{{- define "cinderlib.text" -}}
{{- kindIs "string" . | ternary . (toJson .) }}
{{- end }}

{{- /* Helm merges values, so the defaults of a rolling update remain with any type, and Kubernetes refuses them with other types. */ -}}
{{- define "cinderlib.updateStrategy" -}}
{{- toYaml (ne .type "RollingUpdate" | ternary (omit . "rollingUpdate") .) }}
{{- end }}

{{- /* A standby is useless if it cannot reach the back ends from another node. Drivers such as LVM, which use disks of their node, are
       privileged; the content of Secrets is unknown here. The official livenessprobe would kill a standby. */ -}}
{{- define "cinderlib.replicas" -}}
{{- $local := .Values.localBackend }}
{{- $alone := or (and $local.enabled (not $local.shared)) .Values.controller.privileged .Values.sidecars.livenessProbe.enabled }}
{{- range concat (values .Values.backends) (values .Values.backendObjects.specs) }}
{{- $alone = or $alone (eq .driver "csi_cinderlib.drivers.loopfile.LoopFileDriver") }}
{{- end }}
{{- eq (toString .Values.controller.replicaCount) "auto" | ternary ($alone | ternary 1 2) (int .Values.controller.replicaCount) }}
{{- end }}

{{- /* The digest, if given, guarantees the content of the image. */ -}}
{{- define "cinderlib.image" -}}
{{ .image.repository }}{{ if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .version }}{{ end }}
{{- end }}

{{- /* Mounted by the controller only. */ -}}
{{- define "cinderlib.sealingSecret" -}}
{{- .Values.sealing.existingSecret | default (printf "%s-controller-sealing" (include "cinderlib.fullname" .)) }}
{{- end }}

{{- /* The former key of all nodes. A new installation has none. */ -}}
{{- define "cinderlib.sharedSecret" -}}
{{- .Values.sealing.sharedSecret | default (printf "%s-sealing" (include "cinderlib.fullname" .)) }}
{{- end }}

{{- /* A sidecar only needs the driver's socket and the API server. */ -}}
{{- define "cinderlib.sidecarSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* The service account's credentials for selected containers of a pod. */ -}}
{{- define "cinderlib.tokenVolume" -}}
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}

{{- /* Probes of the driver's container, at its own health port or at the official sidecar's. A pod in the host's
       network answers at 127.0.0.1 only. */ -}}
{{- define "cinderlib.probes" -}}
{{- $host := .hostNetwork | ternary "host: 127.0.0.1, " "" -}}
startupProbe:
  httpGet: { {{- $host }}path: /healthz, port: {{ .port }}}
  periodSeconds: 1
  timeoutSeconds: 3
  failureThreshold: 120
livenessProbe:
  httpGet: { {{- $host }}path: /healthz, port: {{ .port }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 5
{{- if not .official }}
readinessProbe:
  httpGet: { {{- $host }}path: /readyz, port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}
{{- end }}

{{- /* The official livenessprobe container. */ -}}
{{- define "cinderlib.livenessProbe" -}}
{{- $probe := .root.Values.sidecars.livenessProbe -}}
- name: liveness-probe
  image: {{ include "cinderlib.image" (dict "image" $probe.image "version" "") }}
  imagePullPolicy: {{ $probe.image.pullPolicy }}
  args:
    - --csi-address=/csi/csi.sock
    - --http-endpoint={{ .hostNetwork | ternary "127.0.0.1" "" }}:{{ .port }}
    - --v={{ $probe.logLevel }}
    {{- with $probe.additionalArgs }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  securityContext:
    {{- include "cinderlib.sidecarSecurity" . | nindent 4 }}
    {{- if .asRoot }}
    runAsUser: 0
    {{- end }}
  resources:
    {{- toYaml $probe.resources | nindent 4 }}
  volumeMounts:
    - {name: {{ .volume }}, mountPath: /csi}
{{- end }}
