"""`csi-cinderlib doctor`: checks this host for the tools a node needs. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from csi_cinderlib.brick import loading, tools
from csi_cinderlib.commands import options, output
from csi_cinderlib.commands.examination import (
    activation,
    encryption,
    fibre_channel,
    file_systems,
    iscsi,
    machine,
    multipathing,
    nvme,
    portals,
    programs,
    protocols,
    shares,
    space,
)
from csi_cinderlib.commands.examination import host as hosts
from csi_cinderlib.commands.examination.findings import Finding, is_bad, levels, print_findings
from csi_cinderlib.commands.examination.host import Host
from csi_cinderlib.commands.examination.portals import Portal
from csi_cinderlib.config import load
from csi_cinderlib.config.near import unknown
from csi_cinderlib.config.settings import Mode, Settings
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.observe import progress

KUBELET = "/var/lib/kubelet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Scope of an examination.

    Attributes:
        required: protocols that must work here.
        multipath: multipathing must work here.
        portals: portals that must accept connections.
        pools: names and directories of file-based pools on this host.
        attaches: this host is a node, not only a controller.
    """

    required: frozenset[str] = frozenset()
    multipath: bool = False
    portals: Sequence[Portal] = ()
    state_dir: Path = load.DEFAULT_STATE_DIR
    pools: Sequence[tuple[str, Path]] = ()
    kubelet: str = KUBELET
    attaches: bool = True


@click.command()
@click.option(
    "--protocol",
    "names",
    multiple=True,
    metavar="NAME",
    help=f"Fail unless this protocol works here: {', '.join(tools.PROTOCOLS)}, or another of os-brick. May be repeated.",
)
@click.option("--multipath", is_flag=True, help="Fail unless multipathing works here.")
@click.option(
    "--portal",
    "addresses",
    multiple=True,
    metavar="HOST:PORT",
    help="Fail unless this portal of an array accepts TCP connections. May be repeated.",
)
@click.option("--kubelet-dir", metavar="DIR", help=f"The kubelet's directory. [default: {KUBELET}]")
@levels
@options.configuration
@output.formatted
def command(
    given: options.Given,
    format: output.Format,
    names: Sequence[str],
    multipath: bool,
    addresses: Sequence[str],
    kubelet_dir: str | None,
    shown: Sequence[str],
) -> int:
    """Return 1 if something required does not work: what the options name and, with --config, what the configuration needs here."""
    for name in names:
        if name not in loading.CONNECTORS:
            raise InvalidRequest("--protocol", unknown("protocol", name, loading.CONNECTORS))
    settings = options.settings(given)
    asked, findings = _asked(settings, has_configuration=bool(given.config))
    asked = _with_options(asked, names, multipath, [portals.parse(address) for address in addresses], kubelet_dir)
    with progress.shown("examining this host"):
        findings = [*findings, *examine(hosts.this(), asked)]
    print_findings(findings, format, shown)
    return int(is_bad(findings))


def _asked(settings: Settings, *, has_configuration: bool) -> tuple[Asked, list[Finding]]:
    """What the configuration needs here, and findings about the back ends' protocols."""
    kubelet = settings.kubelet_directory or KUBELET
    if not has_configuration:
        return Asked(state_dir=settings.state_dir, kubelet=kubelet), []
    needed, findings = protocols.of_settings(settings)
    asked = Asked(
        required=needed,
        multipath=settings.multipath and settings.mode is not Mode.CONTROLLER,
        state_dir=settings.state_dir,
        pools=tuple(space.local_pools(settings.backends)),
        kubelet=kubelet,
        attaches=settings.mode is not Mode.CONTROLLER,
    )
    return asked, findings


def _with_options(
    asked: Asked, names: Sequence[str], multipath: bool, addresses: Sequence[Portal], kubelet: str | None
) -> Asked:
    return replace(
        asked,
        required=asked.required | frozenset(names),
        multipath=asked.multipath or multipath,
        portals=tuple(addresses),
        kubelet=str(Path(kubelet).absolute()) if kubelet else asked.kubelet,
        attaches=asked.attaches or bool(names) or multipath,
    )


def examine(host: Host, asked: Asked) -> Iterator[Finding]:
    """Run all checks."""
    required, multipath = asked.required, asked.multipath
    yield from programs.versions()
    yield from machine.examine(host, required, multipath=multipath, kubelet=asked.kubelet, attaches=asked.attaches)
    yield from space.examine(asked.state_dir, asked.pools)
    yield from file_systems.examine(host)
    yield from encryption.examine(host)
    yield from programs.protocols(required, multipath=multipath)
    yield from iscsi.examine(host, required)
    yield from fibre_channel.examine(host, required)
    yield from nvme.examine(host, required, multipath=multipath)
    yield from shares.examine(host, required)
    yield from multipathing.examine(host, required=multipath)
    yield from portals.examine(host, asked.portals, asked.state_dir)
    yield from activation.examine(host)
