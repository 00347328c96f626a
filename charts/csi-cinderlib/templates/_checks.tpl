{{- /* Checks that a schema cannot express. Each message names the values and the next step. */ -}}
{{- define "cinderlib.check" -}}
{{- $values := .Values }}
{{- $local := .Values.localBackend }}
{{- $replicas := include "cinderlib.replicas" . | int }}
{{- include "cinderlib.checkPrivileges" . }}
{{- include "cinderlib.checkKeys" . }}
{{- include "cinderlib.checkPasswords" . }}
{{- if and $local.enabled (hasKey .Values.backends $local.name) }}
{{- fail (printf "backends.%s: the local back end has the same name; choose another name, or set localBackend.enabled=false" $local.name) }}
{{- end }}
{{- if and .Values.sidecars.livenessProbe.enabled (gt $replicas 1) }}
{{- fail "controller.replicaCount: the official livenessprobe would kill a standby controller; set sidecars.livenessProbe.enabled=false or controller.replicaCount=1" }}
{{- end }}
{{- if not (or $local.enabled .Values.backends .Values.backendSecrets .Values.backendObjects.specs .Values.backendObjects.secrets) }}
{{- fail "no back end is configured; set backends, backendSecrets, backendObjects, or localBackend.enabled=true" }}
{{- end }}
{{- $files := include "cinderlib.backends" . | fromYaml }}
{{- range $name, $spec := .Values.backendObjects.specs }}
{{- if hasKey $files ($spec.name | default $name) }}
{{- fail (printf "backendObjects.specs.%s: backends or localBackend has a back end of the same name; remove one" $name) }}
{{- end }}
{{- end }}
{{- if $local.enabled }}
{{- if and $local.node $local.shared }}
{{- fail "localBackend.node and localBackend.shared exclude each other; keep node for a directory of one node, or shared for one of all nodes" }}
{{- end }}
{{- range $used := list .Values.kubeletPath "/var/lib/csi-cinderlib/state" (printf "/var/lib/csi-cinderlib/%s" .Values.driverName) "/etc/csi-cinderlib" "/csi" "/dev" "/proc" "/sys" }}
{{- if hasPrefix (printf "%s/" (clean $used)) (printf "%s/" (clean $local.path)) }}
{{- fail (printf "localBackend.path: %s is in %s, which the driver's pods use; choose another directory" $local.path $used) }}
{{- end }}
{{- end }}
{{- if and .Values.controller.privileged $local.node (gt $replicas 1) }}
{{- fail (printf "controller.replicaCount: privileged controllers use ports of their node, and localBackend.node runs all %d on one node; set controller.replicaCount=1" $replicas) }}
{{- end }}
{{- $nodes := (lookup "v1" "Node" "" "").items | default list }}
{{- if and (gt (len $nodes) 1) (not (or $local.node $local.shared)) }}
{{- fail (printf "localBackend: volumes are in a directory of one node, and this cluster has %d nodes; set localBackend.node to the node for the volumes, localBackend.shared=true if all nodes share %s, or localBackend.enabled=false" (len $nodes) $local.path) }}
{{- end }}
{{- $names := list }}
{{- range $nodes }}{{ $names = append $names .metadata.name }}{{ end }}
{{- if and $names $local.node (not (has $local.node $names)) }}
{{- fail (printf "localBackend.node: the cluster has no node %q" $local.node) }}
{{- end }}
{{- end }}
{{- if and .Values.metrics.tokenSecret (not .Values.metrics.tlsSecret) }}
{{- fail "metrics.tokenSecret: without TLS the token is sent in plain text; set metrics.tlsSecret" }}
{{- end }}
{{- $sealing := include "cinderlib.sealingSecret" . }}
{{- $daemonSet := lookup "apps/v1" "DaemonSet" .Release.Namespace (printf "%s-node" (include "cinderlib.fullname" .)) }}
{{- range dig "spec" "template" "spec" "volumes" list ($daemonSet | default dict) }}
{{- if eq (dig "secret" "secretName" "" .) $sealing }}
{{- fail (printf "sealing.existingSecret: all nodes mount the Secret %s, and the controller needs a Secret of its own; set sealing.sharedSecret=%s, and sealing.existingSecret to a new Secret" $sealing $sealing) }}
{{- end }}
{{- end }}
{{- if and .Values.multipath (not .Values.node.hostPID) }}
{{- fail "multipath: the host's multipathd can be reached only with node.hostPID=true; set it, or multipath=false" }}
{{- end }}
{{- $ports := list .Values.node.healthPort .Values.node.metricsPort }}
{{- if .Values.controller.privileged }}
{{- $ports = concat $ports (list .Values.controller.healthPort .Values.controller.metricsPort) }}
{{- else if eq (int .Values.controller.healthPort) (int .Values.controller.metricsPort) }}
{{- fail "controller.healthPort and controller.metricsPort must differ" }}
{{- end }}
{{- if ne (len $ports) (len (uniq $ports)) }}
{{- fail "node.healthPort, node.metricsPort, and the ports of a privileged controller, are ports of the host and must differ" }}
{{- end }}
{{- if gt (len (printf "%s/plugins/%s/csi.sock" .Values.kubeletPath .Values.driverName)) 107 }}
{{- fail "kubeletPath and driverName must be shorter: together they exceed the length of a socket's path (107 bytes)" }}
{{- end }}
{{- range $index, $class := .Values.storageClasses }}
{{- range $key, $_ := $class.parameters }}
{{- if not (or (has $key (list "backend" "pool" "type" "mkfsOptions" "encryption")) (hasPrefix "extraSpecs/" $key) (hasPrefix "qos/" $key) (hasPrefix "csi.storage.k8s.io/" $key)) }}
{{- fail (printf "storageClasses[%d].parameters: unknown parameter %q; supported: backend, pool, type, mkfsOptions, encryption, extraSpecs/..., qos/..., csi.storage.k8s.io/fstype" $index $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Drivers that manage devices or mount shares on their machine. */ -}}
{{- define "cinderlib.checkPrivileges" -}}
{{- $drivers := list
      "cinder.volume.drivers.lvm.LVMVolumeDriver"
      "cinder.volume.drivers.dell_emc.powerstore.nfs.PowerStoreNFSDriver"
      "cinder.volume.drivers.ibm.gpfs.GPFSDriver"
      "cinder.volume.drivers.ibm.gpfs.GPFSNFSDriver"
      "cinder.volume.drivers.netapp.dataontap.nfs_cmode.NetAppCmodeNfsDriver"
      "cinder.volume.drivers.nexenta.nfs.NexentaNfsDriver"
      "cinder.volume.drivers.nexenta.ns5.nfs.NexentaNfsDriver"
      "cinder.volume.drivers.nfs.NfsDriver"
      "cinder.volume.drivers.quobyte.QuobyteDriver"
      "cinder.volume.drivers.veritas_cnfs.VeritasCNFSDriver"
      "cinder.volume.drivers.vmstore.nfs.VmstoreNfsDriver"
      "cinder.volume.drivers.vzstorage.VZStorageDriver"
}}
{{- $targets := list "tgtadm" "lioadm" "scstadmin" "iscsictl" "nvmet" "spdk-nvmeof" }}
{{- if not .Values.controller.privileged }}
{{- range $place, $backends := dict "backends" .Values.backends "backendObjects.specs" .Values.backendObjects.specs }}
{{- range $name, $backend := $backends }}
{{- $options := $backend.options | default dict }}
{{- $why := "" }}
{{- if has $backend.driver $drivers }}
{{- $why = "uses devices or mounts of its machine" }}
{{- else if has ($options.target_helper | default "") $targets }}
{{- $why = printf "exports volumes from its machine (target_helper: %s)" $options.target_helper }}
{{- else if eq (lower (toString ($options.netapp_storage_protocol | default ""))) "nfs" }}
{{- $why = "mounts NFS shares on its machine" }}
{{- end }}
{{- if $why }}
{{- fail (printf "%s.%s: %s %s and needs controller.privileged=true" $place $name $backend.driver $why) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The controller refuses a password in an object, after Helm has removed the back end of that name from the files. */ -}}
{{- define "cinderlib.checkPasswords" -}}
{{- $secret := `passw(or)?d|passphrase|passcode|secret|credential|(^|[_\-.])pass$|pwd$|tokens?$|(^|[_\-.])(pin|otp|jwt)$|(private|auth|access|api|session|encryption|sealing|keyring|chap|ceph)[_\-.]?keys?$|^keyring$|^j?session-?id$|^(set-)?cookies?$|^(proxy-)?authorization$|^synology_device_id$` }}
{{- range $name, $spec := .Values.backendObjects.specs }}
{{- range $option, $value := $spec.options | default dict }}
{{- $text := toString $value | trim | lower }}
{{- $plain := or (kindIs "bool" $value) (not $value) (has $text (list "" "true" "false" "yes" "no" "on" "off" "none" "null")) }}
{{- $path := and (hasSuffix "private_key" $option) (regexMatch `^(/[\w.\-]+)+$` (toString $value)) }}
{{- $named := regexMatch (printf "(?i)%s" $secret) (regexReplaceAll `(?i)passw(or)?d(less|_len)|secret_uuid` $option "") }}
{{- if and $named (not $plain) (not $path) }}
{{- fail (printf "backendObjects.specs.%s.options.%s: holds a password; put this option into a Secret, and its name into secretRef.name" $name $option) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Keys that the chart or another value sets: a mapping can hold each key only once. */ -}}
{{- define "cinderlib.checkKeys" -}}
{{- $labels := dict }}
{{- range list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/component" "helm.sh/chart" }}
{{- $_ := set $labels . "the chart" }}
{{- end }}
{{- include "cinderlib.refuseTaken" (list "customLabels" .Values.customLabels $labels) }}
{{- range $key, $_ := .Values.customLabels }}
{{- $_ := set $labels $key "customLabels" }}
{{- end }}
{{- include "cinderlib.refuseTaken" (list "metrics.serviceMonitor.labels" .Values.metrics.serviceMonitor.labels $labels) }}
{{- range $role := list "controller" "node" }}
{{- $pod := index $.Values $role }}
{{- include "cinderlib.refuseTaken" (list (printf "%s.podLabels" $role) $pod.podLabels $labels) }}
{{- include "cinderlib.refuseTaken" (list (printf "%s.podAnnotations" $role) $pod.podAnnotations (dict "checksum/config" "the chart")) }}
{{- if ne (index $pod.nodeSelector "kubernetes.io/os" | default "linux") "linux" }}
{{- fail (printf "%s.nodeSelector: kubernetes.io/os must be linux" $role) }}
{{- end }}
{{- end }}
{{- range $kind, $mark := dict "storageClasses" "storageclass.kubernetes.io/is-default-class" "volumeSnapshotClasses" "snapshot.storage.kubernetes.io/is-default-class" }}
{{- range $index, $class := index $.Values $kind }}
{{- include "cinderlib.refuseTaken" (list (printf "%s[%d].labels" $kind $index) $class.labels $labels) }}
{{- include "cinderlib.refuseTaken" (list (printf "%s[%d].annotations" $kind $index) $class.annotations ($class.default | default false | ternary (dict $mark "default") dict)) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Takes the path of a value, the value, and the keys that it must not hold with the origin of each. */ -}}
{{- define "cinderlib.refuseTaken" -}}
{{- $path := index . 0 }}
{{- $taken := index . 2 }}
{{- range $key, $_ := index . 1 }}
{{- if hasKey $taken $key }}
{{- fail (printf "%s: %s is set by %s; remove it" $path $key (index $taken $key)) }}
{{- end }}
{{- end }}
{{- end }}
