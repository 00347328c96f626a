"""This host's devices, mounts and file systems, by system calls where there is one. Nothing here logs; it raises HostError."""
