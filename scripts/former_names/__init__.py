"""Former names of Cinder's options and drivers, from a clone of Cinder: `python -m scripts.former_names CLONE`."""
