"""What `setup` and `Backend` take."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import errors
from csi_cinderlib.cinderlib import Library, exception, state
from csi_cinderlib.model import records
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.sealing import generate_key
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING, storage


def opened(config: Any, **named: Any) -> str:
    library = Library(persistence_config=config, **named)
    try:
        return type(library.store.current).__name__
    finally:
        library.close()


@pytest.mark.parametrize("name", ["memory", "memory_db", "stateless"])
def test_a_store_is_named(name: str) -> None:
    assert opened({"storage": name}) in ("MemoryStore", "StatelessStore")


def test_the_default_is_memory() -> None:
    assert opened(None) == opened({}) == opened({"storage": None}) == "MemoryStore"


def test_a_database_is_named_by_its_url_with_cinderlibs_options(tmp_path: Path) -> None:
    url = f"sqlite+pysqlite:///{tmp_path / 'a.db'}"
    assert opened({"storage": "db", "connection": url, "sqlite_synchronous": False, "soft_deletes": True}) == "SqlStore"
    assert (tmp_path / "a.db").exists()
    assert opened({"storage": "sql", "url": f"sqlite:///{tmp_path / 'b.db'}"}) == "SqlStore"
    assert opened({"storage": "sql"}, state_dir=tmp_path) == "SqlStore"
    assert (tmp_path / "metadata.db").exists()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite://"])
def test_a_database_without_a_file_is_memory(url: str) -> None:
    assert opened({"storage": "db", "connection": url, "soft_deletes": True}) == "MemoryStore"
    with pytest.raises(errors.ConfigurationError, match="colour"):
        opened({"storage": "db", "connection": url, "colour": "red"})


@pytest.mark.parametrize("name", ["db", "sql", "memory", "memory_db"])
def test_credentials_are_sealed_with_the_keys_that_are_given(name: str, tmp_path: Path) -> None:
    places = {"db": {"connection": f"sqlite:///{tmp_path / 'a.db'}"}, "sql": {"url": f"sqlite:///{tmp_path / 'a.db'}"}}
    place = {"storage": name, **places.get(name, {})}
    keys = [{"id": "new", "key": generate_key()}, {"id": "old", "key": generate_key()}]
    library = Library(persistence_config={**place, "sealing_keys": keys})
    volume = library.backend("fake", volume_driver=NOTHING).create_volume(1)
    volume.connect(CONNECTOR)
    assert library.volume(volume.id).provider_auth == "CHAP nobody secret"
    library.close()
    if name in places:
        assert b"CHAP nobody secret" not in (tmp_path / "a.db").read_bytes()
        again = Library(persistence_config={**place, "sealing_keys": [keys[1], keys[0]]})
        assert again.store.get(records.Volume, volume.id).provider.auth == "CHAP nobody secret"
        again.close()
        with_none = Library(persistence_config=place)
        with pytest.raises(errors.CorruptRecord):
            with_none.store.get(records.Volume, volume.id)
        with_none.close()


def test_kubernetes_takes_keys_too(tmp_path: Path) -> None:
    """It is refused without a key; with one the API server is asked, of which there is none."""
    path = tmp_path / "kubeconfig"
    known = {
        "name": "x",
        "cluster": {"server": "http://127.0.0.1:1"},
        "context": {"cluster": "x", "user": "x"},
        "user": {},
    }
    path.write_text(json.dumps({"current-context": "x", **{key: [known] for key in ("clusters", "contexts", "users")}}))
    place = {"storage": "kubernetes", "kubeconfig": str(path), "namespace": "default"}
    with pytest.raises(errors.ConfigurationError, match="sealing_keys: must contain a key"):
        opened(place)
    with pytest.raises(errors.StoreUnavailable):
        opened({**place, "sealing_keys": [{"id": "k", "key": generate_key()}]})


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("secret", "persistence_config.sealing_keys: must be a list, not text"),
        ([{"id": "k"}], r"persistence_config\.sealing_keys\[0\]\.key: is missing"),
        ([{"id": "k", "key": "short"}], "32 bytes"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(keys: Any, problem: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=problem) as refused:
        opened({"storage": "memory", "sealing_keys": keys})
    assert "secret" not in str(refused.value)


def test_a_store_is_given_as_a_class_or_an_instance() -> None:
    assert opened({"storage": MemoryStore}) == "MemoryStore"
    store = MemoryStore()
    library = Library(persistence_config={"storage": store})
    assert library.store.current is store
    library.close()


@pytest.mark.parametrize("storage", ["nothing-like-it", 7, dict])
def test_what_is_no_store_is_refused(storage: Any) -> None:
    with pytest.raises(exception.InvalidPersistence, match="Invalid persistence storage"):
        opened({"storage": storage})


def test_a_database_without_an_address_is_refused() -> None:
    with pytest.raises(errors.ConfigurationError, match=r"persistence_config\.connection: must be set"):
        opened({"storage": "db"})
    with pytest.raises(errors.ConfigurationError, match=r"persistence_config\.url: is missing"):
        opened({"storage": "sql"})
    with pytest.raises(errors.ConfigurationError, match="colour"):
        opened({"storage": "db", "connection": "sqlite:////tmp/x", "colour": "red"})


def test_an_option_may_refer_to_another_one_and_a_dollar_in_a_password_stays(library: Library) -> None:
    library.cinder_options["my_ip"] = "192.0.2.9"
    backend = library.backend(
        "fake",
        volume_driver=NOTHING,
        nothing_error="$my_ip and ${nothing_mode}",
        nothing_mode="slow",
        nothing_password="a$b$$c",
    )
    assert backend.configuration.nothing_error == "192.0.2.9 and slow"
    assert backend.configuration.nothing_password == "a$b$$c"


def test_a_wrong_option_a_wrong_value_and_a_wrong_driver_are_named(library: Library) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"nothing_prt: is not an option.*did you mean nothing_port"):
        library.backend("a", volume_driver=NOTHING, nothing_prt=1)
    with pytest.raises(errors.ConfigurationError, match="nothing_port: invalid value"):
        library.backend("a", volume_driver=NOTHING, nothing_port="many")
    with pytest.raises(errors.ConfigurationError, match=r"there is no driver 'cinder\.volume\.drivers\.none\.None'"):
        library.backend("a", volume_driver="cinder.volume.drivers.none.None")
    assert library.backends == {}


def test_back_ends_whose_names_differ_in_case_only_are_apart(library: Library) -> None:
    secret = library.backend("Array", volume_driver=NOTHING, nothing_password="tr0ub4dor-and-3")
    other = library.backend("array", volume_driver=NOTHING)
    assert (secret.configuration.nothing_password, other.configuration.nothing_password) == ("tr0ub4dor-and-3", "")
    made = [backend.create_volume(1) for backend in (secret, other)]
    assert [[volume.id for volume in backend.volumes_filtered()] for backend in (secret, other)] == [
        [volume.id] for volume in made
    ]


def test_a_failed_back_end_can_be_tried_again(library: Library) -> None:
    with pytest.raises(errors.BackendUnavailable, match="the array says no"):
        library.backend("a", volume_driver=NOTHING, nothing_fail="check_for_setup_error")
    assert library.backend("a", volume_driver=NOTHING).id == "a"


def test_setting_up_one_back_end_holds_up_no_other(library: Library, tmp_path: Path) -> None:
    volume = library.backend("quick", volume_driver=NOTHING).create_volume(1)
    made: list[str] = []
    (held := tmp_path / "held").touch()

    def set_up() -> None:
        made.append(library.backend("slow", volume_driver=NOTHING, nothing_held=str(held)).id)

    slow, again = threading.Thread(target=set_up), threading.Thread(target=set_up)
    slow.start()
    again.start()
    wait_until_begun(library, "slow")
    volume.extend(2)
    library.backend("other", volume_driver=NOTHING).create_volume(1).delete()
    assert set(library.backends) == {"quick", "other"}, "slow is being set up all the while"
    held.unlink()
    slow.join()
    again.join()
    assert made == ["slow", "slow"]
    assert set(library.backends) == {"quick", "other", "slow"}


def wait_until_begun(library: Library, name: str) -> None:
    """Until another thread has begun to set that back end up."""
    deadline = time.monotonic() + 60
    while name not in library._set_ups or is_free(library._set_ups[name]):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_free(lock: threading.RLock) -> bool:
    if lock.acquire(blocking=False):
        lock.release()
        return True
    return False


def test_the_end_waits_for_a_set_up_under_way(tmp_path: Path) -> None:
    library = Library()
    (held := tmp_path / "held").touch()
    options = {"volume_driver": NOTHING, "nothing_held": str(held)}
    slow = threading.Thread(target=library.backend, args=("slow",), kwargs=options)
    slow.start()
    wait_until_begun(library, "slow")
    end = threading.Thread(target=library.close)
    end.start()
    end.join(0.1)
    assert end.is_alive()
    held.unlink()
    end.join()
    slow.join()
    assert library.backends == {}


@pytest.mark.parametrize("wanted", [False, True])
def test_a_set_up_exports_again_only_when_it_is_asked_to(tmp_path: Path, wanted: bool) -> None:
    first = Library(persistence_config=storage("db", tmp_path))
    backend = first.backend("fake", volume_driver=NOTHING)
    for _ in range(3):
        backend.create_volume(1).connect(CONNECTOR)
    first.close()
    again = Library(persistence_config=storage("db", tmp_path), ensure_exports=wanted)
    assert again.backend("fake", volume_driver=NOTHING).driver.calls["ensure_export"] == (3 if wanted else 0)
    again.close()


def test_nothing_is_printed_and_no_log_is_switched_off(tmp_path: Path) -> None:
    code = f"""
