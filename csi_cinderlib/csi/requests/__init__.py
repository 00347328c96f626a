"""From protos to the dataclasses of `model.requests`. Everything invalid dies here, before anything is looked up."""
