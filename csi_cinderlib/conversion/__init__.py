"""Configurations of OpenStack Cinder, cinderlib and Ember-CSI, converted to this driver's own."""
