"""Converts protos to the dataclasses of `model.requests`, and rejects invalid requests before any look-up."""
