"""Programs that convert a cinder.conf, with the names of cinderlib's package `cmd`."""
