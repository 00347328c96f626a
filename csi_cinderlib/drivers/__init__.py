"""csi-cinderlib's own volume drivers, written for Cinder's driver interface."""
