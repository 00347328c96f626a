"""Times as records keep them: UTC, ISO 8601 with microseconds and a trailing Z."""

from __future__ import annotations

from datetime import UTC, datetime

_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


def utc_now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_FORM)


def parse(text: str) -> datetime:
    """Raises ValueError."""
    return datetime.strptime(text, _FORM).replace(tzinfo=UTC)
