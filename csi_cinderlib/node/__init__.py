"""The node service: stage, publish, expand and measure volumes. It uses no store, no Cinder and no Kubernetes API."""
