"""Recognises the product of a configuration by its content."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence

from csi_cinderlib.conversion import cinder_conf, cinderlib, ember, environments
from csi_cinderlib.conversion.files import File
from csi_cinderlib.conversion.model import Source
from csi_cinderlib.conversion.trees import Tree, parse
from csi_cinderlib.errors import ConfigurationError, InvalidRequest


class Product(enum.StrEnum):
    """Products whose configurations can be converted."""

    CINDER = "cinder"
    CINDERLIB = "cinderlib"
    EMBER = "ember"


_SECTION = re.compile(r"\[[^\[\]{}\"',]+\]\s*")
_ASSIGNMENT = re.compile(r"\s*(export\s+)?[\w.-]+\s*=")
_LOOKED_FOR = (
    "supported: a cinder.conf ([section] and name = value), arguments of cinderlib (volume_driver and "
    "volume_backend_name, or driver_options), variables of Ember-CSI (X_CSI_BACKEND_CONFIG); set --from to the product"
)


def read(files: Sequence[File], product: Product | None) -> Source:
    """Read the source from the files.

    Raises:
        ConfigurationError: the product of a file is unknown, or the file has problems.
        InvalidRequest: the files belong to several products.
    """
    if product is None:
        kinds = {_recognised(file) for file in files}
        if len(kinds) > 1:
            names = " and ".join(sorted(kinds))
            raise InvalidRequest("FILE", f"the files belong to different products: {names}; convert them separately")
        product = kinds.pop()
    reader = {Product.CINDER: cinder_conf.read, Product.CINDERLIB: cinderlib.read, Product.EMBER: ember.read}[product]
    return reader(files)


def _recognised(file: File) -> Product:
    if not file.text.strip():
        raise ConfigurationError(file.place, "must not be empty")
    first = next((line for line in file.text.split("\n") if line.strip() and line.lstrip()[0] not in "#;"), "")
    if _SECTION.fullmatch(first):
        return Product.CINDER
    if _ASSIGNMENT.match(first):
        return _of_assignments(file)
    try:
        documents = parse(file.text, file.place)
    except ConfigurationError as error:
        raise ConfigurationError(file.place, f"{error.problem}; {_LOOKED_FOR}") from None
    return _of_documents(documents, file)


def _of_assignments(file: File) -> Product:
    if any(
        (found := environments.ASSIGNMENT.match(line)) and ember.is_ours(found["name"])
        for line in file.text.split("\n")
    ):
        return Product.EMBER
    if any(_SECTION.fullmatch(line) for line in file.text.split("\n")):
        return Product.CINDER
    raise ConfigurationError(file.place, f"unknown kind of configuration; {_LOOKED_FOR}")


def _of_documents(documents: list[Tree], file: File) -> Product:
    manifests = any(
        ember.is_ours(name) for _, found in environments.of_manifests(documents, file.place) for name in found
    )
    is_ember = (
        manifests or any(True for _ in environments.of_kind(documents, ember.KIND)) or any(map(ember.holds, documents))
    )
    is_cinderlib = any(map(cinderlib.holds, documents))
    if is_ember and is_cinderlib:
        raise ConfigurationError(
            file.place, "may belong to Ember-CSI or cinderlib; set --from ember or --from cinderlib"
        )
    if is_ember or is_cinderlib:
        return Product.EMBER if is_ember else Product.CINDERLIB
    if any(_is_own(document) for document in documents):
        raise ConfigurationError(file.place, "is already a configuration of csi-cinderlib")
    raise ConfigurationError(file.place, f"unknown kind of configuration; {_LOOKED_FOR}")


def _is_own(document: Tree) -> bool:
    backends = document.get("backends") if isinstance(document, dict) else None
    return isinstance(backends, dict) and any(isinstance(item, dict) and "driver" in item for item in backends.values())
