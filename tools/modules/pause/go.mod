module csi-cinderlib/tools/pause

go 1.25.0
