"""Promise 42: what a driver gets is what was written, or an error that names the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from oslo_config import cfg, types

from csi_cinderlib.backend import catalogue
from csi_cinderlib.cinder import conf
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.config import cinder_conf
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.verbatim import Verbatim
from tests.support.local_backends import MakeBackend

ANY_TEXT = st.text(st.characters(codec="utf-8"))


def read_back(value: object, option: Any) -> Any:
    """What a driver gets that reads this option."""
    sections = conf.Sections({"section": {"key": value}})
    parser = cfg.ConfigOpts()
    parser.register_opt(option, group="section")
    parser([], default_config_files=[str(sections.path)])
    conf.attach(parser, conf.Source([sections]))
    try:
        return parser.section.key
    finally:
        sections.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=ANY_TEXT)
@example(text="Str0ng$Passw0rd")
@example(text="$$ ${san_ip} $san_ip \\$ \\\\$$")
@example(text=' "padded" ')
@example(text="first\n\n[section]\nkey = other")
def test_any_text_arrives_as_it_is(runtime: Runtime, text: str) -> None:
    assert read_back(text, cfg.StrOpt("key")) == text
    assert read_back([text, text], cfg.ListOpt("key")) == [text, text]
    assert read_back([text], cfg.MultiStrOpt("key")) == [text]
    assert read_back(text, cfg.MultiStrOpt("key")) == [text]
    assert read_back({text: text}, cfg.DictOpt("key")) == {text: text}
    assert read_back([{"san_password": text}], cfg.MultiOpt("key", item_type=types.Dict())) == [{"san_password": text}]


@pytest.mark.parametrize(
    ("option", "value", "read"),
    [
        (cfg.IntOpt("key", min=1, max=100), "012", 12),
        (cfg.IntOpt("key"), 12, 12),
        (cfg.IntOpt("key"), " 7\n", 7),
        (cfg.FloatOpt("key"), "5.50", 5.5),
        (cfg.FloatOpt("key"), 5.5, 5.5),
        (cfg.BoolOpt("key"), "Yes", True),
        (cfg.BoolOpt("key"), "off\n", False),
        (cfg.BoolOpt("key"), True, True),
        (cfg.StrOpt("key"), True, "true"),
        (cfg.StrOpt("key"), "012345", "012345"),
        (cfg.StrOpt("key"), "", ""),
        (cfg.StrOpt("key", choices=["Fast", "Slow"], ignore_case=True), "fast", "fast"),
        (cfg.StrOpt("key", regex="^a+$"), "aaa", "aaa"),
        (cfg.PortOpt("key"), "8443", 8443),
        (cfg.IPOpt("key"), "2001:db8::1", "2001:db8::1"),
        (cfg.HostAddressOpt("key"), "array.example.com", "array.example.com"),
        (cfg.HostnameOpt("key"), "array", "array"),
        (cfg.URIOpt("key"), "https://u:p@array:8443/x?y=1,2", "https://u:p@array:8443/x?y=1,2"),
        (cfg.ListOpt("key"), "a, b ,c", ["a", "b", "c"]),
        (cfg.ListOpt("key"), [], []),
        (cfg.ListOpt("key"), ["Disk pool 1, fast", " b "], ["Disk pool 1, fast", " b "]),
        (cfg.ListOpt("key", item_type=types.Integer()), ["1", 2], [1, 2]),
        (cfg.ListOpt("key", bounds=True), "[a, b]", ["a", "b"]),
        (cfg.ListOpt("key", bounds=True), ["a", "b"], ["a", "b"]),
        (cfg.DictOpt("key"), "a:1,b:2", {"a": "1", "b": "2"}),
        (cfg.DictOpt("key"), {"a": 1, "b": True}, {"a": "1", "b": "true"}),
        (cfg.Opt("key", type=types.Dict(value_type=types.Integer())), {"a": "1"}, {"a": 1}),
        (cfg.MultiOpt("key", item_type=types.Dict()), {"a": "1"}, [{"a": "1"}]),
        (cfg.MultiOpt("key", item_type=types.Dict()), ["a:1,b:2", {"c": "x,y:z"}], [{"a": "1", "b": "2"}, {"c": "x,y:z"}]),
        (cfg.MultiOpt("key", item_type=types.IPAddress()), ["192.0.2.1"], ["192.0.2.1"]),
        (cfg.Opt("key", type=str.upper), "a", "A"),  # type: ignore[arg-type]  # oslo takes any function
        (cfg.StrOpt("key", sample_default="sample"), None, None),
        (cfg.StrOpt("key", default="normal"), None, "normal"),
        (cfg.StrOpt("new", dest="key", deprecated_name="old"), "x", "x"),
    ],
)  # fmt: skip
def test_each_type_of_option(runtime: Runtime, option: Any, value: object, read: object) -> None:
    assert read_back(value, option) == read


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        (cfg.StrOpt("key"), ["a", "b"], "must be a single value, not a list"),
        (cfg.StrOpt("key"), {"a": "1"}, "not be a mapping"),
        (cfg.ListOpt("key"), {"a": "1"}, "not be a mapping"),
        (cfg.ListOpt("key"), [["a"]], "item 1 must be text"),
        (cfg.ListOpt("key"), ["a", None], "item 2 must not be null"),
        (cfg.StrOpt("key"), b"bytes", "^must be text"),
        (cfg.ListOpt("key"), {"a", "b"}, "^must be text"),
        (cfg.DictOpt("key"), ["a"], "must be a single value, not a list"),
        (cfg.DictOpt("key"), {"a": ["b"]}, "a must be text"),
        (cfg.DictOpt("key"), "a", "NAME:VALUE"),
        (cfg.IntOpt("key"), "0x10", "invalid literal"),
        (cfg.IntOpt("key", max=9), "10", "less than or equal to 9"),
        (cfg.BoolOpt("key"), "maybe", "boolean"),
        (cfg.StrOpt("key", choices=["a"]), "b", "Valid values are"),
        (cfg.PortOpt("key"), "65536", "65535"),
        (cfg.IPOpt("key"), "array", "IP"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(runtime: Runtime, option: Any, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_back(value, option)


def test_every_type_of_option_in_the_catalogue_is_tested() -> None:
    known = catalogue.load()
    tested = {
        "text", "whole number", "number", "true or false", "list", "list in brackets", "mapping", "choice", "port", "address", "URL",
    }  # fmt: skip
    assert {option.type for driver in known.drivers for option in (*driver.options, *known.common)} == tested


CONF = r"""
[DEFAULT]
enabled_backends = one
my_ip = 192.0.2.5
[one]
volume_driver = x.Y
plain = value
quoted = "  two blanks "
dollars = a$$b\$c$my_ip-${one.plain}
colon: value = with equals
pools = a, "b, c" ,d
long = first
  second
    third
