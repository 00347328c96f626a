"""Generators of files that the repository keeps: `python -m scripts.generate TARGET...`."""
