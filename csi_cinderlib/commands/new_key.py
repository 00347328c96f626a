"""`csi-cinderlib new-key`: a key that seals secrets, for `sealing_keys` of the configuration."""

from __future__ import annotations

import argparse
import base64
import secrets


def arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(_args: argparse.Namespace) -> int:
    """Print 32 random bytes in the form that Fernet takes."""
    print(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    return 0
