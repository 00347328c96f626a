"""A real Kubernetes on this machine, from its Go modules and Debian packages alone."""
