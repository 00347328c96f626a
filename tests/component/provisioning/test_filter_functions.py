"""Where filter and goodness functions of back ends let volumes go."""

from __future__ import annotations

import pytest

from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ResourceExhausted
from csi_cinderlib.lifecycle.local import LocalBackend

from .conftest import NOTHING, Site


def start(site: Site, name: str, free: int, **options: str) -> None:
    given = {"nothing_capacity_gb": str(free), **options}
    settings = BackendSettings(name=name, driver=NOTHING, options=given, max_concurrent_calls=0)
    backend = LocalBackend(settings, store=site.store, runtime=site.runtime, owner="here")
    site.backends.add(backend)
    backend.start()


def test_a_volume_goes_where_the_filter_function_lets_it_in(empty_site: Site) -> None:
    start(empty_site, "large", 1000, filter_function="volume.size >= 10")
    start(empty_site, "small", 100)
    assert empty_site.create("little", gib=1).backend == "small"
    assert empty_site.create("much", gib=10).backend == "large"


def test_a_volume_that_no_filter_function_lets_in_is_refused_with_the_function(empty_site: Site) -> None:
    start(empty_site, "only", 1000, filter_function="volume.size >= 10")
    with pytest.raises(ResourceExhausted, match=r"excludes the volume: only/one; volume\.size >= 10$"):
        empty_site.create(gib=1)
    assert empty_site.create(gib=10).backend == "only"


def test_goodness_counts_before_free_space(empty_site: Site) -> None:
    start(empty_site, "roomy", 1000)
    start(empty_site, "good", 100, goodness_function="(volume.size < 5) ? 100 : 0")
    assert empty_site.create("little", gib=1).backend == "good"
    assert empty_site.create("much", gib=5).backend == "roomy"
