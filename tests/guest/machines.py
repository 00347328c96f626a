"""The guests that tests run in: one boot each."""

from __future__ import annotations

from tests.guest.bed.fleet import Machine

MACHINES = {
    "bed": Machine(timeout=60),
}
