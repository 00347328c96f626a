"""Options: as Cinder reads them, and what is said about wrong ones."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from csi_cinderlib.cinder import conf
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.verbatim import Inherited, Verbatim
from tests.support.local_backends import MakeBackend


def read_back(value: object, option: Any) -> Any:
    """What oslo.config makes of a value that we give it."""
    from oslo_config import cfg

    sections = conf.Sections({"section": {"key": value}})
    parser = cfg.ConfigOpts()
    parser.register_opt(option, group="section")
    parser([], default_config_files=[str(sections.path)])
    conf.attach(parser, conf.Source([sections]))
    try:
        return parser.section.key
    finally:
        sections.close()


PRINTABLE = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" $%#;=:'\"[]\\"), min_size=1
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(password=PRINTABLE)
@example(password="\\$")
@example(password="a\\$b\\\\$$c\\")
def test_a_password_of_any_characters_arrives_as_it_is(runtime: Runtime, password: str) -> None:
    from oslo_config import cfg

    assert read_back(password, cfg.StrOpt("key")) == password


def test_lists_mappings_and_booleans_arrive(runtime: Runtime) -> None:
    from oslo_config import cfg, types

    assert read_back(["a", "b"], cfg.ListOpt("key")) == ["a", "b"]
    assert read_back({"a": "1", "b": "2"}, cfg.DictOpt("key")) == {"a": "1", "b": "2"}
    assert read_back(True, cfg.BoolOpt("key")) is True
    devices = [{"backend_id": "one", "san_ip": "1.2.3.4"}, {"backend_id": "two", "san_ip": "5.6.7.8"}]
    assert read_back(devices, cfg.MultiOpt("key", item_type=types.Dict())) == devices


def test_the_configuration_is_never_on_disk_and_goes_with_the_runtime(tmp_path: Path, runtime: Runtime) -> None:
    own = Runtime(tmp_path)
    directory = tmp_path / "cinder"
    directory.mkdir(0o700)
    (directory / "cinder.conf").write_text("as an earlier version left it")
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    own.start()
    section = own.add_section(BackendSettings(name="secret", driver="x.Y", options={"san_password": "canary"}))
    assert list(tmp_path.rglob("*.conf*")) == []
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    own.remove_section(section)
    own.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    own.close()


def test_several_back_ends_have_their_own_values(make: MakeBackend) -> None:
    one: Any = make("one", nothing_capacity_gb="1")
    two: Any = make("two", nothing_capacity_gb="2")
    assert one.driver.configuration.nothing_capacity_gb == "1"
    assert two.driver.configuration.nothing_capacity_gb == "2"
    assert two.driver.configuration.nothing_mode == "fast"


def test_two_runtimes_may_use_the_same_name(make: MakeBackend, tmp_path: Path) -> None:
    other = Runtime(tmp_path, host="elsewhere")
    one: Any = make("same", nothing_capacity_gb="1")
    two: Any = make("same", nothing_capacity_gb="2", runtime=other)
    assert (one.driver.configuration.nothing_capacity_gb, two.driver.configuration.nothing_capacity_gb) == ("1", "2")
    assert (one.driver.host, two.driver.host) == ("csi-cinderlib@same", "elsewhere@same")
    two.stop()
    other.close()


@pytest.mark.parametrize("names", [("Array", "array"), ("array", "Array", "ARRAY")])
def test_back_ends_whose_names_differ_in_case_only_have_their_own_values(
    make: MakeBackend, names: tuple[str, ...]
) -> None:
    made: list[Any] = [make(name, nothing_capacity_gb=str(number)) for number, name in enumerate(names, 1)]
    with_password: Any = make("aRRAY", nothing_password="canary")
    assert [one.driver.configuration.nothing_capacity_gb for one in made] == [
        str(number) for number in range(1, len(made) + 1)
    ]
    assert [one.driver.configuration.nothing_password for one in made] == [""] * len(made)
    assert with_password.driver.configuration.nothing_capacity_gb != "1"
    assert [one.driver.host for one in made] == [f"csi-cinderlib@{name}" for name in names]


@pytest.mark.parametrize(
    "name", ["Backend_Defaults", "backend_defaults", "Coordination", "oslo_concurrency", "DEFAULT"]
)
def test_a_back_end_named_as_a_section_of_cinders_keeps_its_options_to_itself(make: MakeBackend, name: str) -> None:
    from oslo_config import cfg

    locks = cfg.CONF.coordination.backend_url, cfg.CONF.oslo_concurrency.lock_path
    one: Any = make(name, nothing_password="canary")
    other: Any = make("other")
    assert one.driver.configuration.nothing_password == "canary"
    assert other.driver.configuration.nothing_password == ""
    assert (cfg.CONF.coordination.backend_url, cfg.CONF.oslo_concurrency.lock_path) == locks


def test_a_back_end_may_be_named_as_an_option_of_cinders(make: MakeBackend) -> None:
    from oslo_config import cfg

    assert make("my_ip").ready
    assert isinstance(cfg.CONF.my_ip, str)


def test_options_are_not_taken_from_the_environment(make: MakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables' names are in upper case: one would be read for several back ends."""
    monkeypatch.setenv("OS_ARRAY__NOTHING_CAPACITY_GB", "3")
    made: list[Any] = [make("array", nothing_capacity_gb="1"), make("Array")]
    given, default = [one.driver.configuration.nothing_capacity_gb for one in made]
    assert given == "1"
    assert default != "3"


