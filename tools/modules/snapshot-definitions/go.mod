module csi-cinderlib/tools/snapshot-definitions

go 1.25.0

require github.com/kubernetes-csi/external-snapshotter/client/v8 v8.7.0
