"""`csi-cinderlib adopt cinder`: takes over volumes of an OpenStack Cinder. Lists, plans, carries a plan out, or undoes it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from csi_cinderlib.commands import adopt_target, options, output
from csi_cinderlib.commands.adopt_cinder_steps import Choice, Steps, name_of_plan, read, read_plan
from csi_cinderlib.errors import InvalidRequest

if TYPE_CHECKING:
    from csi_cinderlib.adoption.openstack.selection import Selection

_MODES = ("--plan", "--apply", "--rollback")


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of the command line; "" is none."""

    plan: str
    apply: str
    rollback: str
    claims: str

    def check(self, url: str) -> None:
        """Raises InvalidRequest unless the options fit together."""
        given = [name for name, value in zip(_MODES, (self.plan, self.apply, self.rollback), strict=True) if value]
        if len(given) > 1:
            raise InvalidRequest(given[1], f"cannot be combined with {given[0]}")
        if self.claims and given not in (["--plan"], ["--apply"]):
            raise InvalidRequest("--claims", "needs --plan or --apply")
        if not url and not self.rollback:
            raise InvalidRequest(
                "--url", f"must be set: Cinder's `connection` of [database] [env: {adopt_target.URL_VARIABLE}]"
            )


def _selecting(callback: Callable[..., int]) -> Callable[..., int]:
    """Add the filters, passed as the argument `selection`."""

    @functools.wraps(callback)
    def command(**values: Any) -> int:
        from csi_cinderlib.adoption.openstack.selection import Selection

        return callback(selection=Selection(**{name: values.pop(name) for name in _FILTERS}), **values)

    for name, (option, metavar, help) in reversed(_FILTERS.items()):
        if option:
            click.option(option, name, multiple=True, metavar=metavar, help=help)(command)
    click.argument("ids", metavar="[ID]...", nargs=-1)(command)
    return command


_FILTERS = {
    "ids": ("", "", ""),
    "projects": ("--project", "ID", "Only volumes of this project."),
    "types": ("--type", "NAME", "Only volumes of this type."),
    "hosts": ("--host", "HOST", "Only at HOST, HOST@BACKEND or HOST@BACKEND#POOL."),
    "states": ("--state", "STATE", "Only in this state, such as available."),
}


def _filed(callback: Callable[..., int]) -> Callable[..., int]:
    """Add the options with files, passed as the argument `files`."""

    @functools.wraps(callback)
    def command(**values: Any) -> int:
        return callback(files=_Files(**{name: values.pop(name) for name in _FILES}), **values)

    for name, (metavar, help) in reversed(_FILES.items()):
        click.option(f"--{name}", name, default="", metavar=metavar, type=click.Path(), help=help)(command)
    return command


_FILES = {
    "plan": ("FILE", "Write a plan for the selected volumes to a new file."),
    "apply": ("FILE", "Carry a plan out."),
    "rollback": ("PLAN", "Undo a plan, given by its file or its checksum. Nothing on the array is touched."),
    "claims": ("TEMPLATE", "Print PersistentVolumes and claims made from this template. Needs --plan or --apply."),
}


def _choosing(callback: Callable[..., int]) -> Callable[..., int]:
    """Add the options of `Choice`, passed as the argument `choice`."""

    @functools.wraps(callback)
    def command(**values: Any) -> int:
        return callback(choice=Choice(**{name: values.pop(name) for name in Choice.__slots__}), **values)

    for option in (
        click.option("--skip-problems", is_flag=True, help="Leave out volumes with problems. [default: change nothing]"),
        click.option("--while-running", is_flag=True, help="Confirm that nothing uses the volumes through Cinder, although its service is running. [default: refuse]"),
        click.option("--again", multiple=True, metavar="ID", help="Adopt this volume although it was adopted before and deleted since."),
        click.option("--backend", "mapping", multiple=True, metavar="FROM=TO", help="Back end for the volumes of a host: HOST@BACKEND[#POOL]=NAME[#POOL]. [default: the same name, if no other host has it]"),
    ):  # fmt: skip
        option(command)
    return adopt_target.into(command)


@click.command(
    "cinder",
    short_help="Adopt volumes of an OpenStack Cinder.",
    help="List the volumes in the database of an OpenStack Cinder (Train to 2026.1), and adopt them in place. The database is only read. "
    "ID is a volume.",
    epilog="Steps: list the volumes, write a plan with --plan, read it, carry it out with --apply. --rollback undoes it until a volume is "
    "attached. A filter can be repeated; its values are alternatives.",
)
@_selecting
@click.option("--url", metavar="URL", default="", envvar=adopt_target.URL_VARIABLE, help=f"Cinder's `connection`: mysql://..., postgresql://... or sqlite:////PATH; - reads it from standard input. [env: {adopt_target.URL_VARIABLE}]")  # fmt: skip
@_choosing
@_filed
@output.formatted
@options.configuration
def command(
    given: options.Given, format: output.Format, selection: Selection, url: str, choice: Choice, files: _Files
) -> int:
    """Raises InvalidRequest, ConfigurationError or StoreUnavailable."""
    url = "" if files.rollback else adopt_target.given_url(url)
    files.check(url)
    if files.apply and choice.skip_problems:
        raise InvalidRequest(
            "--skip-problems", "cannot be combined with --apply; make a new plan without these volumes"
        )
    if (files.apply or files.rollback) and (selection.given or choice.mapping or choice.again):
        raise InvalidRequest(
            "--apply" if files.apply else "--rollback",
            "takes the volumes and back ends from the plan; remove the ids, the filters, --backend and --again",
        )
    steps = Steps(given, choice)
    with adopt_target.naming_into(choice.into):
        if files.rollback:
            return steps.roll_back(name_of_plan(files.rollback))
        if files.apply:
            return steps.apply(read_plan(files.apply), url, files.claims)
        source = read(url, selection)
        if files.plan:
            return steps.plan(source, selection, files.plan, files.claims)
        return steps.show(source, selection, format)
