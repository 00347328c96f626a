"""Generated from `proto/` by scripts/generate_protos.py; not to be edited."""
