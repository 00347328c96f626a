"""What becomes of every driver of Cinder without a single option: import, options, construction, set-up.

`python -m tests.support.fakes.every_driver ours|stock DIRECTORY` prints JSON, class path to outcome. "ours" starts Cinder as this
project does; "stock" with Cinder's own modules and real eventlet: both must say the same.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from tests.support.registered import registered

SECONDS = 60
"""A driver that tries to reach something longer than this counts as trying."""


def start_ours(directory: Path) -> None:
    from csi_cinderlib.cinder.runtime import Runtime

    Runtime(directory).start()


def start_stock(directory: Path) -> None:
    os.environ["OS_CINDER_DISABLE_EVENTLET_PATCHING"] = "1"
    from cinder import monkey_patch, objects

    monkey_patch.patch("threading")
    objects.register_all()
    import cinder.common.config  # noqa: F401  # registers options
    from oslo_config import cfg

    file = directory / "cinder.conf"
    file.write_text(
        f"[DEFAULT]\nstate_path = {directory}\nhost = csi-cinderlib\n[oslo_concurrency]\nlock_path = {directory}\n"
    )
    cfg.CONF([], project="cinder", default_config_files=[str(file)])


def outcome(path: str, section: str) -> list[Any]:
    from cinder.volume import configuration, driver, manager
    from oslo_utils import importutils

    said: list[Any] = []
    try:
        cls = importutils.import_class(path)
        said.append(["options", sorted(option.name for option in cls.get_driver_options() or ())])
        options = configuration.Configuration(driver.volume_opts, config_group=section)
        options.append_config_values(manager.volume_backend_opts)
        made = cls(
            configuration=options, host=f"h@{section}", cluster_name=None, is_vol_db_empty=True, active_backend_id=None
        )
        said.append("constructed")
        signal.alarm(SECONDS)
        made.do_setup(None)
        said.append("set up")
        made.check_for_setup_error()
        said.append("checked")
    except Exception as error:
        said.append([type(error).__name__, str(error)[:200]])
    finally:
        signal.alarm(0)
    return said


def _too_long(_signal: int, _frame: object) -> None:
    raise TimeoutError("still trying")


def main(how: str, directory: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    {"ours": start_ours, "stock": start_stock}[how](Path(directory))
    signal.signal(signal.SIGALRM, _too_long)
    said = {path: outcome(path, f"backend{number}") for number, path in enumerate(registered())}
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
