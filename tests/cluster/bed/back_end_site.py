"""A controller on a real API server, whose back ends are objects, and an administrator."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from csi_cinderlib.config.settings import Mode, SealingKey, Settings, StoreSettings
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.persistence.kubernetes.resources import API_VERSION, BACKEND, CONFIGURATION, secret_rules
from csi_cinderlib.sealing import Sealer, generate_key
from tests.cluster.bed.custom_resources import Namespace

Json = dict[str, Any]
DRIVER = "tests.support.fakes.nothing.NothingDriver"


class Site:
    """A controller without files of back ends, and an administrator."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self.namespace = namespace
        self.directory = folder / "backends"
        self.directory.mkdir()
        self._folder = folder
        self._key = generate_key()
        self.driver_name = f"{namespace.name}.example.org"  # PersistentVolumes of other tests are in no namespace
        namespace.grant_in_cluster("controller", "list", "persistentvolumes")
        namespace.grant_in_cluster("controller", "list", "volumesnapshotcontents", kind_group="snapshot.storage.k8s.io")
        self.driver: DriverProcess
        self.begun: list[DriverProcess] = []

    def start(self, name: str = "c1", fault: str = "", **settings: str) -> DriverProcess:
        state = self._folder / name
        state.mkdir()
        options = f"{{kubeconfig: {self.namespace.kubeconfigs['controller']}, namespace: {self.namespace.name}}}"
        more = "".join(f"{key}: {value}\n" for key, value in {"driver_name": self.driver_name, **settings}.items())
        (state / "config.yaml").write_text(
            f"backends_directory: {self.directory}\nstore: {{plugin: kubernetes, options: {options}}}\n"
            f"sealing_keys: [{{id: k, key: {self._key}}}]\n{more}"
        )
        arguments = ("--mode", "controller", "--config", str(state / "config.yaml"))
        self.driver = DriverProcess(state, arguments, {"CINDERLIB_FAULT_POINT": fault} if fault else None)
        self.begun.append(self.driver)
        return self.driver

    @property
    def settings(self) -> Settings:
        """As the controller and commands beside it read them."""
        options = {"kubeconfig": str(self.namespace.kubeconfigs["controller"]), "namespace": self.namespace.name}
        return Settings(
            state_dir=self.driver.state_dir,
            mode=Mode.CONTROLLER,
            driver_name=self.driver_name,
            backends_directory=str(self.directory),
            store=StoreSettings(plugin="kubernetes", options=options),
            sealing_keys=(SealingKey(id="k", key=self._key),),
        )

    @property
    def sealer(self) -> Sealer:
        return Sealer((SealingKey(id="k", key=self._key),))

    def kubectl(self, *words: str) -> str:
        return self.namespace.server.kubectl("--namespace", self.namespace.name, *words)

    def command(self, *words: str) -> list[Json]:
        """What our command line prints about the running controller."""
        configuration = str(self.driver.state_dir / "config.yaml")
        arguments = [*words, "--config", configuration, "--state-dir", str(self.driver.state_dir), "--output", "json"]
        done = subprocess.run(
            [sys.executable, "-m", "csi_cinderlib", *arguments], capture_output=True, text=True, check=True
        )
        found: list[Json] = json.loads(done.stdout)
        return found

    def apply(self, name: str, /, **spec: Any) -> None:
        metadata = {"name": name, "namespace": self.namespace.name}
        spec = {"driver": DRIVER, **spec}
        body = {"apiVersion": API_VERSION, "kind": CONFIGURATION.kind, "metadata": metadata, "spec": spec}
        manifest = self._folder / f"{name}.json"
        manifest.write_text(json.dumps(body))
        self.kubectl("apply", "-f", str(manifest))

    def wait(self, name: str, condition: str, seconds: float = 60) -> None:
        self.kubectl(
            "wait", f"--for=condition={condition}", f"backendconfiguration/{name}", f"--timeout={seconds:.0f}s"
        )

    def secret(self, name: str, **values: str) -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        body = {"metadata": {"name": name}, "data": data}
        admin, path = self.namespace.server.admin, f"/api/v1/namespaces/{self.namespace.name}/secrets"
        if any(item["metadata"]["name"] == name for item in admin.get(path)["items"]):
            admin.patch(f"{path}/{name}", [{"op": "replace", "path": "/data", "value": data}])
        else:
            admin.post(path, body)

    def let_read(self, *secrets: str) -> None:
        self.namespace.grant("controller", "controller-secrets", secret_rules(secrets))

    def read(self, name: str) -> Json:
        found: Json = self.namespace.server.admin.get(CONFIGURATION.path(self.namespace.name, name))
        return found

    def shown(self, name: str) -> Json:
        """The status of the object that shows a back end; empty without one."""
        found = [item for item in self.namespace.objects(BACKEND.plural) if item["metadata"]["name"] == name]
        return dict(found[0].get("status", {})) if found else {}

    def conditions(self, name: str) -> dict[str, Json]:
        found = [item for item in self.namespace.objects(CONFIGURATION.plural) if item["metadata"]["name"] == name]
        return {item["type"]: item for one in found for item in one.get("status", {}).get("conditions", [])}

    def condition(self, name: str, kind: str) -> tuple[str, str, str]:
        found = self.conditions(name).get(kind, {"status": "", "reason": "", "message": ""})
        return found["status"], found["reason"], found["message"]

    def events(self) -> list[tuple[str, str, str]]:
        path = f"/apis/events.k8s.io/v1/namespaces/{self.namespace.name}/events"
        found = self.namespace.server.admin.get(path)["items"]
        return sorted((item["regarding"]["name"], item["reason"], item["note"]) for item in found)

    def names(self) -> set[str]:
        return {item["metadata"]["name"] for item in self.namespace.objects(CONFIGURATION.plural)}

    def until(self, holds: Callable[[], object]) -> float:
        """Wait; returns the seconds that it took."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() < began + 120, (
                f"{json.dumps(self.namespace.objects(CONFIGURATION.plural))}\n{self.driver.log()}"
            )
            time.sleep(0.1)
        return time.monotonic() - began
