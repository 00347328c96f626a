"""The documents: each holds the same back ends, and none a secret where it does not belong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from csi_cinderlib import cli
from csi_cinderlib.config import load
from csi_cinderlib.config import objects as config_objects
from csi_cinderlib.config.settings import BackendSettings, Settings
from csi_cinderlib.conversion import conversion, documents
from csi_cinderlib.conversion.model import Conversion, ConvertedBackend
from csi_cinderlib.observe.controls import escape_controls
from csi_cinderlib.persistence.kubernetes.resources import definitions
from tests.component.conversion import session
from tests.component.conversion.cinder import LVM, convert

CANARY = "canary-7391"
ODD_PLACES = {
    "by its name": f"[lvm]\nchap_password = {CANARY}\n",
    "in a mapping": f"[lvm]\nreplication_device = backend_id:a,san_password:{CANARY}\n",
    "in an unnamed place of a mapping": f"[lvm]\nchap_password = {CANARY}\nreplication_device = backend_id:a,note:x{CANARY}\n",
    "in a list": f"[lvm]\nchap_password = {CANARY}\ntarget_secondary_ip_addresses = a,b{CANARY}c\n",
    "by reference": f"[lvm]\nvolume_group = $chap_password\nchap_password = {CANARY}\n",
    "from [DEFAULT]": f"[lvm]\nchap_password = $ours\nvolume_group = vg-$ours\n[DEFAULT]\nours = {CANARY}\n",
    "in a URL": f"[lvm]\nvolume_group = https://user:{CANARY}@192.0.2.1/\n",
    "in an unknown driver's option": f"[other]\nvolume_driver = acme.Driver\nharmless = {CANARY}\ndict = a:{CANARY}\n",
    "in an option that is not converted": f"[lvm]\nnot_an_option = {CANARY}\nvolume_clear_size = {CANARY}\n",
    "in a section that is not read": f"[database]\nconnection = mysql://u:{CANARY}@h/d\n[lvm]\nvolume_group = x\n",
}


def loaded(text: str, directory: Path) -> Settings:
    path = directory / "settings.yaml"
    path.write_text(text)
    return load.load([path], environment={})


def backends_of(conversion: Conversion, directory: Path) -> tuple[BackendSettings, ...]:
    return loaded(documents.config(conversion), directory).backends


@pytest.fixture
def converted() -> Conversion:
    return convert((session.FOLDER / "cinder.conf").read_text())


def test_a_secret_holds_the_back_ends_of_the_configuration(converted: Conversion, tmp_path: Path) -> None:
    secret = yaml.safe_load(documents.secret(converted, "mine"))
    assert (secret["kind"], secret["metadata"]) == ("Secret", {"name": "mine"})
    (key,) = secret["stringData"]
    assert key.endswith(".yaml")
    assert loaded(_under_backends(secret["stringData"][key]), tmp_path).backends == backends_of(converted, tmp_path)


def _under_backends(text: str) -> str:
    return "backends:\n" + "".join(f"  {line}\n" for line in text.splitlines())


def test_objects_configure_the_same_back_ends_with_their_secrets(converted: Conversion, tmp_path: Path) -> None:
    import jsonschema

    items = list(yaml.safe_load_all(documents.objects(converted, "mine")))
    secrets = {item["metadata"]["name"]: item["stringData"] for item in items if item["kind"] == "Secret"}
    found = [item for item in items if item["kind"] == "BackendConfiguration"]
    (definition,) = [item for item in definitions() if item["spec"]["names"]["kind"] == "BackendConfiguration"]
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for item, backend in zip(found, backends_of(converted, tmp_path), strict=True):
        jsonschema.validate(item, schema)
        reference = item["spec"].get("secretRef")
        texts = secrets[reference["name"]] if reference else {}
        data = {key: text.encode() for key, text in texts.items()} if reference else None
        read = config_objects.read(backend.name, item["spec"], data)
        assert read.driver == backend.driver
        known = {key: documents.text_of(value) if key in texts else value for key, value in backend.options.items()}
        assert {key: value for key, value in read.options.items() if key in known} == {
            key: value for key, value in known.items() if key in read.options
        }
        lost = backend.options.keys() - read.options.keys()
        assert all(documents.text_of(backend.options[key]) is None for key in lost)


def test_the_chart_s_values_and_their_files_hold_the_back_ends(converted: Conversion, tmp_path: Path) -> None:
    assert _of_chart(converted, tmp_path) == backends_of(converted, tmp_path)


def _of_chart(converted: Conversion, directory: Path) -> tuple[BackendSettings, ...]:
    """The back ends as the controller reads them from the chart's values and the mounted Secret."""
    values, secrets = documents.chart(converted, "mine")
    files = yaml.safe_load(secrets)["stringData"] if secrets else {}
    mounted = directory / "mounted"
    mounted.mkdir(exist_ok=True)
    for name, text in files.items():
        (mounted / name).write_text(text, newline="")
    text = yaml.safe_dump({"backends": yaml.safe_load(values)["backends"]}, sort_keys=False)
    return loaded(text.replace(documents.SECRETS_DIRECTORY, str(mounted)), directory).backends


