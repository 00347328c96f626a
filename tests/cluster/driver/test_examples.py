"""Every example, by the very commands of its README, with what those print as the README says."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.bed import images
from tests.cluster.bed.inside import NODE
from tests.cluster.bed.installation import CHART, NAMESPACE, RELEASE, Installation
from tests.cluster.driver.conftest import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

EXAMPLES = images.ROOT / "examples"
NEEDS_AN_ARRAY = "qos"
ENCRYPTED = "encryption"
ADOPTED_VOLUMES = "adopted-volumes"
"""Needs a database of Cinder: `test_adopting_cinder.py` follows it."""
FOLDERS = sorted({path.parent.name for path in EXAMPLES.glob("*/README.md")} - {NEEDS_AN_ARRAY, ADOPTED_VOLUMES})
LOOK = re.compile(r"kubectl (-n \S+ )?(exec|get|describe|logs) ")
"""Whose comments are what they print. Those of other commands are remarks."""
SHOWN_SECONDS = 60.0
"""For what a look is to show: an event may come late, and a back end with the kubelet's next turn."""
GROWS_IN_USE = """
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: growth-xfs
provisioner: csi.cinderlib.io
parameters:
  csi.storage.k8s.io/fstype: xfs
allowVolumeExpansion: true
"""


@dataclass(frozen=True)
class Step:
    """A command of a README.

    Attributes:
        prints: what is seen then, `...` standing for anything; None if the README does not say.
        fails: the README says so.
    """

    command: str
    prints: str | None
    fails: bool

    @property
    def may_be_repeated(self) -> bool:
        """A look, and a wait: its 30 seconds may be over before the sidecars work again after an upgrade."""
        return self.prints is not None or self.command.startswith("kubectl wait ")

    def is_shown_by(self, output: str) -> bool:
        if self.prints is None:
            return True
        pieces = [re.escape(" ".join(piece.split())) for piece in self.prints.split("...")]
        return re.fullmatch(".*".join(pieces), " ".join(output.split())) is not None


def steps(readme: str) -> Iterator[Step]:
    """The commands of the shell blocks. A comment after a look is what it prints, or after `fails:` what it is refused with."""
    for line in "".join(re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)).splitlines():
        command, _, comment = (part.strip() for part in line.partition("  # "))
        fails = comment.startswith("fails:")
        if command:
            prints = comment.removeprefix("fails:") if comment and LOOK.match(command) else None
            yield Step(command, prints, fails)


@dataclass
class Reader:
    """Somebody who follows a README in one shell, in a copy of the example's folder."""

    installation: Installation
    folder: Path

    def follow(self, step: Step) -> None:
        if step.command.startswith("helm upgrade"):
            values = yaml.safe_load((self.folder / "values.yaml").read_text())
            self.installation.upgrade(values)
            back_ends_are(self.installation, {"local", *values["backends"]})
            return
        deadline = time.monotonic() + SHOWN_SECONDS
        while True:
            failed, output = self.enter(step.command)
            if failed == step.fails and step.is_shown_by(output):
                return
            if not step.may_be_repeated or time.monotonic() > deadline:
                raise AssertionError(f"{step}\nbut it printed:\n{output}\n{self.installation.diagnosis()}")
            time.sleep(1)

    def enter(self, command: str) -> tuple[bool, str]:
        """Whether it failed, and what it printed; its variables are there for the next one."""
        kept = self.folder / ".variables"
        kept.touch()
        command = re.sub(r"\bNODE\b", NODE, command)
        script = f"cd {self.folder}; set -a; . {kept}\n{{ {command}\n}} 2>&1; ended=$?; export -p >{kept}; exit $ended"
        try:
            return False, self.installation.cluster.run("sh", "-c", script, seconds=300)
        except RuntimeError as error:
            return True, str(error)


def grows_ext4_in_use() -> bool:
    """Whether this machine lets root do so (CAP_SYS_RESOURCE); the tests in the guest kernel do it anyway."""
    bounding = re.search(r"^CapBnd:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return bounding is not None and bool(int(bounding[1], 16) >> 24 & 1)


def encrypts() -> bool:
    """Whether this machine's kernel has dm-crypt; the tests in the guest kernel open encrypted volumes anyway."""
    return Path("/sys/class/misc/device-mapper").exists() and shutil.which("cryptsetup") is not None


def copied(installation: Installation, name: str) -> Path:
    """The example with this bed's image, and with a file system that can do here what is shown."""
    copy = installation.cluster.folder / "examples" / name
    shutil.copytree(EXAMPLES / name, copy, dirs_exist_ok=True)
    for manifest in copy.glob("*.yaml"):
        manifest.write_text(manifest.read_text().replace("busybox:1.37", images.BASE))
    if name == "growth" and not grows_ext4_in_use():
        for manifest in copy.glob("*.yaml"):
            text = manifest.read_text().replace("storageClassName: cinderlib\n", "storageClassName: growth-xfs\n")
            manifest.write_text(text)
        with (copy / "1-small.yaml").open("a") as file:
            file.write(GROWS_IN_USE)
    return copy


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_commands_of_an_example_do_what_they_say(installation: Installation, folder: str) -> None:
    if folder == ENCRYPTED and not encrypts():
        pytest.skip("this kernel has no device mapper: see test_encryption.py for what a node does then")
    copy = copied(installation, folder)
    found = list(steps((copy / "README.md").read_text()))
    assert any(step.command.startswith("kubectl apply") for step in found)
    reader = Reader(installation, copy)
    with ExitStack() as undo:
        if (copy / "values.yaml").exists():
            undo.callback(take_values_back, installation)
        undo.callback(clean, installation, copy)
        for step in found:
            reader.follow(step)


def test_an_example_for_an_array_is_taken_by_the_chart_and_by_kubernetes(installation: Installation) -> None:
    """As far as it goes without such an array."""
    copy = copied(installation, NEEDS_AN_ARRAY)
    values: dict[str, Any] = yaml.safe_load((copy / "values.yaml").read_text())
    installation.helm("upgrade", RELEASE, str(CHART), "--dry-run=server", values=values)
    for step in steps((copy / "README.md").read_text()):
        if step.command.startswith("kubectl apply "):
            failed, output = Reader(installation, copy).enter(f"{step.command} --dry-run=server")
            assert not failed, output
            assert "created (server dry run)" in output


def back_ends_are(installation: Installation, names: set[str]) -> None:
    """Wait until the kubelet has brought the changed Secret and the controller has taken it over."""

    def shown() -> set[str]:
        return {item["metadata"]["name"] for item in installation.items("storagebackends", "-n", NAMESPACE)}

    until(lambda: names <= shown(), installation, seconds=120)


def take_values_back(installation: Installation) -> None:
    """With a new controller, which need not wait for the kubelet; what it does not know it would remove after five minutes."""
    installation.upgrade({})
    kubectl = installation.cluster.kubectl
    kubectl("-n", NAMESPACE, "rollout", "restart", f"deployment/{RELEASE}-controller")
    installation.wait_ready()
    kubectl("-n", NAMESPACE, "delete", "storagebackends", "--field-selector=metadata.name!=local")


def clean(installation: Installation, folder: Path) -> None:
    """Volumes last, but before the back ends go on which they lie."""
    manifests = [f"--filename={path}" for path in folder.glob("*.yaml") if path.name != "values.yaml"]
    kubectl = installation.cluster.kubectl
    kubectl("delete", *manifests, "--ignore-not-found", "--timeout=90s")
    kubectl("delete", "pod,pvc", "--all", "--timeout=90s")
    until(lambda: not installation.items("pv"), installation)
