"""The terms of CSI and Cinder as plain data: frozen, slotted dataclasses that need only the standard library."""
