{{- /* Address and access control of /metrics. Takes root, role and hostNetwork. */ -}}

{{- /* Whether other hosts can reach it. */ -}}
{{- define "cinderlib.metricsReachable" -}}
{{- and .root.Values.metrics.enabled (or (not .hostNetwork) (eq .root.Values.metrics.hostAddress "node")) | ternary "true" "" }}
{{- end }}

{{- define "cinderlib.metricsSettings" -}}
{{- $metrics := .root.Values.metrics }}
{{- $port := index .root.Values .role "metricsPort" }}
{{- if $metrics.enabled }}
{{- if not .hostNetwork }}
metrics_address: {{ printf ":%v" $port | quote }}
{{- else if eq $metrics.hostAddress "node" }}
metrics_address: {env: CINDERLIB_METRICS_ADDRESS}
{{- else }}
metrics_address: {{ printf "127.0.0.1:%v" $port | quote }}
{{- end }}
{{- if $metrics.tlsSecret }}
metrics_certificate_file: /etc/csi-cinderlib/metrics-tls/tls.crt
metrics_key_file: /etc/csi-cinderlib/metrics-tls/tls.key
{{- end }}
{{- if $metrics.tokenSecret }}
metrics_token_file: /etc/csi-cinderlib/metrics-token/token
{{- end }}
{{- end }}
{{- end }}

{{- define "cinderlib.metricsEnvironment" -}}
{{- $metrics := .root.Values.metrics }}
{{- if and $metrics.enabled .hostNetwork (eq $metrics.hostAddress "node") }}
# The host's address: the pod is in the host's network.
- {name: CINDERLIB_POD_ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: CINDERLIB_METRICS_ADDRESS, value: "$(CINDERLIB_POD_ADDRESS):{{ index .root.Values .role "metricsPort" }}"}
{{- end }}
{{- end }}

{{- define "cinderlib.metricsMounts" -}}
{{- if .Values.metrics.enabled }}
{{- if .Values.metrics.tlsSecret }}
- {name: metrics-tls, mountPath: /etc/csi-cinderlib/metrics-tls, readOnly: true}
{{- end }}
{{- if .Values.metrics.tokenSecret }}
- {name: metrics-token, mountPath: /etc/csi-cinderlib/metrics-token, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{- define "cinderlib.metricsVolumes" -}}
{{- if .Values.metrics.enabled }}
{{- with .Values.metrics.tlsSecret }}
{{- /* Without ca.crt, which the driver does not use. */}}
- {name: metrics-tls, secret: {secretName: {{ . }}, defaultMode: 0440, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}}
{{- end }}
{{- with .Values.metrics.tokenSecret }}
- {name: metrics-token, secret: {secretName: {{ . }}, defaultMode: 0440, items: [{key: token, path: token}]}}
{{- end }}
{{- end }}
{{- end }}