several = x:1
several = y:2,z:3
"""
TEXTS = ("plain", "quoted", "dollars", "colon", "long")


def test_values_of_a_cinder_conf_are_what_oslo_config_reads(runtime: Runtime, tmp_path: Path) -> None:
    file = tmp_path / "cinder.conf"
    file.write_text(CONF)
    read = cinder_conf.read(file)
    sections = conf.Sections({"DEFAULT": {"my_ip": Verbatim("192.0.2.5")}, "one": read.backends[0].options})
    ours, theirs = cfg.ConfigOpts(), cfg.ConfigOpts()
    for parser, path in ((ours, sections.path), (theirs, file)):
        parser.register_opts([cfg.StrOpt("my_ip")])
        parser.register_opts([*map(cfg.StrOpt, TEXTS), cfg.ListOpt("pools")], group="one")
        parser.register_opt(cfg.MultiOpt("several", item_type=types.Dict()), group="one")
        parser([], default_config_files=[str(path)])
    conf.attach(ours, conf.Source([sections]))
    for name in (*TEXTS, "pools", "several"):
        assert getattr(ours.one, name) == getattr(theirs.one, name), name
    assert theirs.one.long == "first\nsecond\nthird"
    sections.close()


def test_a_value_of_several_lines_leaves_other_back_ends_alone(make: MakeBackend) -> None:
    key = "-----BEGIN KEY-----\n\nabc\n\n-----END KEY-----\n"
    one: Any = make("one", nothing_password=key)
    two: Any = make("two", nothing_capacity_gb="2")
    assert one.driver.configuration.nothing_password == key
    assert two.driver.configuration.nothing_capacity_gb == "2"


def test_a_reference_to_nothing_is_named_with_the_way_to_write_a_dollar_sign(make: MakeBackend) -> None:
    with pytest.raises(
        ConfigurationError, match=r"nothing_error: refers to the unknown option \$Passw0rd.*\$\$"
    ) as caught:
        make("array", nothing_error=Verbatim("Str0ng$Passw0rd"))
    assert "Str0ng" not in str(caught.value)


def test_a_name_with_dashes_is_the_same_option(make: MakeBackend) -> None:
    made: Any = make("array", **{"nothing-capacity-gb": "7"})
    assert made.driver.configuration.nothing_capacity_gb == "7"
    with pytest.raises(ConfigurationError, match=r"is another name of option nothing.capacity.gb, which is also set"):
        make("twice", **{"nothing-capacity-gb": "7", "nothing_capacity_gb": "7"})


def test_no_value_is_in_a_file(runtime: Runtime) -> None:
    settings = BackendSettings(
        name="secret", driver="x.Y", options={"san_password": "canary", "nothing": Verbatim("canary")}
    )
    section = runtime.add_section(settings)
    try:
        files = [Path(path).read_text() for path in cfg.CONF.default_config_files]
        assert any("[secret]" in text for text in files)
        assert "canary" not in "".join(files)
        assert "secret" in cfg.CONF.list_all_sections()  # some drivers look for their section so
    finally:
        runtime.remove_section(section)


def test_the_path_of_a_private_key_is_no_secret(runtime: Runtime) -> None:
    from cinder.volume.drivers.san import san

    options = {"san_private_key": "/run/secrets/key", "san_password": "canary"}
    section = runtime.add_section(BackendSettings(name="ssh", driver="x.Y", options=options))
    try:
        cfg.CONF.register_opts(san.san_opts, group=section)
        assert set(conf.secrets_of(section)) == {"canary"}
    finally:
        runtime.remove_section(section)


def test_a_driver_reads_an_option_that_has_a_former_name_by_either(runtime: Runtime) -> None:
    option = cfg.StrOpt("key", deprecated_opts=[cfg.DeprecatedOpt("old-key")])
    for name in ("key", "old_key"):
        sections = conf.Sections({"section": {name: "x"}})
        value, _ = conf.Source([sections]).get("section", "key", option)
        assert value == "x"
        sections.close()