@pytest.mark.parametrize("text", ODD_PLACES.values(), ids=ODD_PLACES.keys())
def test_no_secret_is_in_the_chart_s_values_nor_in_the_report(text: str, tmp_path: Path, capsys: Any) -> None:
    source, values, secrets = (tmp_path / name for name in ("cinder.conf", "values.yaml", "secret.yaml"))
    enabled = "other" if "[other]" in text else "lvm"
    source.write_text(f"[DEFAULT]\nenabled_backends = {enabled}\n[lvm]\nvolume_driver = {LVM}\n{text}")
    for form in ("text", "json"):
        values.unlink(missing_ok=True)
        secrets.unlink(missing_ok=True)
        words = ["convert", str(source), "--to", "chart", "-o", str(values), "--secret-file", str(secrets)]
        assert cli.main([*words, "--report", form]) in (0, 1)
        printed = capsys.readouterr()
        assert CANARY not in values.read_text() + printed.err + printed.out


def test_all_options_of_an_unknown_driver_are_secret() -> None:
    converted = convert("[DEFAULT]\nenabled_backends = a\n[a]\nvolume_driver = acme.Driver\nx = 1\ny = p:q\n")
    values, secrets = documents.chart(converted, "mine")
    assert set(yaml.safe_load(secrets)["stringData"]) == {"a.x", "a.y"}
    assert yaml.safe_load(values)["backends"]["a"]["options"]["x"] == {"file": f"{documents.SECRETS_DIRECTORY}/a.x"}


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_ODD = _TEXT | st.sampled_from(
    "012345;yes;~;null;1e3;12:30:45;2026-11-29;; a ;a\n;\n;';\";|;- a;a: b;#;{x};[;*a;&a;!a;%;@;`;$x;\\;\t;\x85;\u2028;\ufeff;\x07;=;<<".split(
        ";"
    )
)
_OPTION = _ODD | st.lists(_ODD, max_size=3) | st.dictionaries(_ODD, _ODD, max_size=3) | st.lists(st.dictionaries(_ODD, _ODD, min_size=1, max_size=2), min_size=1, max_size=2)  # fmt: skip
_NAMES = ("chap_password", "volume_group", "replication_device", "target_secondary_ip_addresses")


@settings(max_examples=100)
@given(options=st.dictionaries(st.sampled_from(_NAMES), _OPTION), secret=st.sets(st.sampled_from(_NAMES)))
def test_any_value_survives_every_document(options: dict[str, object], secret: set[str], tmp_path_factory: Any) -> None:
    directory = tmp_path_factory.mktemp("documents", numbered=True)
    kept = frozenset(secret & options.keys())
    converted = Conversion(
        product="x", backends=(ConvertedBackend(name="a", driver=LVM, options=options, secret=kept),)
    )
    printed = escape_controls(documents.config(converted))  # as on standard output
    for text in (documents.config(converted), printed):
        assert loaded(text, directory).backends[0].options == options
    inner = yaml.safe_load(documents.secret(converted, "s"))["stringData"][documents.BACKENDS_KEY]
    assert loaded(_under_backends(inner), directory).backends[0].options == options


