"""The gRPC layer. It converts protos to dataclasses and errors to gRPC codes; no other layer uses protos."""