def test_a_netapp_driver_is_not_given_the_options_of_a_name_that_differs_in_case_only(make: MakeBackend) -> None:
    make("filer")
    netapp = "cinder.volume.drivers.netapp.common.NetAppDriver"
    with pytest.raises(ConfigurationError, match="back end name that is unique in this process"):
        make("Filer", driver=netapp, netapp_storage_protocol="iscsi")


def test_an_unknown_option_is_named_with_its_back_end_and_what_was_meant(make: MakeBackend) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make("array", nothing_capcity_gb=3)
    assert caught.value.key == "backends.array.options.nothing_capcity_gb"
    assert "did you mean nothing_capacity_gb" in str(caught.value)


def test_values_of_a_cinder_conf_keep_their_meaning(make: MakeBackend) -> None:
    devices = [Verbatim("backend_id:a,k:1"), Verbatim("backend_id:b,k:2")]
    made: Any = make("array", nothing_journal=Verbatim("$state_path/journal"), replication_device=devices)
    assert made.driver.configuration.nothing_journal.endswith("/cinder/journal")
    assert made.driver.configuration.replication_device == [
        {"backend_id": "a", "k": "1"},
        {"backend_id": "b", "k": "2"},
    ]


def test_a_default_for_all_back_ends_goes_past_a_driver_that_has_no_such_option(make: MakeBackend) -> None:
    assert make("array", rbd_pool=Inherited("volumes")).ready


def test_an_option_of_another_driver_is_not_taken(make: MakeBackend) -> None:
    with pytest.raises(
        ConfigurationError, match=r"backends\.array\.options\.rbd_pool: is not an option of this driver"
    ):
        make("array", rbd_pool="volumes")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("nothing_port", 99999, "at most 65535"),
        ("nothing_port", "many", "port"),
        ("nothing_mode", "medium", "one of fast, slow"),
        ("nothing_delay", -1, "at least 0"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_would(
    make: MakeBackend, option: str, value: object, words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make("array", **{option: value})
    assert caught.value.key == f"backends.array.options.{option}"
    assert words in str(caught.value)
    assert "cinder.conf" not in str(caught.value)


def test_options_of_the_base_class_and_of_the_manager_are_known(make: MakeBackend) -> None:
    made: Any = make(report_discard_supported=True, suppress_requests_ssl_warnings=True, san_ip="1.2.3.4", start=False)
    with pytest.raises(ConfigurationError, match="san_ip"):
        made.start()
    assert make("right", report_discard_supported=True, suppress_requests_ssl_warnings=True).ready


def test_a_failed_start_can_be_corrected_by_a_new_back_end_of_the_same_name(make: MakeBackend) -> None:
    with pytest.raises(ConfigurationError):
        make("array", nonsense=1)
    assert make("array").ready


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        ("tests.support.fakes.nothing.NoSuchDriver", "there is no driver"),
        ("tests.support.fakes.nowhere.Driver", "there is no driver"),
        ("NothingDriver", "there is no driver 'NothingDriver'"),
    ],
)
def test_a_driver_that_does_not_exist_is_named(make: MakeBackend, driver: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make("array", driver=driver)
    assert caught.value.key == "backends.array.driver"
    assert words in str(caught.value)


def test_a_driver_that_cinder_gave_up_wants_an_express_permission(make: MakeBackend) -> None:
    unsupported = "tests.support.fakes.legacy.UnsupportedDriver"
    with pytest.raises(ConfigurationError, match="enable_unsupported_driver"):
        make("old", driver=unsupported)
    assert make("old", driver=unsupported, enable_unsupported_driver=True).ready


def test_a_real_driver_without_its_library_says_what_to_install(make: MakeBackend) -> None:
    with pytest.raises(ConfigurationError, match="pip install py-pure-client"):
        make("pure", driver="cinder.volume.drivers.pure.PureISCSIDriver", san_ip="127.0.0.1", pure_api_token="x")