def test_names_that_a_terminal_or_yaml_acts_on_do_not_break_the_document(tmp_path: Path, capsys: Any) -> None:
    text = f"[DEFAULT]\nenabled_backends = lvm\n[lvm]\nvolume_driver = {LVM}\nx\x1b[2J\u2028\x85\u202e = 1\nvolume_group = a\n"
    (tmp_path / "cinder.conf").write_text(text)
    for words in (["-o", str(tmp_path / "new.yaml")], []):
        assert cli.main(["convert", str(tmp_path / "cinder.conf"), *words]) == 1
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    for document in (printed.out, (tmp_path / "new.yaml").read_text()):
        assert loaded(document, tmp_path).backends[0].options == {"volume_group": "a"}


def test_the_templates_of_names_reach_the_values_of_the_chart() -> None:
    """Without them, adopted volumes are looked for under other names."""
    text = (
        (session.FOLDER / "cinder.conf")
        .read_text()
        .replace("[DEFAULT]\n", "[DEFAULT]\nvolume_name_template = os-%s\n", 1)
    )
    converted = convert(text)
    values, _ = documents.chart(converted, "mine")
    assert yaml.safe_load(values)["cinderDefaults"] == {"my_ip": "192.0.2.9", "volume_name_template": "os-%s"}
    assert conversion.for_target(converted, "chart").notes == converted.notes


def test_a_password_for_all_back_ends_stays_out_of_the_values() -> None:
    converted = replace(convert((session.FOLDER / "cinder.conf").read_text()), cinder_defaults={"x_password": "secret"})
    values, _ = documents.chart(converted, "mine")
    assert "cinderDefaults" not in yaml.safe_load(values)
    assert any("x_password" in note.item for note in conversion.for_target(converted, "chart").notes)


def test_settings_that_a_document_has_no_place_for_are_reported(tmp_path: Path) -> None:
    converted = convert((session.FOLDER / "cinder.conf").read_text())
    assert converted.cinder_defaults == {"my_ip": "192.0.2.9"}
    assert loaded(documents.config(converted), tmp_path).cinder_defaults == {"my_ip": "192.0.2.9"}
    for target in ("secret", "objects"):
        assert any("my_ip" in note.item for note in conversion.for_target(converted, target).notes)
    assert conversion.for_target(converted, "config").notes == converted.notes


@pytest.mark.parametrize(("line", "is_secret"), [("chap_password = x1y2z3", True), ("volume_group = vg", False)])
def test_the_next_steps_apply_a_secret_only_if_there_is_one(
    tmp_path: Path, capsys: Any, line: str, is_secret: bool
) -> None:
    source, secrets = tmp_path / "cinder.conf", tmp_path / "secret.yaml"
    source.write_text(f"[DEFAULT]\nenabled_backends = lvm\n[lvm]\nvolume_driver = {LVM}\n{line}\n")
    assert cli.main(["convert", str(source), "--to", "chart", "-o", str(tmp_path)]) == 0
    assert secrets.exists() is is_secret
    assert (f"kubectl apply --namespace NAMESPACE --filename {secrets}" in capsys.readouterr().err) is is_secret


def test_several_passwords_in_one_option_are_named_because_a_secret_cannot_hold_them() -> None:
    text = f"""[DEFAULT]
enabled_backends = lvm
[lvm]
volume_driver = {LVM}
replication_device = backend_id:a,san_password:{CANARY}
replication_device = backend_id:b,san_password:{CANARY}
"""
    converted = conversion.for_target(convert(text), "objects")
    written = documents.objects(converted, "mine")
    assert CANARY not in written
    assert "NOT CONVERTED: backends.lvm.replication_device: several passwords cannot be one key of a Secret" in written