import logging, sys
import csi_cinderlib.cinderlib as cl
cl.setup()
backend = cl.Backend("x", volume_driver={NOTHING!r})
from cinder.volume import driver
driver.LOG.error("nobody listens")
mine = logging.getLogger("mine")
assert not mine.disabled and not logging.getLogger("cinder").disabled and logging.root.level == logging.WARNING
logging.basicConfig(stream=sys.stdout, format="%(name)s %(message)s")
driver.LOG.error("somebody listens")
cl.close()
"""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240, cwd=root
    )
    assert (done.stdout, done.stderr) == ("cinder.volume.driver somebody listens\n", "")


def test_connector_properties_are_plain_values() -> None:
    from csi_cinderlib.cinderlib import get_connector_properties

    found = get_connector_properties("sudo", "192.0.2.1", True, True, host="me")
    assert json.loads(json.dumps(found)) == found
    assert (found["host"], found["ip"], found["multipath"], found["enforce_multipath"]) == (
        "me",
        "192.0.2.1",
        True,
        True,
    )


def test_loggers_of_the_library_have_no_handler_that_writes(library: Library) -> None:
    assert all(isinstance(one, logging.NullHandler) for one in logging.getLogger("cinder").handlers)


def test_locks_lie_where_the_set_up_says_and_nothing_stays_behind(tmp_path: Path) -> None:
    """A clone takes the lock of its source. In a process of its own, because a process has one set of locks."""
    code = f"""
import csi_cinderlib.cinderlib as cl, os, tempfile
for path in ({str(tmp_path / "a")!r}, {str(tmp_path / "b")!r}, None):
    cl.setup(file_locks_path=path)
    cl.Backend("x", volume_driver={NOTHING!r}).create_volume(1).clone()
    cl.close()
print(len(os.listdir({str(tmp_path / "a")!r})), len(os.listdir({str(tmp_path / "b")!r})))
"""
    root, temporary = Path(__file__).parents[3], tmp_path / "temporary"
    temporary.mkdir()
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(temporary), state.VARIABLE: str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240, cwd=root, env=environment
    )
    assert min(int(count) for count in done.stdout.split()) > 0
    assert list(temporary.iterdir()) == []
