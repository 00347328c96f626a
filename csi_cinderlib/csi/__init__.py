"""The gRPC edge: protos come in, dataclasses go down, errors become codes, once. Protos live here and nowhere below."""
