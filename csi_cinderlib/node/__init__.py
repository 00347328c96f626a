"""The node's flows: stage, publish, expand, measure, and their opposites. No store, no Cinder, no Kubernetes API in here."""
