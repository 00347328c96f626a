"""A context variable has its value in the block only."""

from __future__ import annotations

from contextvars import ContextVar

import pytest

from csi_cinderlib.observe.context_values import Setting

_VARIABLE: ContextVar[str] = ContextVar("test_context_values", default="outside")


def test_blocks_nest_and_restore_the_value_of_the_outer_one() -> None:
    with Setting(_VARIABLE, "outer") as outer:
        assert (outer, _VARIABLE.get()) == ("outer", "outer")
        with Setting(_VARIABLE, "inner"):
            assert _VARIABLE.get() == "inner"
        assert _VARIABLE.get() == "outer"
    assert _VARIABLE.get() == "outside"


def test_an_error_restores_the_value_and_is_passed_on() -> None:
    with pytest.raises(ValueError, match="wrong"), Setting(_VARIABLE, "inner"):
        raise ValueError("wrong")
    assert _VARIABLE.get() == "outside"
