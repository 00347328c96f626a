"""Every example, by the very commands of its README."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import pytest
import yaml

from tests.cluster.bed import images
from tests.cluster.bed.installation import NAMESPACE, Installation

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

EXAMPLES = images.ROOT / "examples"
ELSEWHERE = {
    "qos": "needs an array that limits I/O",
    "topology": "needs nodes in several places",
}
FOLDERS = sorted(path.parent.name for path in EXAMPLES.glob("*/README.md"))


def commands(readme: str) -> str:
    """The shell blocks of a README as one script; what is said to be refused must fail, and Helm has done its part before."""
    lines = "".join(re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)).splitlines()
    return "\n".join(f"! {line}" if "# Read-only" in line else line for line in lines if not line.startswith("helm "))


def grows_ext4_in_use() -> bool:
    """Whether this machine lets root do so (CAP_SYS_RESOURCE); the tests in the guest kernel do it anyway."""
    bounding = re.search(r"^CapBnd:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return bounding is not None and bool(int(bounding[1], 16) >> 24 & 1)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_commands_of_an_example_do_what_they_say(installation: Installation, folder: str) -> None:
    if folder in ELSEWHERE:
        pytest.skip(f"examples/{folder} {ELSEWHERE[folder]}")
    if folder == "growth" and not grows_ext4_in_use():
        pytest.skip("examples/growth needs CAP_SYS_RESOURCE, which this machine's root lacks")
    source = EXAMPLES / folder
    if (source / "values.yaml").exists():
        values = yaml.safe_load((source / "values.yaml").read_text())
        installation.upgrade(values)
        back_ends_are(installation, {"local", *values.get("backends", {})})
    copy = installation.cluster.folder / "examples" / folder
    shutil.copytree(source, copy, dirs_exist_ok=True)
    for manifest in copy.glob("*.yaml"):
        manifest.write_text(manifest.read_text().replace("busybox:1.37", images.BASE))
    script = commands((copy / "README.md").read_text())
    assert "kubectl apply" in script
    try:
        installation.cluster.run("sh", "-exc", f"cd {copy}\n{script}", seconds=300)
    except RuntimeError as error:
        raise AssertionError(f"{error}\n{installation.diagnosis()}") from error
    finally:
        clean(installation, copy)
        if (source / "values.yaml").exists():
            installation.upgrade({})
            back_ends_are(installation, {"local"})


def back_ends_are(installation: Installation, names: set[str]) -> None:
    """Wait until the kubelet has brought the changed Secret and the controller has taken it over."""
    deadline = time.monotonic() + 120
    while {item["metadata"]["name"] for item in installation.items("storagebackends", "-n", NAMESPACE)} != names:
        assert time.monotonic() < deadline, installation.diagnosis()
        time.sleep(1)


def clean(installation: Installation, folder: Path) -> None:
    for manifest in sorted(folder.glob("*.yaml"), reverse=True):
        if manifest.name != "values.yaml":
            installation.cluster.kubectl(
                "delete", "-f", str(manifest), "--ignore-not-found", "--timeout=90s", seconds=120
            )
    installation.cluster.kubectl("delete", "pod,pvc", "--all", "--timeout=90s", seconds=120)
