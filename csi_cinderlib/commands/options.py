"""The options that several commands share, and the settings that follow from them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from csi_cinderlib.config import load
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import InvalidRequest

CONFIG_VARIABLE = "CINDERLIB_CONFIG"

Callback = Callable[..., int]


@dataclass(frozen=True, slots=True)
class Given:
    """Where the settings are, and what the command line sets beside them."""

    config: tuple[str, ...]
    overrides: load.Overrides


def configuration(callback: Callback) -> Callback:
    """--config, --state-dir and the logs' options, and those of `service` and `node_name` below it, as one argument `given`."""

    @functools.wraps(callback)
    def command(**values: Any) -> int:
        names = [name for name in load.VARIABLES if name in values]
        overrides = load.Overrides(**{name: values.pop(name) for name in names})
        return callback(given=Given(values.pop("config"), overrides), **values)

    for option in (
        _override("log_level", "LEVEL", "Log level: debug, info, warning or error."),
        _override("log_format", "FORMAT", "Log format: json, text, or auto (text on a terminal, otherwise JSON)."),
        _override("state_dir", "DIR", "Directory of all durable state.", default=str(load.DEFAULT_STATE_DIR)),
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
    """What only a serving process has; goes below `configuration`."""
    for option in (
        node_name,
        _override("endpoint", "SOCKET", "unix:///PATH or a path.", default=f"STATE_DIR/{load.SOCKET}"),
        _override("mode", "MODE", "Mode: controller, node or all.", default="all"),
    ):
        option(callback)
    return callback


def node_name(callback: Callback) -> Callback:
    """Goes below `configuration`."""
    return _override("node_name", "NAME", "This node's name.", default="the host's name")(callback)


def _override(name: str, metavar: str, help: str, *, default: str = "") -> Callable[[Callback], Callback]:
    notes = [f"env: {load.VARIABLES[name]}", *([f"default: {default}"] if default else [])]
    kind = click.Path() if metavar == "DIR" else None
    return click.option(
        f"--{name.replace('_', '-')}", name, metavar=metavar, type=kind, help=f"{help} [{'; '.join(notes)}]"
    )


def settings(given: Given) -> Settings:
    """Raises ConfigurationError or InvalidRequest."""
    if "" in given.config:  # it would be the current directory
        raise InvalidRequest("--config", "must not be empty")
    paths = given.config or tuple(filter(None, [os.environ.get(CONFIG_VARIABLE)]))
    return load.load([Path(path) for path in paths], overrides=given.overrides)
