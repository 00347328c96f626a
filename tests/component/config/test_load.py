"""Settings from YAML, the environment and the command line, and what is said about wrong ones."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from csi_cinderlib.config.load import LOOPFILE_DRIVER, Overrides, examine, load
from csi_cinderlib.config.settings import Mode, Settings
from csi_cinderlib.errors import ConfigurationError

KEY = base64.urlsafe_b64encode(bytes(32)).decode()
ARRAY = """
backends:
  array1:
    driver: cinder.volume.drivers.lvm.LVMVolumeDriver
    options: {volume_group: fast, san_password: {env: ARRAY_PASSWORD}}
    topology: {zone: a}
"""


def read(tmp_path: Path, text: str, environment: dict[str, str] | None = None, **overrides: str) -> Settings:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load([path], environment=environment or {}, overrides=Overrides(**overrides))


def test_nothing_configured_is_one_local_back_end_in_the_state_directory(tmp_path: Path) -> None:
    settings = load([], environment={"CINDERLIB_STATE_DIR": str(tmp_path)})
    (backend,) = settings.backends
    assert (backend.name, backend.driver) == ("local", LOOPFILE_DRIVER)
    assert backend.options == {"loopfile_directories": [str(tmp_path / "volumes")]}
    assert settings.mode is Mode.ALL
    assert settings.endpoint == str(tmp_path / "csi.sock")


def test_a_node_has_no_back_end(tmp_path: Path) -> None:
    assert load([], environment={}, overrides=Overrides(mode="node", state_dir=str(tmp_path))).backends == ()


def test_a_back_end_is_read_with_its_options_and_topology(tmp_path: Path) -> None:
    (backend,) = read(tmp_path, ARRAY, {"ARRAY_PASSWORD": "geheim"}).backends
    assert backend.name == "array1"
    assert backend.options == {"volume_group": "fast", "san_password": "geheim"}
    assert backend.topology == {"topology.csi.cinderlib.io/zone": "a"}
    assert "geheim" not in repr(backend)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    text = "mode: controller\nendpoint: /file.sock\nstate_dir: /from-file\nlog: {level: debug}"
    environment = {"CSI_ENDPOINT": "unix:///environment.sock", "CINDERLIB_STATE_DIR": "/from-environment"}
    settings = read(tmp_path, text, environment, endpoint="/cli.sock", log_format="json")
    assert settings.endpoint == "/cli.sock"
    assert settings.state_dir == Path("/from-environment")
    assert settings.mode is Mode.CONTROLLER
    assert (settings.log.format, settings.log.level) == ("json", "debug")


def test_secrets_come_from_files_without_their_last_newline(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    settings = read(tmp_path, f"sealing_keys: [{{id: first, key: {{file: {tmp_path}/key}}}}]")
    assert settings.sealing_keys[0].key == KEY
    assert KEY not in repr(settings)


def test_a_topology_segment_called_env_is_no_look_up(tmp_path: Path) -> None:
    assert read(tmp_path, "topology: {env: prod}").topology == {"topology.csi.cinderlib.io/env": "prod"}


def test_a_topology_key_that_is_complete_is_left_alone(tmp_path: Path) -> None:
    assert read(tmp_path, "topology: {topology.kubernetes.io/zone: a}").topology == {"topology.kubernetes.io/zone": "a"}


def test_volume_types_take_their_names_from_their_keys(tmp_path: Path) -> None:
    settings = read(tmp_path, "volume_types: {gold: {extra_specs: {thin: 'true'}, qos_specs: {maxIOPS: '100'}}}")
    assert settings.volume_types["gold"].name == "gold"
    assert settings.volume_types["gold"].extra_specs == {"thin": "true"}


def test_empty_sections_are_as_good_as_none(tmp_path: Path) -> None:
    assert read(tmp_path, "log:\nbackends:\nvolume_types:\n").log.level == "info"


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("end_point: /x", "end_point", "did you mean 'endpoint'"),
        ("cinder_config: /x", "cinder_config", "did you mean 'cinder_conf'"),
        ("log: {levl: info}", "log.levl", "did you mean 'level'"),
        ("log: {level: trace}", "log.level", "unknown value 'trace'"),
        ("log: [a]", "log", "must be a mapping, not a list"),
        ("mode: controler", "mode", "did you mean 'controller'"),
        ("workers: many", "workers", "must be a whole number, not text"),
        ("workers: true", "workers", "must be a whole number, not text"),
        ("workers: '5'", "workers", "must be a whole number, not text"),
        ("workers: 010", "workers", "in decimal digits, without leading zeros"),
        ("workers: 0x10", "workers", "in decimal digits"),
        ("workers: 1_0", "workers", "in decimal digits"),
        ("workers: 1:30", "workers", "in decimal digits"),
        ("workers: 5.0", "workers", "in decimal digits"),
        ("workers: ~", "workers", "not null; remove the key"),
        ("multipath: 1", "multipath", "must be true or false, not text"),
        ("backends: {a: {driver: x.Y, stats_seconds: .inf}}", "backends.a.stats_seconds", "must be a number"),
        ("backends: {a: {driver: x.Y, stats_seconds: 1e999}}", "backends.a.stats_seconds", "must be a number"),
        ("backends: {a: {driver: x.Y, options: {p: ~}}}", "backends.a.options.p", "put the word in quotes"),
        ("backends: {a: {driver: x.Y, options: {p: [a, null]}}}", "backends.a.options.p[1]", "put the word in quotes"),
        ("backends: {a: {driver: x.Y, options: {p: {q: }}}}", "backends.a.options.p.q", "has no value"),
        (
            "backends: {a: {driver: x.Y, options: {san-ip: b, san_ip: c}}}",
            "backends.a.options.san_ip",
            "also spelled 'san-ip'",
        ),
        ("workers: 0", "workers", "must be between 1 and 1024"),
        ("page_limit: 1000000", "page_limit", "must be between 1"),
        ("max_volumes_per_node: -1", "max_volumes_per_node", "must not be negative"),
        ("multipath: 'yes'", "multipath", "must be true or false, not text"),
        ("node_name: null", "node_name", "put the word in quotes"),
        ("node_name: [a]", "node_name", "must be text, not a list"),
        ("node_name:", "node_name", "must be text, not nothing"),
        ("topology: {rack: ~}", "topology.rack", "put the word in quotes"),
        ("driver_name: -x-", "driver_name", "at most 63 letters"),
        ("metrics_address: '9090'", "metrics_address", "must be HOST:PORT"),
        ("metrics_token_file: /t", "metrics_token_file", "has no effect without metrics_address"),
        ("{metrics_address: ':1', metrics_key_file: /k}", "metrics_key_file", "needs metrics_certificate_file"),
        ("{metrics_address: ':1', metrics_certificate_file: /c}", "metrics_key_file", "set both or none"),
        (
            "{metrics_address: ':1', metrics_token_file: /t}",
            "metrics_token_file",
            "is sent in plain text",
        ),
        ("{metrics_address: 'host:1', metrics_token_file: /t}", "metrics_token_file", "in plain text"),
        ("backends: {a: {}}", "backends.a.driver", "is missing"),
        ("backends: [a]", "backends", "must be a mapping, not a list"),
        ("backends: {a: {driver: lvm}}", "backends.a.driver", "package.module.Class"),
        ("backends: {'a#b': {driver: x.Y}}", "backends.a#b", "the name must be"),
        ("backends: {DEFAULT: {driver: x.Y}}", "backends.DEFAULT", "not be DEFAULT"),
        (
            "backends: {backend_defaults: {driver: x.Y}}",
            "backends.backend_defaults",
            "not be DEFAULT or backend_defaults",
        ),
        ("backends: {a: {driver: x.Y, option: {}}}", "backends.a.option", "did you mean 'options'"),
        ("backends: {a: {driver: x.Y, options: {p: {env: NOT_SET}}}}", "backends.a.options.p", "NOT_SET is not set"),
        ("backends: {a: {driver: x.Y, options: {p: {file: /no/x}}}}", "backends.a.options.p", "No such file"),
        ("backends: {a: {driver: x.Y, stats_seconds: -1}}", "backends.a.stats_seconds", "must not be negative"),
        ("sealing_keys: {a: b}", "sealing_keys", "must be a list"),
        ("sealing_keys: [{id: a}]", "sealing_keys[0].key", "is missing"),
        ("volume_types: {gold: {extra_spec: {}}}", "volume_types.gold.extra_spec", "did you mean 'extra_specs'"),
    ],
)
def test_a_wrong_value_is_named_by_its_key_path(tmp_path: Path, text: str, key: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    assert caught.value.key == key
    assert problem in caught.value.problem


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "127.8.8.8"])
def test_a_token_needs_no_tls_where_only_the_host_itself_can_ask(tmp_path: Path, host: str) -> None:
    text = f"{{metrics_address: '{host}:9090', metrics_token_file: /t}}"
    assert read(tmp_path, text).metrics_token_file == "/t"


def test_a_password_in_the_wrong_place_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, "workers: hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("mode: all\nlog: {level: info", 2, "expected ',' or '}'"),
        ("mode: all\nmode: node", 2, "occurs twice"),
        ("a: !!python/object:os.system x", 1, "tags such as !!python/object:os.system are not supported"),
    ],
)
def test_bad_yaml_is_named_by_file_and_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    assert caught.value.key.startswith(f"{tmp_path}/config.yaml:{line}:")
    assert problem in caught.value.problem


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.yaml: cannot be read: No such file"):
        load([tmp_path / "absent.yaml"], environment={})


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"config\.yaml: must be a mapping, not a list"):
        read(tmp_path, "- a")


def test_examination_returns_all_problems_and_defaults_for_wrong_values(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "workers: 0\nlog: {level: loud}\nnode_name: n1\nbackends: {a: {driver: x.Y, optoins: {}}, b: {driver: x.Y}}\n"
    )
    settings, problems = examine([tmp_path / "config.yaml"], environment={})
    assert {problem.key for problem in problems} == {"workers", "log.level", "backends.a.optoins"}
    assert (settings.workers, settings.log.level, settings.node_name) == (128, "info", "n1")
    assert [backend.name for backend in settings.backends] == ["a", "b"]


def test_examination_names_files_that_cannot_be_read_and_reads_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("workers: {")
    (tmp_path / "b.yaml").write_text("backends: {b: {driver: x.Y}}")
    settings, problems = examine([tmp_path], environment={})
    assert [problem.key.startswith(f"{tmp_path}/a.yaml") for problem in problems] == [True]
    assert [backend.name for backend in settings.backends] == ["b"]
