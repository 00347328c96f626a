"""Several files, directories of files, odd files, and files of other programs."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from csi_cinderlib.config import live
from csi_cinderlib.config.files import in_directory
from csi_cinderlib.config.load import load
from csi_cinderlib.config.settings import BackendSettings, Settings
from csi_cinderlib.errors import ConfigurationError

DRIVER = "tests.support.fakes.nothing.NothingDriver"


def write(directory: Path, files: Mapping[str, str | bytes]) -> list[Path]:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [directory / name for name in files]


def refusal(paths: list[Path], environment: Mapping[str, str] | None = None) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(paths, environment=environment or {})
    return caught.value


def test_all_problems_of_all_files_and_back_ends_are_told_at_once(tmp_path: Path) -> None:
    paths = write(
        tmp_path,
        {
            "1.yaml": f"workers: many\npage_limit: 0\nend_point: x\nmetrics_address: x\n"
            f"backends:\n  a: {{driver: {DRIVER}, option: {{}}, stats_seconds: -1}}\n  'b#': {{}}\n  c: {{driver: lvm}}\n",
            "2.yaml": "volume_types: {gold: {extra_spec: {}}}\nsealing_keys: [{id: a}, {key: b}]\ncinder_conf: absent.conf\n",
        },
    )
    error = refusal(paths)
    assert [key for key, _ in error.problems] == [
        "end_point",
        "workers",
        "backends.a.option",
        "backends.b#.driver",
        "volume_types.gold.extra_spec",
        "sealing_keys[0].key",
        "sealing_keys[1].id",
        str(tmp_path / "absent.conf"),
        "page_limit",
        "metrics_address",
        "backends.a.stats_seconds",
        "backends.c.driver",
    ]
    assert str(error).count("\n") == len(error.problems) - 1
    assert f"did you mean 'endpoint'? ({paths[0]}:3)" in str(error)


def test_merge_keys_leave_what_is_there_and_the_first_mapping_counts(tmp_path: Path) -> None:
    text = "topology: &t {a: '1', b: '1'}\nvolume_types:\n  x: {extra_specs: &x {b: '2', c: '2'}}\n"
    text += "  y: {extra_specs: {a: '3', <<: [*x, *t]}}\n"
    specs = load(write(tmp_path, {"a.yaml": text}), environment={}).volume_types["y"].extra_specs
    assert specs == {"a": "3", "b": "2", "c": "2"}


def test_broken_files_are_all_told(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, {"1.yaml": "a: [", "2.yaml": "b: {", "3.json": '{"a": 1,}'}))
    assert [Path(key.split(":")[0]).name for key, _ in error.problems] == ["1.yaml", "2.yaml", "3.json"]


def test_files_and_directories_are_merged(tmp_path: Path) -> None:
    (first,) = write(
        tmp_path, {"main.yaml": f"workers: 7\nlog: {{level: debug}}\nbackends: {{a: {{driver: {DRIVER}}}}}\n"}
    )
    write(
        tmp_path / "d",
        {
            "20.yml": f"workers: 7\nbackends: {{b: {{driver: {DRIVER}}}}}\n",
            "10.json": f'{{"log": {{"format": "json"}}, "backends": {{"c": {{"driver": "{DRIVER}"}}}}}}',
            "30.yaml": "# nothing yet\n",
            ".hidden.yaml": "workers: 8\n",
            "..data/x.yaml": "workers: 8\n",
        },
    )
    settings = load([first, tmp_path / "d", first], environment={})
    assert (settings.workers, settings.log.level, settings.log.format) == (7, "debug", "json")
    assert [backend.name for backend in settings.backends] == ["a", "c", "b"]


def test_two_files_that_disagree_are_both_named(tmp_path: Path) -> None:
    backend = f"backends: {{a: {{driver: {DRIVER}}}}}"
    one, two = write(
        tmp_path, {"1.yaml": f"workers: 7\nlog: {{level: info}}\n{backend}", "2.yaml": f"workers: 8\nlog: {{level: debug}}\n{backend}"}
    )  # fmt: skip
    error = refusal([one, two])
    assert [str(problem) for problem in error.problems] == [
        f"workers: has different values in {one} and {two}; keep one",
        f"log.level: has different values in {one} and {two}; keep one",
        f"backends.a: is configured in {one} and {two}; keep one",
    ]


def test_a_directory_without_settings_is_refused_and_others_in_it_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "d", {"README": "", "cinder.conf": "[DEFAULT]\n"})
    assert "has no files with names that end in .yaml, .yml or .json" in str(refusal([tmp_path / "d"]))
    write(tmp_path / "d", {"a.yaml": "workers: 7"})
    with caplog.at_level(logging.WARNING):
        assert load([tmp_path / "d"], environment={}).workers == 7
    assert [Path(vars(record)["values"]["path"]).name for record in caplog.records] == ["README", "cinder.conf"]


def test_relative_paths_start_at_the_file_that_holds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = write(
        tmp_path,
        {
            "1/a.yaml": f"state_dir: s\nbackends_directory: d\nendpoint: csi.sock\nbackends: {{a: {{driver: {DRIVER}}}}}",
            "2/b.yaml": "node_name: {file: name}\nsealing_keys_file: keys.yaml\nmetrics_token_file: /t\nmetrics_address: '127.0.0.1:1'",
            "2/name": "n1\n",
        },
    )[:2]
    monkeypatch.chdir(tmp_path)
    settings = load([Path("1/a.yaml"), two], environment={})
    assert settings.state_dir == one.parent / "s"
    assert settings.backends_directory == str(one.parent / "d")
    assert settings.endpoint == str(one.parent / "csi.sock")
    assert settings.backends[0].directory == str(one.parent)
    assert settings.node_name == "n1"
    assert settings.sealing_keys_file == str(two.parent / "keys.yaml")
    assert settings.metrics_token_file == "/t"  # a path
    assert load([two], environment={"CINDERLIB_STATE_DIR": "here"}).state_dir == tmp_path / "here"


def test_relative_paths_in_options_of_the_store_start_at_their_file(tmp_path: Path) -> None:
    def options(text: str) -> object:
        (file,) = write(tmp_path, {"1/a.yaml": f"store: {text}"})
        return load([file], environment={"URL": "sqlite:///other.db"}).store.options

    directory = tmp_path / "1"
    assert options("{plugin: kubernetes, options: {kubeconfig: k/config, namespace: k}}") == {
        "kubeconfig": str(directory / "k/config"),
        "namespace": "k",
    }
    assert options("{plugin: kubernetes, options: {kubeconfig: /k}}") == {"kubeconfig": "/k"}
    for url, expected in {
        "sqlite:///m.db": f"sqlite:///{directory}/m.db",
        "sqlite+pysqlite:///d/m.db?timeout=5": f"sqlite+pysqlite:///{directory}/d/m.db?timeout=5",
        "sqlite:////m.db": "sqlite:////m.db",
        "sqlite:///:memory:": "sqlite:///:memory:",
        "postgresql://u@h/d": "postgresql://u@h/d",
    }.items():
        assert options(f"{{options: {{url: '{url}'}}}}") == {"url": expected}
    assert options("{options: {url: {env: URL}}}") == {"url": f"sqlite:///{directory}/other.db"}


ODD: tuple[tuple[str, bytes, str], ...] = (
    ("bom.yaml", b"\xef\xbb\xbfworkers: 7\r\n", ""),
    ("bom.json", b'\xef\xbb\xbf{"workers": 7}', ""),
    ("tabs-in-json.json", b'{\n\t"workers": 7\n}', ""),
    ("literal-block.yaml", b"node_name: |-\n  a\n  b\nworkers: 7", ""),
    ("merge.yaml", b"log: &a {level: info}\nvolume_types: {a: {extra_specs: {<<: *a}}}\nworkers: 7", ""),
    ("braces.yaml", b"{}", ""),
    ("empty.yaml", b"", "contains no settings"),
    ("comments.yaml", b"# workers: 7\n---\n", "contains no settings"),
    ("empty.json", b" \n", "contains no settings"),
    ("latin.yaml", b"a: b\n\nc: caf\xe9", "is not UTF-8: byte 0xE9 at line 3"),
    ("latin-with-bom.yaml", b"\xef\xbb\xbfa: b\nc: caf\xe9", "is not UTF-8: byte 0xE9 at line 2"),
    ("utf16.yaml", "workers: 7".encode("utf-16"), "is in UTF-16"),
    ("nel.yaml", "a: b\nnode_name: a\x85b".encode(), r"nel.yaml:2: contains the character U+0085, a line break in YAML"),
    ("ls.yaml", "node_name: 'a\u2028b'".encode(), "contains the character U+2028"),
    ("nul.yaml", b"node_name: a\0b", "nul.yaml:1: contains the character U+0000"),
    ("binary.yaml", bytes(range(128, 256)), "is not UTF-8"),
    ("tab.yaml", b"log:\n\tlevel: info", "tab.yaml:2:1: found a tab"),
    ("two.yaml", b"workers: 7\n---\nworkers: 8\n", "two.yaml:2:1: second document found"),
    ("list.yaml", b"- workers: 7", "list.yaml: must be a mapping, not a list"),
    ("text.yaml", b"workers", "text.yaml: must be a mapping, not text"),
    ("twice.yaml", b"workers: 7\n'workers': 8", "twice.yaml:2:1: the key 'workers' occurs twice"),
    ("twice.json", b'{"workers": 7, "workers": 8}', "the key 'workers' occurs twice"),
    ("bad.json", b'{"workers": 7,\n}', "is not JSON: "),
    ("nan.json", b'{"workers": NaN}', "NaN is not a number"),
    ("deep.yaml", b"a: " + b"[" * 60 + b"]" * 60, "nested more than 50 levels deep"),
    ("deeper.yaml", b"[" * 20000, "nested more than 50 levels deep"),
    ("deep.json", b"[" * 60 + b"]" * 60, "nested more than 50 levels deep"),
    ("deeper.json", b"[" * 200000, "nested more than 50 levels deep"),
    ("circle.yaml", b"a: &a [*a]", "an alias must not refer to a node around it"),
    ("chain.yaml", b"a0: &a0 [x]\n" + b"".join(b"a%d: &a%d [*a%d]\n" % (n, n, n - 1) for n in range(1, 99)), "nested more"),
    ("anchors.yaml", b"a: &a x\nb: &a y\nc: *a", "anchor defined twice"),
    ("surrogate.json", b'{"node_name": "a\\ud83d"}', "an unpaired surrogate"),
    ("key.yaml", b"[a]: b", "a key must be text"),
    ("merged.yaml", b"<<: 7", "<< must be followed by a mapping"),
    ("large.yaml", b"#" * 2**20 + b"\n", "must not be larger than 1024 KiB"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "data", "told"), ODD, ids=[name for name, _, _ in ODD])
def test_an_odd_file_is_read_or_refused_with_its_name(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    paths = write(tmp_path, {name: data})
    if not told:
        assert load(paths, environment={}).workers in (7, 128)
        return
    error = refusal(paths)
    assert told in str(error)
    assert str(paths[0]) in str(error)


FOREIGN: tuple[tuple[str, str, str], ...] = (
    ("cinder.conf", "# mine\n[DEFAULT]\nenabled_backends = lvm\n[lvm]\nvolume_group = vg\n", "a cinder.conf"),
    ("empty-section.conf", "[DEFAULT]\n[lvm]\n", "a cinder.conf"),
    ("only.conf", "; c\n\n[lvm]  # my\n", "a cinder.conf"),
    ("lib.yaml", f"logs: true\nbackends:\n  - volume_backend_name: lvm\n    volume_driver: {DRIVER}\n", "cinderlib's"),
    ("lib.json", f'[{{"volume_backend_name": "lvm", "volume_driver": "{DRIVER}"}}]', "cinderlib's"),
    ("setup.json", '{"persistence_config": {"storage": "db"}}', "cinderlib's"),
    ("ember.env", "export X_CSI_BACKEND_CONFIG='{}'\n", "Ember-CSI's environment"),
    ("ember.json", '{"X_CSI_BACKEND_CONFIG": {"driver": "LVMVolume"}}', "Ember-CSI's configuration"),
    ("ember-backend.json", '{"name": "ceph", "driver": "RBD", "rbd_pool": "p"}', "Ember-CSI's configuration"),
    ("deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\nspec: {c: [{env: [{name: X_CSI_BACKEND_CONFIG}]}]}\n", "an object of Ember"),
    ("secret.yaml", "apiVersion: v1\nkind: Secret\ndata: {X_CSI_BACKEND_CONFIG: e30=}\n", "an object of Ember"),
    ("ember.yaml", "apiVersion: ember-csi.io/v1alpha1\nkind: EmberStorageBackend\nspec: {}\n", "Ember-CSI's configuration"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "text", "what"), FOREIGN, ids=[name for name, _, _ in FOREIGN])
def test_a_file_of_another_program_is_recognised(tmp_path: Path, name: str, text: str, what: str) -> None:
    (path,) = write(tmp_path, {name: text})
    error = str(refusal([path]))
    assert f"{path}: looks like {what}" in error
    assert f"`csi-cinderlib convert {path}`" in error
    assert ("cinder_conf: " in error) is (what == "a cinder.conf")


def test_a_flow_sequence_is_no_cinder_conf(tmp_path: Path) -> None:
    assert "must be a mapping, not a list" in str(refusal(write(tmp_path, {"a.yaml": "[a, b]\n"})))


def test_a_kubernetes_object_is_no_file_of_settings(tmp_path: Path) -> None:
    paths = write(tmp_path, {"a.yaml": "apiVersion: v1\nkind: Secret\nstringData: {}\n"})
    assert "is a Kubernetes object of kind 'Secret'" in str(refusal(paths))


def test_embers_environment_stops_a_process_without_settings_and_is_told_to_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {"X_CSI_BACKEND_CONFIG": "{}", "X_CSI_PERSISTENCE_CONFIG": "{}", "CINDERLIB_STATE_DIR": str(tmp_path)}
    error = refusal([], environment)
    assert error.key == "X_CSI_BACKEND_CONFIG, X_CSI_PERSISTENCE_CONFIG"
    assert "`csi-cinderlib convert --from-environment`" in error.problem
    with caplog.at_level(logging.WARNING):
        load(write(tmp_path, {"a.yaml": "{}"}), environment=environment)
    assert "variables of Ember-CSI ignored" in caplog.text


def back_ends(directory: Path) -> live.Found:
    own = BackendSettings(name="own", driver=DRIVER)
    return live.backends(Settings(state_dir=directory, backends=(own,), backends_directory=str(directory)))


def test_a_directory_of_back_ends_holds_yaml_and_json_and_tells_what_it_ignores(tmp_path: Path) -> None:
    files = {f"{name}.{suffix}": f'{{"{name}": {{"driver": "{DRIVER}"}}}}' for name, suffix in zip("abc", ("yaml", "yml", "json"), strict=True)}  # fmt: skip
    write(tmp_path, {**files, "note.txt": "", "a.yaml~": "", ".swp": "", "..data/a.yaml": "", "sub/a.yaml": ""})
    found = back_ends(tmp_path)
    assert [backend.name for backend in found.backends] == ["own", "a", "b", "c"]
    assert [path.name for path in found.ignored] == ["a.yaml~", "note.txt", "sub"]
    assert found.broken == ()


def test_a_pipe_in_a_directory_is_ignored_and_a_link_to_nothing_is_unreadable(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": f"a: {{driver: {DRIVER}}}"})
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    listing = in_directory(tmp_path)
    assert listing.ignored == (tmp_path / "pipe.yaml",)
    assert listing.files == (tmp_path / "a.yaml", tmp_path / "gone.yaml")


def test_two_files_of_one_name_are_both_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": f"a: {{driver: {DRIVER}}}", "a.yml": f"b: {{driver: {DRIVER}}}"})
    found = back_ends(tmp_path)
    assert [backend.name for backend in found.backends] == ["own"]
    assert [error.problem for error in found.broken] == [
        "has the same name as a.yml; remove one of the files",
        "has the same name as a.yaml; remove one of the files",
    ]


def test_an_empty_file_of_back_ends_takes_none_away(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": "", "b.yaml": "{}"})
    (error,) = back_ends(tmp_path).broken
    assert "a.yaml: must not be empty" in str(error)


def test_all_problems_of_a_file_of_back_ends_are_told(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": "own: {driver: x.Y, stats_seconds: -1}\nb: {driver: x}\n"})
    (error,) = back_ends(tmp_path).broken
    assert [key.removeprefix(f"{tmp_path}/a.yaml: ") for key, _ in error.problems] == [
        "backends.own.stats_seconds",
        "backends.b.driver",
    ]
