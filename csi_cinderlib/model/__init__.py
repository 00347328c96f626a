"""The words of CSI and Cinder as plain data: frozen, slotted, standard library only."""
