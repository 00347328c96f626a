"""Settings: frozen, checked once when they are read."""
