"""What a driver is given is what somebody wrote, or an error names the key: from YAML and JSON to the options of a back end."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from csi_cinderlib.config import document, live
from csi_cinderlib.config.load import load, parse
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import ConfigurationError

DRIVER = "tests.support.fakes.nothing.NothingDriver"
AS_WRITTEN = (
    *("012345", "000120001234", "0x10", "0o17", "0b11", "1_000", "5.50", "1e3", "1E400", "+5", "-0", ".5", "5."),
    *("yes", "No", "on", "OFF", "y", "n", "true", "True", "FALSE", ".inf", "-.Inf", ".nan", "12:30:45", "190:20:30"),
    *("2026-11-29", "2026-11-29T12:00:00Z", "=", "<<", "-", "--x", "a,b", "a'b", 'a"b', "$my_ip", "$$", "a$b", "a\\b"),
    *("a#b", "a:b", "fe80::1", "{", "x{y}", "x[y]", "é", "日本", "\U0001f511", "a b", "a%d", "50%", "a&b", "a*b", "a!b", "~x"),
)  # fmt: skip
"""Texts that YAML 1.1 takes for something else, and a few that it leaves alone."""


def write(tmp_path: Path, text: str, name: str = "config.yaml") -> Path:
    (tmp_path / name).write_text(text, newline="")
    return tmp_path / name


def options(path: Path, environment: Mapping[str, str] | None = None) -> Mapping[str, object]:
    return load([path], environment=environment or {}).backends[0].options


def in_yaml(tmp_path: Path, value: str) -> Mapping[str, object]:
    return options(write(tmp_path, f"backends:\n  a:\n    driver: {DRIVER}\n    options:\n      p: {value}\n"))


@pytest.mark.parametrize("text", [text for text in AS_WRITTEN if text not in "{-"])
def test_a_plain_scalar_reaches_the_options_as_it_is_written(tmp_path: Path, text: str) -> None:
    found = in_yaml(tmp_path, text)["p"]
    assert (found, type(found)) == (text, str)


@pytest.mark.parametrize("text", AS_WRITTEN)
def test_so_does_one_in_a_list_or_a_mapping(tmp_path: Path, text: str) -> None:
    quoted = json.dumps(text, ensure_ascii=False)
    plain = quoted if set(text) & set("{}[],\"'") or text in "-" else text
    found = in_yaml(tmp_path, f"[{plain}, {{q: {plain}, r: [{quoted}]}}]")["p"]
    assert found == [text, {"q": text, "r": [text]}]


@pytest.mark.parametrize("text", AS_WRITTEN)
def test_so_does_one_in_the_defaults_of_all_back_ends(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, f"cinder_defaults: {{p: {json.dumps(text, ensure_ascii=False)}}}")
    assert load([path], environment={}).cinder_defaults == {"p": text}


@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_text_survives_yaml_that_is_dumped(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("dumped") / "config.yaml"
    backend = {"driver": DRIVER, "options": {"p": text, "q": [text, {text: text}]}}
    path.write_text(yaml.safe_dump({"backends": {"a": backend}}), newline="")
    assert options(path) == {"p": text, "q": [text, {text: text}]}


@given(text=st.text(alphabet=string.ascii_letters + string.digits + string.punctuation + " ", min_size=1))
def test_a_plain_scalar_is_taken_as_it_is_written_or_refused(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Comments, quotes and brackets have the meaning that YAML gives them; white space around a scalar is not part of it."""
    if text[0] in " #'\"[{|>" or " #" in text or text != text.strip() or text in ("~", "null", "Null", "NULL"):
        return
    path = tmp_path_factory.mktemp("plain") / "config.yaml"
    path.write_text(f"backends:\n  a:\n    driver: {DRIVER}\n    options:\n      p: {text}\n")
    try:
        found = options(path)["p"]
    except ConfigurationError as error:
        assert str(path) in str(error)  # either of two outcomes
        assert len(text) < 4 or text not in error.problem
    else:
        assert found == text


@pytest.mark.parametrize(
    "value", ["&s3cret", "&s3cret word", "!s3cret", "!s3cret word", "! s3cret", "*s3cret", "!s3!cret x", "%s3cret", "@s3cret", "`s3cret"]
)  # fmt: skip
def test_text_that_yaml_would_swallow_is_refused_and_not_shown(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"config\.yaml:5:10: .*(in quotes|used)") as caught:
        in_yaml(tmp_path, value)
    assert "s3cret" not in str(caught.value)


