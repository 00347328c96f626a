"""Sections of an existing cinder.conf, as they are."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.config import cinder_conf
from csi_cinderlib.config.load import load
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.verbatim import Inherited, Referenced, Verbatim

CONF = """
# as an operator has it
[DEFAULT]
enabled_backends = lvm, nfs
debug = true

[backend_defaults]
image_volume_cache_enabled = True

[lvm]
volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
volume_group = fast
target_helper: lioadm

[nfs]
volume_driver = cinder.volume.drivers.nfs.NfsDriver
nfs_mount_options = vers=4.1,
    nolock
extra = one
extra = two
image_volume_cache_enabled = False

[unused]
volume_driver = x.Y
"""


def read(tmp_path: Path, text: str, yaml: str = "cinder_conf: cinder.conf") -> Settings:
    (tmp_path / "cinder.conf").write_text(text)
    (tmp_path / "config.yaml").write_text(yaml)
    return load([tmp_path / "config.yaml"], environment={})


def test_the_enabled_back_ends_are_read_in_their_order(tmp_path: Path) -> None:
    lvm, nfs = read(tmp_path, CONF).backends
    assert (lvm.name, lvm.driver) == ("lvm", "cinder.volume.drivers.lvm.LVMVolumeDriver")
    assert lvm.options == {"image_volume_cache_enabled": "True", "volume_group": "fast", "target_helper": "lioadm"}
    assert nfs.name == "nfs"


def test_lines_that_continue_and_keys_that_repeat_are_kept(tmp_path: Path) -> None:
    nfs = read(tmp_path, CONF).backends[1]
    assert nfs.options["nfs_mount_options"] == "vers=4.1,\nnolock"
    assert nfs.options["extra"] == ["one", "two"]
    assert nfs.options["image_volume_cache_enabled"] == "False"


def test_the_other_options_of_default_come_along_and_those_that_are_referred_to_are_marked(tmp_path: Path) -> None:
    text = (
        "[DEFAULT]\nenabled_backends = a\nmy_ip = 192.0.2.55\nsite = paris\nfloor = 3\nplain = $$price\nprice = 5\n"
        "[backend_defaults]\nx = $floor\n[a]\nvolume_driver = x.Y\ny = ${site} and $my_ip\n[unused]\nz = $plain\n"
    )
    defaults = read(tmp_path, text).cinder_defaults
    assert defaults == {"my_ip": "192.0.2.55", "site": "paris", "floor": "3", "plain": "$$price", "price": "5"}
    referenced = {name for name, value in defaults.items() if isinstance(value, Referenced)}
    assert referenced == {"my_ip", "site", "floor"}


REFERRING = """
[DEFAULT]
enabled_backends = a, b
shared-password = pa$$word-$suffix
suffix = canary
[backend_defaults]
url = https://admin:$san_password@array
[a]
volume_driver = x.Y
san_password = canary-of-a
other = $san_login and ${b.api}, \\$shared
circle = $circle-$back
back = $circle
[b]
volume_driver = x.Y
san_password = ${shared_password}!
san_login = name-in-b
api = $san_login
"""


def test_a_value_knows_what_it_refers_to(tmp_path: Path) -> None:
    a, b = (backend.options for backend in read(tmp_path, REFERRING).backends)

    def known(value: object) -> tuple[str, Mapping[str, str]]:
        assert isinstance(value, Verbatim)
        return value.resolved, value.referred

    of_b = "pa$word-canary!"
    in_b = {"shared_password": "pa$word-canary", "suffix": "canary"}
    assert known(a["url"]) == ("https://admin:canary-of-a@array", {"san_password": "canary-of-a"})
    assert known(b["url"]) == (f"https://admin:{of_b}@array", {"san_password": of_b, **in_b})
    assert known(b["san_password"]) == (of_b, in_b)
    assert known(a["circle"])[0] == "$circle-$circle-$circle-$back"
    assert isinstance(a["url"], Inherited)


def test_a_reference_that_leads_into_another_section_is_followed(tmp_path: Path) -> None:
    value = read(tmp_path, REFERRING).backends[0].options["other"]
    assert isinstance(value, Verbatim)
    assert value.resolved == "$san_login and name-in-b, $shared"
    assert value.referred == {"b.api": "name-in-b", "san_login": "name-in-b"}


def test_a_value_and_what_it_refers_to_reach_another_process(tmp_path: Path) -> None:
    sent: Any = read(tmp_path, REFERRING).backends[0].options["url"]
    received: Any = pickle.loads(pickle.dumps(sent))
    assert (received, received.resolved, received.referred) == (sent, sent.resolved, sent.referred)


def test_an_option_of_default_is_given_in_one_place(tmp_path: Path) -> None:
    yaml = "cinder_conf: cinder.conf\ncinder_defaults: {debug: true}"
    with pytest.raises(ConfigurationError, match=r"cinder_defaults\.debug: is also in \[DEFAULT\] of .*/cinder\.conf"):
        read(tmp_path, CONF, yaml)


def test_they_stand_beside_the_back_ends_of_the_settings(tmp_path: Path) -> None:
    settings = read(tmp_path, CONF, "cinder_conf: cinder.conf\nbackends: {mine: {driver: x.Y}}")
    assert [backend.name for backend in settings.backends] == ["mine", "lvm", "nfs"]


def test_names_of_sections_are_compared_without_case(tmp_path: Path) -> None:
    text = "[DEFAULT]\nenabled_backends = Array\n[array]\nvolume_driver = x.Y\nsan_ip = $Backend_Defaults.a\n[Backend_Defaults]\na = 1\n"
    (backend,) = read(tmp_path, text).backends
    assert (backend.name, backend.driver) == ("Array", "x.Y")
    assert backend.options["a"] == "1"
    value = backend.options["san_ip"]
    assert isinstance(value, Verbatim)
    assert value.resolved == "1"


def test_one_name_for_two_back_ends_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"backends\.lvm: is also a back end of .*/cinder\.conf"):
        read(tmp_path, CONF, "cinder_conf: cinder.conf\nbackends: {lvm: {driver: x.Y}}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[DEFAULT]\n", "enabled_backends: must name at least one back end"),
        ("[DEFAULT]\nenabled_backends = lwm\n[lvm]\n", "unknown section 'lwm'; did you mean 'lvm'"),
        ("[DEFAULT]\nenabled_backends = lvm\n[lvm]\n", r"\[lvm\] volume_driver: is missing"),
        ("[DEFAULT]\nenabled_backends\n", "line 2: No ':' or '=' found"),
        ("a = b\n", "line 1: assignment before the first"),
    ],
)
def test_what_is_wrong_with_it_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("cinder_conf: /absent/cinder.conf")
    with pytest.raises(ConfigurationError, match=r"/absent/cinder\.conf: cannot be read"):
        load([tmp_path / "config.yaml"], environment={})


START = "[DEFAULT]\nenabled_backends = a\n[a]\nvolume_driver = x.Y\n"


@pytest.mark.parametrize(
    "content",
    [
        START.encode() + "san_login = d\u0085o\u2028e\x0b\x0c\x1c\nsan_ip = 192.0.2.1\n".encode(),
        START.replace("\n", "\r\n").encode() + b"san_login = doe\r\nsan_ip = 192.0.2.1",
        START.replace("\n", "\r").encode() + b"san_login = doe\rsan_ip = 192.0.2.1\r",
        START.encode() + b"san_login = 50%(x)s %% %\nsan_ip = 192.0.2.1 ; array # one\n",
        START.encode() + b"san_login = first\n  second\n\t# third\n\nsan_ip = 192.0.2.1\n",
        START.encode() + b"san_login='doe'\nsan_ip   =   \"192.0.2.1\"   \n",
        START.encode() + b"san_login: doe = x\nsan_ip : 192.0.2.1\n",
        START.encode() + "san_login = Ren\u00e9 \u540d\nsan_ip =\n".encode(),
        START.encode() + b"# san_ip = 192.0.2.9\n; san_ip = 192.0.2.8\nsan_login = #doe\nsan_ip = 192.0.2.1\n",
    ],
)
def test_odd_files_are_read_as_oslo_config_reads_them(tmp_path: Path, content: bytes) -> None:
    from oslo_config import cfg

    file = tmp_path / "cinder.conf"
    file.write_bytes(content)
    theirs = cfg.ConfigOpts()
    theirs.register_opts([cfg.MultiStrOpt("san_login"), cfg.MultiStrOpt("san_ip")], group="a")
    theirs([], default_config_files=[str(file)])
    (backend,) = cinder_conf.read(file).backends
    read = {name: value if isinstance(value, list) else [value] for name, value in backend.options.items()}
    assert read == {"san_login": theirs.a.san_login, "san_ip": theirs.a.san_ip}


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "cinder.conf").write_bytes(b"\xef\xbb\xbf" + START.encode())
    assert [backend.name for backend in cinder_conf.read(tmp_path / "cinder.conf").backends] == ["a"]


def test_a_file_in_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "cinder.conf").write_bytes(START.encode() + "san_login = Ren\u00e9\n".encode("latin-1"))
    with pytest.raises(
        ConfigurationError, match=r"cinder\.conf: line 5 is not UTF-8: byte 0xE9; save the file as UTF-8"
    ):
        cinder_conf.read(tmp_path / "cinder.conf")
    (tmp_path / "cinder.conf").write_text(START, encoding="utf-16")
    with pytest.raises(ConfigurationError, match="line 1 is not UTF-8: byte 0xFF"):
        cinder_conf.read(tmp_path / "cinder.conf")


def test_a_comment_behind_a_value_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cinder.conf").write_text(START + "san_ip = 192.0.2.1 # the array\nsan_password = a#b\n")
    (backend,) = cinder_conf.read(tmp_path / "cinder.conf").backends
    assert backend.options["san_ip"] == "192.0.2.1 # the array"
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("comment read as part of the value")
    assert "section=a option=san_ip" in line
    assert "the array" not in line


def test_all_back_ends_that_are_wrong_are_named(tmp_path: Path) -> None:
    (tmp_path / "cinder.conf").write_text(
        "[DEFAULT]\nenabled_backends = a, b, c, a\n[b]\nx = y\n[c]\nvolume_driver = x.Y\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        cinder_conf.read(tmp_path / "cinder.conf")
    assert [
        key.rpartition("] ")[0].rpartition("[")[2] + " " + key.rpartition(" ")[2] for key, _ in caught.value.problems
    ] == [
        "DEFAULT enabled_backends",
        "b volume_driver",
    ]
