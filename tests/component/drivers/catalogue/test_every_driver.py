"""Every driver of Cinder 29 loads, tells its options, and fails at set-up only for what is missing, which it names.

The table of all of them is printed at the end of the run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping

import pytest

from csi_cinderlib.backend import catalogue, libraries
from tests.component.drivers.catalogue.conftest import Once
from tests.component.drivers.catalogue.walk import Tried, walk
from tests.support import tables
from tests.support.registered import registered

pytestmark = pytest.mark.timeout(1200)  # all drivers twice, after another worker that may be at the same
KNOWN = catalogue.load()
PATHS = [driver.path for driver in KNOWN.drivers]
FROM_CINDER = [driver for driver in KNOWN.drivers if driver.path.startswith("cinder.")]
FRONT_DOOR = "cinder.volume.drivers.netapp.common.NetAppDriver"

CONNECTION = re.compile(
    r"127\.0\.0\.1|connection refused|unable to connect|connect to|connecting via ssh|failed to communicate|http client"
    r"|server error|API failed|retry count exceeded|no mounted NFS shares|no GPFS node|from any API server|Volume group .* not found",
    re.IGNORECASE,
)
TOOL = re.compile(
    r"no such file or directory: '|config file at \S+ doesn't exist|is not installed|NotFound: .* mount", re.IGNORECASE
)
UNCLEAR: Mapping[str, str] = {
    "InfortrendCLIFCDriver": "talks to a Java program through a terminal, and tells only that this ended",
    "InfortrendCLIISCSIDriver": "the same",
    "DPLFCDriver": "takes the array's silence for success; its report is empty then (not supported by Cinder)",
    "DPLISCSIDriver": "the same",
    "KumoScaleBaseVolumeDriver": "calls every failure of its array's API an authentication error",
}
"""Drivers whose own message does not say what is missing."""


@pytest.fixture(scope="module")
def tried(request: pytest.FixtureRequest, once: Once) -> dict[str, Tried]:
    found = once("walk", lambda: walk(PATHS))
    rows = [(driver, found[driver.path]) for driver in KNOWN.drivers]
    lines = [
        f"{driver.module + '.' + driver.name:<66} {len(driver.options):>3} options  {result.example[0]:<19} "
        f"{textwrap.shorten(result.example[1].rpartition('set-up failed: ')[2], 90, placeholder=' ...')}"
        for driver, result in rows
    ]
    tables.add(request.config, f"{len(rows)} drivers, set up with the options of their examples", lines)
    return found


def named(driver: catalogue.Driver, message: str) -> str:
    """What a message says is missing: "library", "option", "tool" or "connection"; "" when it says nothing."""
    if any(library.advice in message for library in libraries.missing(driver.path)):
        return "library"
    words = set(re.findall(r"\w+", message))
    if CONNECTION.search(message):
        return "connection"
    if TOOL.search(message):
        return "tool"
    return "option" if words & {option.name for option in (*driver.options, *KNOWN.common)} else ""


def test_the_catalogue_has_every_driver_of_cinder() -> None:
    assert len([driver for driver in FROM_CINDER if driver.path != FRONT_DOOR]) == 101
    bases = {path for path in registered() if path not in PATHS}
    assert {path.rpartition(".")[2] for path in bases} == {"DataCoreVolumeDriver", "PowerFlexBaseDriver"}
    assert len({driver.slug for driver in KNOWN.drivers}) == len(KNOWN.drivers) == 103
    assert sum(driver.supported for driver in FROM_CINDER if driver.path != FRONT_DOOR) == 90


@pytest.mark.parametrize("driver", KNOWN.drivers, ids=lambda driver: driver.slug)
def test_a_driver_tells_its_options(driver: catalogue.Driver) -> None:
    assert driver.options, driver.path
    assert driver.summary or driver.name
    for option in driver.options:
        assert option.help, option
        assert option.type, option
        assert not option.choices or option.default in (None, "", *option.choices) or option.multiple, option
        if re.search(r"password$|_token$|_secret$|private_key$", option.name) and option.type == "text":
            assert option.secret, option


@pytest.mark.parametrize("driver", KNOWN.drivers, ids=lambda driver: driver.slug)
def test_the_example_holds_options_of_the_driver_only(driver: catalogue.Driver) -> None:
    known = {option.name: option for option in (*driver.options, *KNOWN.common)}
    assert driver.example()
    assert set(driver.example()) <= {*known, "enable_unsupported_driver"}
    plain = [
        name
        for name, value in driver.example().items()
        if isinstance(value, str) and name in known and known[name].secret
    ]
    assert [name for name in plain if not name.endswith(("_file", "_path", "_key"))] == []


def test_every_driver_is_set_up_or_names_what_is_missing(tried: dict[str, Tried]) -> None:
    wrong = {}
    for driver in KNOWN.drivers:
        kind, message = tried[driver.path].example
        if kind == "ready" or driver.name in UNCLEAR:
            continue
        if kind not in ("ConfigurationError", "BackendUnavailable") or not named(driver, message):
            wrong[driver.path] = f"{kind}: {message}"
    assert wrong == {}


def test_without_options_a_driver_names_what_it_needs(tried: dict[str, Tried]) -> None:
    wrong = {}
    for driver in KNOWN.drivers:
        kind, message = tried[driver.path].bare
        if kind == "ready" or driver.name in UNCLEAR:
            continue
        hint = "private_key" in message or "No host supplied" in message or "AccessKey" in message
        if kind not in ("ConfigurationError", "BackendUnavailable") or not (named(driver, message) or hint):
            wrong[driver.path] = f"{kind}: {message}"
    assert wrong == {}


def test_every_option_of_an_example_has_a_value_that_fits(tried: dict[str, Tried]) -> None:
    refused = {
        path: outcome.example[1]
        for path, outcome in tried.items()
        if re.search("is not an option|invalid value", outcome.example[1])
    }
    assert refused == {}


def test_no_driver_asks_the_database_for_what_is_not_served(tried: dict[str, Tried]) -> None:
    assert {path: outcome.refused for path, outcome in tried.items() if outcome.refused} == {}


def test_stand_ins_change_nothing_of_what_comes_of_a_driver(tried: dict[str, Tried]) -> None:
    """The same walk with the real eventlet and Cinder's own modules instead of the stand-ins."""
    stock = walk(PATHS, "stock")
    differing = {
        path: (outcome.bare, stock[path].bare, outcome.example, stock[path].example)
        for path, outcome in tried.items()
        if (_told(outcome.bare), _told(outcome.example)) != (_told(stock[path].bare), _told(stock[path].example))
    }
    assert differing == {}


def _told(outcome: tuple[str, str]) -> tuple[str, str]:
    """Without what differs from one run to the next: addresses in memory, temporary directories, order of options in a set."""
    return outcome[0], re.sub(r"0x[0-9a-f]+|/tmp/\w+|[0-9a-f-]{36}", "*", outcome[1])


def test_the_catalogue_is_that_of_the_cinder_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "csi_cinderlib.cinder.inspection"],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    assert done.stdout == catalogue.FILE.read_text(), "run `make docs`"
