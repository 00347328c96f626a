"""Volume drivers of our own, written for Cinder's driver interface."""
