"""A CSI driver and a Python library for all storage back ends with an OpenStack Cinder driver."""

__version__ = "0.1.0"
