"""Times in records: UTC, ISO 8601 with microseconds and a trailing Z."""

from __future__ import annotations

from datetime import UTC, datetime

_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


def utc_now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_FORM)


def parse(text: str) -> datetime:
    """Raises ValueError."""
    moment = datetime.fromisoformat(text)  # `strptime` is fifty times slower, and each driver call needs this
    if moment.tzinfo is not UTC:
        raise ValueError(f"{text!r} is not in UTC")
    return moment
