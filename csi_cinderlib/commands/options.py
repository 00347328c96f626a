"""Options shared by several commands, and the settings they select."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from csi_cinderlib.config import load
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import DriverError, InvalidRequest, Problem

CONFIG_VARIABLE = "CINDERLIB_CONFIG"

Callback = Callable[..., int]


@dataclass(frozen=True, slots=True)
class Given:
    """The configuration paths and overrides from the command line."""

    config: tuple[str, ...]
    overrides: load.Overrides


def configuration(callback: Callback) -> Callback:
    """Add --config, --state-dir and the log options. They and those of `service` and `node_name` are passed as the argument `given`."""

    @functools.wraps(callback)
    def command(**values: Any) -> int:
        names = [name for name in load.VARIABLES if name in values]
        overrides = load.Overrides(**{name: values.pop(name) for name in names})
        return callback(given=Given(values.pop("config"), overrides), **values)

    for option in (
        _override("log_level", "LEVEL", "Log level: debug, info, warning or error."),
        _override("log_format", "FORMAT", "Log format: json, text, or auto (text on a terminal, otherwise JSON)."),
        _override("state_dir", "DIR", "Directory for all persistent state.", default=str(load.DEFAULT_STATE_DIR)),
        click.option(
            "--config",
            multiple=True,
            metavar="PATH",
            type=click.Path(),
            help=f"Configuration: a YAML or JSON file, or a directory of them; repeatable. [env: {CONFIG_VARIABLE}]",
        ),
    ):
        option(command)
    return command


def service(callback: Callback) -> Callback:
    """Add the options of a serving process. Apply it below `configuration`."""
    for option in (
        _override("node_name", "NAME", "This node's name.", default="the host's name"),
        _override("endpoint", "SOCKET", "unix:///PATH or a path.", default=f"STATE_DIR/{load.SOCKET}"),
        _override("mode", "MODE", "Mode: controller, node or all.", default="all"),
    ):
        option(callback)
    return callback


def node_name(callback: Callback) -> Callback:
    """Add --node-name. Apply it below `configuration`."""
    return _override("node_name", "NAME", "This node's name.")(callback)


_CHOICES = {
    "mode": ("controller", "node", "all"),
    "log_format": ("auto", "json", "text"),
    "log_level": ("debug", "info", "warning", "error"),
}
"""For completion only. Values are validated with the settings, which also come from files and the environment."""


def complete_backend(context: click.Context, _argument: click.Parameter, incomplete: str) -> list[str]:
    """Names of the configured back ends; none if the configuration cannot be read."""
    from csi_cinderlib.config import live

    given = Given(context.params.get("config") or (), load.Overrides())
    with suppress(DriverError, OSError):
        names = [backend.name for backend in live.backends(settings(given)).backends]
        return [name for name in names if name.startswith(incomplete)]
    return []


def _override(name: str, metavar: str, help: str, *, default: str = "") -> Callable[[Callback], Callback]:
    notes = [f"env: {load.VARIABLES[name]}", *([f"default: {default}"] if default else [])]
    kind = click.Path() if metavar == "DIR" else None
    choices = _CHOICES.get(name, ())
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        metavar=metavar,
        type=kind,
        shell_complete=(lambda _context, _option, word: [choice for choice in choices if choice.startswith(word)])
        if choices
        else None,
        help=f"{help} [{'; '.join(notes)}]",
    )


def quiet(given: Given) -> Settings:
    """The settings with log level error, unless the command line or the environment sets a level. The file's level is for `serve`."""
    return _quiet(settings(given), given)


def examined(given: Given) -> tuple[Settings, tuple[Problem, ...]]:
    """As `quiet`, but returns what can be read and all problems. Raises ConfigurationError or InvalidRequest."""
    found, problems = load.examine(_paths(given), overrides=given.overrides)
    has_wrong_log = any(problem.key.startswith("log") for problem in problems)
    return _errors_only(found) if has_wrong_log else _quiet(found, given), problems


def _quiet(found: Settings, given: Given) -> Settings:
    level = given.overrides.log_level or os.environ.get(load.VARIABLES["log_level"])
    return found if level else _errors_only(found)


def _errors_only(found: Settings) -> Settings:
    return replace(found, log=replace(found.log, level="error"))


def settings(given: Given) -> Settings:
    """Raises ConfigurationError or InvalidRequest."""
    return load.load(_paths(given), overrides=given.overrides)


def _paths(given: Given) -> list[Path]:
    """Raises InvalidRequest."""
    if "" in given.config:  # it would be the current directory
        raise InvalidRequest("--config", "must not be empty")
    paths = given.config or tuple(filter(None, [os.environ.get(CONFIG_VARIABLE)]))
    return [Path(path) for path in paths]
