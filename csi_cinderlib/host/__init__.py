"""Devices, mounts and file systems of this host, mostly by system calls. Failures raise HostError."""
