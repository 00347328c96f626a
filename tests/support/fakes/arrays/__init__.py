"""Cinder's drivers with the client of an array replaced by one that records. Their `retype` is the real one.

Each module has a class by the name of each driver. The recorded properties are read from what the client got, not from the volume type.
"""
