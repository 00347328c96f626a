"""Takes over the metadata of cinderlib and of Ember-CSI. Reads it without Cinder, and never changes the source."""
