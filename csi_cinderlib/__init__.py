"""One CSI driver, and one Python library, for every storage back end that OpenStack Cinder can drive."""

__version__ = "0.1.0"
