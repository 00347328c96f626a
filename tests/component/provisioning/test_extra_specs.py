import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_cinderlib.provisioning.extra_specs import unmet

REPORTED: dict[str, Any] = {
    "disk": "ssd",
    "multiattach": True,
    "thin": False,
    "speed": 100,
    "levels": ["gold", "silver"],
    "replication": {"mode": "async"},
}


@pytest.mark.parametrize(
    "specs",
    [
        {},
        {"disk": "ssd"},
        {"capabilities:disk": "ssd"},
        {"disk": "<or> tape <or> ssd"},
        {"disk": "<in> ss"},
        {"multiattach": "<is> True", "thin": "<is> False"},
        {"speed": ">= 50", "capabilities:speed": "= 100"},
        {"speed": "!= 50"},
        {"levels": "silver"},
        {"capabilities:replication:mode": "async"},
        {"netapp:dedup": "true"},
        {"disk": "s== ssd"},
    ],
)
def test_a_pool_meets_what_it_reports(specs: dict[str, str]) -> None:
    assert unmet(specs, REPORTED) == ""


@pytest.mark.parametrize(
    ("specs", "key"),
    [
        ({"disk": "tape"}, "disk"),
        ({"unheard": "of", "disk": "ssd"}, "unheard"),
        ({"multiattach": "<is> False"}, "multiattach"),
        ({"speed": "> 100"}, "speed"),
        ({"levels": "bronze"}, "levels"),
        ({"capabilities:replication:mode": "sync"}, "capabilities:replication:mode"),
        ({"disk": ">= 7"}, "disk"),
    ],
)
def test_the_key_that_a_pool_does_not_meet_is_named(specs: dict[str, str], key: str) -> None:
    assert unmet(specs, REPORTED) == key


OPERATORS = ["=", "<in>", "<is>", "==", "!=", ">=", "<=", "s==", "s!=", "s<", "s<=", "s>", "s>=", "<or>", ""]
WORDS = ["ssd", "tape", "True", "false", "100", "50", "gold", "async"]
SPEC = st.builds(lambda op, word: f"{op} {word}".strip(), st.sampled_from(OPERATORS), st.sampled_from(WORDS))


def cinders_match() -> Callable[[object, str], bool]:
    """Cinder's own comparison, without importing Cinder, which would patch this process."""
    package = importlib.util.find_spec("cinder")
    assert package is not None
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0]) / "scheduler/filters/extra_specs_ops.py"
    spec = importlib.util.spec_from_file_location("extra_specs_ops", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast(Callable[[object, str], bool], module.match)


MATCH = cinders_match()


@given(st.sampled_from(WORDS), SPEC)
def test_cinders_own_scheduler_agrees(reported: str, spec: str) -> None:
    assert (unmet({"key": spec}, {"key": reported}) == "") is MATCH(reported, spec)
