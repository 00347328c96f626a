"""`csi-cinderlib convert`: converts another product's configuration to this driver's."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csi_cinderlib.commands import output
from csi_cinderlib.errors import InvalidRequest

if TYPE_CHECKING:
    from csi_cinderlib.conversion.model import Conversion, Source


_FILES: Mapping[str, str] = {
    "config": "csi-cinderlib.yaml",
    "secret": "secret.yaml",
    "chart": "values.yaml",
    "objects": "objects.yaml",
}
"""File name in an output directory for each kind of output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """The parsed command line."""

    files: tuple[Path, ...]
    config_dir: tuple[Path, ...]
    from_environment: bool
    product: str | None
    target: str
    name: str
    destination: Path | None
    secret_file: Path | None
    report: str


@click.command(
    epilog="FILE is a cinder.conf, a directory with one, cinderlib's YAML or JSON, or Ember-CSI's environment file, JSON, "
    "manifests or custom resource; - is standard input. Several files of one product are converted together. "
    "Exit code 1: something could not be converted; the rest is written."
)
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--config-dir", multiple=True, metavar="DIR", type=click.Path(path_type=Path), help="Read DIR/*.conf after the files, as Cinder does.")  # fmt: skip
@click.option("--from-environment", is_flag=True, help="Read Ember-CSI's variables from this process's environment.")
@click.option("--from", "product", type=click.Choice(["cinder", "cinderlib", "ember"]), help="The product. [default: by the content]")  # fmt: skip
@click.option("--to", "target", type=click.Choice(list(_FILES)), default="config", show_default=True, help="Configuration file, Secret, chart values, or BackendConfiguration objects and Secrets.")  # fmt: skip
@click.option("--name", default="converted-backends", show_default=True, metavar="NAME", help="Name of the Secret.")
@click.option("-o", "--output", "destination", metavar="PATH", type=click.Path(path_type=Path), help="A new file, or an existing directory. [default: standard output]")  # fmt: skip
@click.option("--secret-file", metavar="FILE", type=click.Path(path_type=Path), help="A new file for the secrets of chart values.")  # fmt: skip
@click.option("--report", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the report on standard error.")  # fmt: skip
def command(**given: Any) -> int:
    """Return 1 if something could not be converted. Raises InvalidRequest, ConfigurationError and OSError."""
    from csi_cinderlib.conversion import conversion
    from csi_cinderlib.conversion import report as reports

    request = _Request(**given)
    if len(request.name) > 253 or not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", request.name):
        raise InvalidRequest(
            "--name", f"must be at most 253 lower-case letters, digits, dots and dashes (got {request.name!r})"
        )
    converted = conversion.for_target(conversion.convert(_source(request)), request.target)
    path, secret_path = _places(request)
    texts = _documents(converted, request) if converted.backends else ("", "")
    if converted.backends:
        _write(texts, path, secret_path)
    written = str(path or ""), str(secret_path if texts[1] and secret_path else "")
    steps = reports.next_steps(converted, request.target, request.name, *written)
    if request.report == "json":
        output.print_text(json.dumps(reports.data(converted, steps), ensure_ascii=False, indent=2), sys.stderr)
    else:
        output.print_text(reports.text(converted, steps), sys.stderr)
    return 1 if reports.is_incomplete(converted) else 0


def _source(request: _Request) -> Source:
    from csi_cinderlib.conversion import ember, files, recognition

    if request.from_environment:
        if request.files or request.config_dir or request.product not in (None, "ember"):
            raise InvalidRequest("--from-environment", "cannot be combined with files or another product")
        return ember.from_environment(os.environ)
    if not request.files and not request.config_dir:
        raise InvalidRequest("FILE", "missing; name a file, or use --from-environment")
    product = recognition.Product(request.product) if request.product else None
    return recognition.read(files.read(request.files, request.config_dir), product)


def _documents(converted: Conversion, request: _Request) -> tuple[str, str]:
    """The document, and the chart's secrets separately."""
    from csi_cinderlib.conversion import documents

    if request.target == "chart":
        return documents.chart(converted, request.name)
    if request.target == "config":
        return documents.config(converted), ""
    return (documents.secret if request.target == "secret" else documents.objects)(converted, request.name), ""


def _places(request: _Request) -> tuple[Path | None, Path | None]:
    """Paths of the document and of the chart's secrets. None is standard output for the document, no file for the secrets."""
    destination, secret_file = request.destination, request.secret_file
    if secret_file is not None and request.target != "chart":
        raise InvalidRequest("--secret-file", "requires --to chart")
    if destination is not None and destination.is_dir():
        if request.target == "chart":
            secret_file = secret_file or destination / _FILES["secret"]
        destination = destination / _FILES[request.target]
    if secret_file is not None and secret_file == destination:
        raise InvalidRequest("--secret-file", "must not be the file of the values")
    return destination, secret_file


def _write(texts: tuple[str, str], destination: Path | None, secret_file: Path | None) -> None:
    from csi_cinderlib.conversion import writing

    text, secrets = texts
    if secrets and secret_file is None:
        raise InvalidRequest("--secret-file", "missing; the chart's values must not contain secrets")
    writing.write(
        {path: content for path, content in ((destination, text), (secret_file, secrets)) if path and content}
    )
    if destination is None:
        output.print_text(text.removesuffix("\n"))
