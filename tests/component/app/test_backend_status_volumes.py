"""The number of volumes in the status of a back end."""

from __future__ import annotations

from csi_cinderlib.app.backend_status import COUNT_SECONDS, REFRESH_SECONDS
from csi_cinderlib.app.backend_views import View
from csi_cinderlib.app.emptiness import Remains
from csi_cinderlib.model.records import Volume
from csi_cinderlib.model.size import GiB
from tests.component.app.test_backend_status import GOOD, Site, site

__all__ = ["site"]


def test_the_number_of_volumes_is_shown_also_while_one_arrives_at_a_drained_back_end(site: Site) -> None:
    site.store.add(Volume(id="v", backend="array", size=GiB(1)))
    site.view = View(remains=Remains(is_open=True))
    site.look("c1", GOOD)
    assert site.shelf.status()["volumes"] == 1


def test_volumes_are_counted_now_and_then_only(site: Site) -> None:
    site.look("c1", GOOD)
    site.store.add(Volume(id="v", backend="array", size=GiB(1)))
    site.pass_time(COUNT_SECONDS - REFRESH_SECONDS, c1=GOOD)
    assert site.shelf.status()["volumes"] == 0
    site.pass_time(2 * REFRESH_SECONDS, c1=GOOD)
    assert site.shelf.status()["volumes"] == 1