def test_escapes_of_json_are_one_character_in_yaml_too(tmp_path: Path) -> None:
    assert in_yaml(tmp_path, json.dumps("pass\U0001f511")) == {"p": "pass\U0001f511"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('"a\\ud83d"', "an unpaired surrogate"),
        ('"a\\0"', "p: contains a NUL"),
        ("{file: a, env: b}", "p: has file and env"),
    ],
)
def test_what_no_driver_can_be_given_is_refused(tmp_path: Path, value: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        in_yaml(tmp_path, value)


@pytest.mark.parametrize("number", ["0.5", ".5", "5.", "5", "5e-1", "+5"])
def test_a_number_of_our_own_is_written_as_usual(tmp_path: Path, number: str) -> None:
    path = write(tmp_path, f"backends: {{a: {{driver: {DRIVER}, stats_seconds: {number}}}}}")
    assert load([path], environment={}).backends[0].stats_seconds == float(number)


def test_an_option_without_a_value_is_not_set(tmp_path: Path) -> None:
    assert in_yaml(tmp_path, "") == {"p": None}
    assert in_yaml(tmp_path, '""') == {"p": ""}


def test_names_with_dashes_are_the_ones_with_underscores(tmp_path: Path) -> None:
    path = write(tmp_path, f"backends: {{a: {{driver: {DRIVER}, options: {{san-ip: 192.0.2.1}}}}}}")
    assert options(path) == {"san_ip": "192.0.2.1"}


def test_files_and_variables_are_read_at_every_depth_and_kept_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbf 012345\r\nsecond: line\n\n")
    (tmp_path / "windows").write_bytes(b"pass\r\n")
    text = "[{k: {file: secret}}, {file: windows}, [{env: WORD}]]"
    path = write(tmp_path, f"backends: {{a: {{driver: {DRIVER}, options: {{p: {text}, q: {{env: WORD}}}}}}}}")
    assert options(path, {"WORD": "null"}) == {
        "p": [{"k": " 012345\r\nsecond: line\n"}, "pass", ["null"]],
        "q": "null",
    }


def test_a_file_that_cannot_be_read_is_named_by_its_key_path(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"pass\xe9")
    (tmp_path / "nul").write_bytes(b"pass\0")
    values = '[{k: {file: absent}}, {file: latin}, {file: nul}, {file: "a\\0b"}, {env: NO}, {file: .}, {file: [x]}]'
    path = write(tmp_path, f"backends: {{a: {{driver: {DRIVER}, options: {{p: {values}}}}}}}")
    with pytest.raises(ConfigurationError) as caught:
        load([path], environment={})
    told = {key.removeprefix("backends.a.options.p"): problem for key, problem in caught.value.problems}
    assert list(told) == ["[0].k", "[1]", "[2]", "[3].file", "[4]", "[5]", "[6].file"]
    for said, problem in zip(
        ["No such file", "not UTF-8 text", "NUL", "NUL", "NO is not set", "directory", "must be text"],
        told.values(),
        strict=True,
    ):
        assert said in problem
    assert "pass" not in str(caught.value)


JSON: tuple[tuple[str, Any, str | None], ...] = (
    ("san_password", "012345", "012345"),
    ("san_password", 5349, None),
    ("san_password", True, None),
    ("san_password", 5.5, None),
    ("san_api_port", 443, "443"),
    ("san_api_port", "443", "443"),
    ("san_api_port", 443.0, None),
    ("san_api_port", True, None),
    ("san_thin_provision", True, "true"),
    ("san_thin_provision", 1, None),
    ("max_over_subscription_ratio", "20.50", "20.50"),
    ("ssh_conn_timeout", 30, "30"),
    ("iscsi_port", 3260, "3260"),
    ("sio_unmap_volume_before_deletion", True, "true"),
    ("unknown_option", 30, None),
    ("replication_device", [{"san_password": 5}], None),
)


@pytest.mark.parametrize(("name", "value", "text"), JSON)
def test_a_number_of_json_is_no_text(tmp_path: Path, name: str, value: Any, text: str | None) -> None:
    raw = {"backends": {"a": {"driver": DRIVER, "options": {name: value}}}}
    path = write(tmp_path, json.dumps(raw), "config.json")
    if text is not None:
        assert options(path) == {name: text}
        assert parse(raw, environment={}).backends[0].options == {name: text}
        return
    for read in (lambda: options(path), lambda: parse(raw, environment={})):
        with pytest.raises(
            ConfigurationError, match=rf"backends\.a\.options\.{name}.*: must be text; put it in quotes|in quotes"
        ):
            read()


def test_json_in_a_yaml_file_is_yaml(tmp_path: Path) -> None:
    raw = f'{{"backends": {{"a": {{"driver": "{DRIVER}", "options": {{"san_password": 5.50}}}}}}}}'
    assert options(write(tmp_path, raw)) == {"san_password": "5.50"}


def test_numbers_and_switches_of_our_own_come_from_variables_too(tmp_path: Path) -> None:
    path = write(tmp_path, "workers: {env: W}\nmultipath: {env: M}\n")
    settings = load([path], environment={"W": "7", "M": "yes"})
    assert (settings.workers, settings.multipath) == (7, True)


@pytest.mark.parametrize("word", ["true", "Yes", "ON"])
def test_a_switch_is_on_in_yamls_spellings(tmp_path: Path, word: str) -> None:
    assert load([write(tmp_path, f"multipath: {word}")], environment={}).multipath is True


def test_options_of_the_store_have_types_where_these_are_certain(tmp_path: Path) -> None:
    text = "store: {options: {pool_size: 8, password: 012345, migrate: false, statement_timeout: 2.5, url: ~, n: yes}}"
    assert load([write(tmp_path, text)], environment={}).store.options == {
        "pool_size": 8,
        "password": "012345",
        "migrate": False,
        "statement_timeout": 2.5,
        "url": None,
        "n": "yes",
    }


def test_back_ends_of_the_directory_are_read_like_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(f"a: {{driver: {DRIVER}, options: {{san_password: 012345}}}}")
    (tmp_path / "b.json").write_text(f'{{"b": {{"driver": "{DRIVER}", "options": {{"san_password": 5349}}}}}}')
    found = live.backends(Settings(state_dir=tmp_path, backends_directory=str(tmp_path)))
    assert [backend.options for backend in found.backends] == [{"san_password": "012345"}]
    assert [backend.directory for backend in found.backends] == [str(tmp_path)]
    assert "b.json: backends.b.options.san_password: must be text; put it in quotes" in str(found.broken[0])


def test_a_few_lines_of_aliases_do_not_become_gigabytes(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 6)]
    with pytest.raises(ConfigurationError, match="too large with its aliases expanded"):
        document.read(write(tmp_path, "\n".join(lines)))
