"""Less output on standard error."""

from __future__ import annotations

import logging
import warnings

_QUIET = ("cinder", "os_brick", "csi_cinderlib", "oslo_config", "oslo_privsep", "oslo_concurrency", "oslo_service")


def hush(requests: bool, logs: bool, ids: bool) -> None:
    """Suppress output on standard error. A program that configures logging or warnings still gets it.

    Args:
        requests: warnings about unverified certificates.
        logs: what Cinder and os-brick log.
        ids: warnings about ids that are not UUIDs.
    """
    if requests:
        warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    if ids:
        warnings.filterwarnings("ignore", message=".*is an invalid UUID")
    for name in _QUIET if logs else ():
        logger = logging.getLogger(name)
        if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            logger.addHandler(logging.NullHandler())
