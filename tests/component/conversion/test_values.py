"""A driver gets from the converted configuration what Cinder would have given it."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.conversion.model import Conversion, Verdict
from tests.component.conversion.cinder import ERROR, LVM, as_cinder_reads, as_driver_gets, convert

NAMES = (
    "chap_password",
    "volume_group",
    "target_ip_address",
    "target_secondary_ip_addresses",
    "replication_device",
    "target_port",
    "volume_clear_size",
    "use_chap_auth",
    "max_over_subscription_ratio",
)
"""Of every type: text, list, several mappings, port, whole number, switch."""

FORMER = {"iscsi_secondary_ip_addresses": "target_secondary_ip_addresses"}

HEAD = "[DEFAULT]\nenabled_backends = lvm\nmy_ip = 192.0.2.9\n"

CASES = {
    "plain": "[lvm]\nvolume_group = fast\ntarget_port = 3260\nuse_chap_auth = yes\n",
    "looks like a number": "[lvm]\nvolume_group = 012345\nchap_password = 12:30:45\n",
    "quotes": '[lvm]\nchap_password = "a b "\nvolume_group = \'x\'\ntarget_ip_address = "\n',
    "dollars": "[lvm]\nchap_password = a$$b\\$c$\nvolume_group = $$my_ip\n",
    "a backslash": "[lvm]\nchap_password = a\\b\\\\$$\n",
    "references": "[lvm]\ntarget_ip_address = $my_ip\nchap_password = ${my_ip}x\nvolume_group = $target_port.$state_path\n",
    "a reference to a value of the section": "[lvm]\ntarget_port = 0042\nchap_password = $target_port\n",
    "a reference to an unset option": "[lvm]\nchap_password = <$volume_group>\n",
    "a reference to what is inherited": "[backend_defaults]\nvolume_group = x\n[lvm]\nchap_password = <$volume_group>\n",
    "a reference to a list": "[lvm]\ntarget_secondary_ip_addresses = a, b\nchap_password = $target_secondary_ip_addresses\n",
    "a reference to a switch": "[lvm]\nuse_chap_auth = on\nchap_password = $use_chap_auth\n",
    "a reference to another section": "[lvm]\nchap_password = $backend_defaults.volume_group-\n[backend_defaults]\nvolume_group = y\n",
    "a reference in [backend_defaults]": "[backend_defaults]\nchap_password = $volume_group\n[lvm]\nvolume_group = z\n",
    "an unknown reference": "[lvm]\nchap_password = a$nothing\nvolume_group = ok\n",
    "a circle": "[lvm]\nchap_password = $volume_group\nvolume_group = $chap_password\n",
    "a list": "[lvm]\ntarget_secondary_ip_addresses = a , b,, c,\n",
    "an empty list": "[lvm]\ntarget_secondary_ip_addresses =\n",
    "a list over several lines": "[lvm]\ntarget_secondary_ip_addresses = a,\n  b,\n  c\n",
    "text over several lines": "[lvm]\nvolume_group = a\n  b\n  c\n",
    "mappings": "[lvm]\nreplication_device = backend_id:a,san_password:p:w\nreplication_device = backend_id:b\n",
    "a mapping that does not fit": "[lvm]\nreplication_device = nonsense\nvolume_group = ok\n",
    "numbers that do not fit": "[lvm]\ntarget_port = 99999\nvolume_clear_size = 0x10\nuse_chap_auth = maybe\n",
    "an empty number": "[lvm]\ntarget_port =\n[backend_defaults]\ntarget_port = 5\n",
    "an empty number that is inherited": "[backend_defaults]\ntarget_port =\n[lvm]\nvolume_group = a\n",
    "empty text": "[backend_defaults]\nvolume_group = x\n[lvm]\nvolume_group =\n",
    "what is inherited": "[backend_defaults]\nvolume_group = x\nchap_password = y\n[lvm]\nvolume_group = z\n",
    "not inherited from [DEFAULT]": "[DEFAULT]\nvolume_group = x\n[lvm]\nchap_password = y\n",
    "repeated": "[lvm]\nvolume_group = a\nvolume_group = b\n",
    "a section that is there twice": "[lvm]\nvolume_group = a\n[x]\na = b\n[lvm]\nvolume_group = b\nchap_password = c\n",
    "names of sections in capitals": "[LVM]\nvolume_group = a\n[lvm]\nchap_password = c\n",
    "a former name": "[lvm]\niscsi_secondary_ip_addresses = a,b\n",
    "a former name and the new one": "[lvm]\niscsi_secondary_ip_addresses = a,b\ntarget_secondary_ip_addresses = c\n",
    "a former name that is inherited": "[backend_defaults]\niscsi_secondary_ip_addresses = a\n[lvm]\ntarget_secondary_ip_addresses = b\n",
    "a dash": "[lvm]\nvolume-group = a\n",
    "capitals": "[lvm]\nVOLUME_GROUP = a\n",
    "a colon": "[lvm]\nvolume_group: a=b\nchap_password=c:d\n",
    "comments": "# one\n; two\n[lvm]\nvolume_group = a # no comment\nchap_password = ;x\n",
    "umlauts and emoji": "[lvm]\nvolume_group = Größe 😀\nchap_password = \u0085x\u2028y\n",
    "carriage returns": "[lvm]\r\nvolume_group = a\r\nchap_password = b\r\n",
}


@pytest.mark.parametrize("text", CASES.values(), ids=CASES.keys())
def test_a_driver_gets_the_values_of_the_cinder_conf(text: str, runtime: Runtime, tmp_path: Path) -> None:
    _compare(HEAD + text.removeprefix("[DEFAULT]\n"), runtime, tmp_path)


_TEXTS = st.text(st.sampled_from("ab1 ,:;#='\"\\$%{}[]!&*|>~-\t\nä\u2028😀"), max_size=12) | st.lists(
    st.sampled_from(
        [
            "$my_ip",
            "${state_path}",
            "$chap_username",
            "$chap_password",
            "$$",
            "\\$",
            "$",
            "x",
            ",",
            ":",
            "$lvm.target_port",
            "$no",
        ]
    ),
    max_size=5,
).map("".join)
_VALUES = st.dictionaries(
    st.sampled_from([*NAMES, "chap_username", "iscsi_secondary_ip_addresses"]), st.lists(_TEXTS, min_size=1, max_size=2)
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(own=_VALUES, shared=_VALUES)
@example(own={"volume_clear_size": ["$chap_username"]}, shared={"volume_clear_size": ["1"]})
@example(own={"chap_password": ["\\\\$x"]}, shared={})
@example(own={"target_secondary_ip_addresses": ["'a,b'"]}, shared={"target_port": [" 7 "]})
def test_odd_values_reach_the_driver_as_in_cinder(
    own: dict[str, list[str]], shared: dict[str, list[str]], runtime: Runtime, tmp_path: Path
) -> None:
    # oslo.config takes a name whose own value refers to nothing from [DEFAULT]; here it is reported.
    lenient = {
        FORMER.get(name, name) for values in (own, shared) for name, texts in values.items() if "$" in "".join(texts)
    }
    _compare(f"{HEAD}[backend_defaults]\n{_lines(shared)}[lvm]\n{_lines(own)}", runtime, tmp_path, lenient=lenient)


def _lines(values: dict[str, list[str]]) -> str:
    return "".join(f"{name} = {_continued(text)}\n" for name, several in values.items() for text in several)


def _continued(text: str) -> str:
    """A blank line would end the value, and a line that begins anew is another option."""
    return "\n  ".join(line for line in text.split("\n") if line.strip()) if "\n" in text else text


def _compare(text: str, runtime: Runtime, directory: Path, *, lenient: Container[str] = ()) -> None:
    path = directory / "cinder.conf"
    path.write_text(text, newline="")
    expected = as_cinder_reads([path], "lvm", LVM, NAMES)
    converted = convert(text.replace("\r\n", "\n"))
    values = as_driver_gets(converted, NAMES, runtime=runtime, directory=directory)["lvm"]
    for name, value in expected.items():
        if value == values[name] or (name in lenient and _is_reported(converted, name)):
            continue
        if value == ERROR:
            assert name not in converted.backends[0].options, f"{name} was converted, which Cinder refuses"
            assert _is_reported(converted, name)
        else:  # only "not set", as a value of its own, cannot be written here
            assert value is None, name
            assert any(
                note.verdict is Verdict.DROPPED and FORMER.get(note.item, note.item) == name for note in converted.notes
            )


def _is_reported(converted: Conversion, name: str) -> bool:
    return any(note.verdict is Verdict.FAILED and FORMER.get(note.item, note.item) == name for note in converted.notes)
